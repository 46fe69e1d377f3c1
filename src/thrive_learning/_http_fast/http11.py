"""HTTP/1.1 in wire format: serializes requests, and parses responses with llhttp. Pure.

llhttp is the parser of Node.js, and httptools brings it to Python. The other engine uses h11. Where h11 is
stricter, llhttp is held to it here. Where h11 tolerates a server's mistake, llhttp is allowed to.
"""

import re
from typing import Any, Final

import httptools

from thrive_learning._http.port import Headers, Request, TransportError

# The size limit of a head, and of the data between two pieces of a body, as in h11.
_MAX_HEAD_BYTES: Final = 100 * 1024

# As in h11.
_METHOD = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_NAME = re.compile(_METHOD.pattern.encode())
_VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")
_ILLEGAL = re.compile(rb"[\x00\x0b\x0c]")

_CHUNKED_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class RequestWriter:
    """Serializes requests. Headers in the same object as before are not encoded again."""

    __slots__ = ("_encoded",)

    def __init__(self) -> None:
        # One tuple, because threads share it.
        self._encoded: tuple[Headers | None, bytes] = (None, b"")

    def write(self, request: Request) -> bytes:
        """Return a request in wire format.

        Raises:
            TransportError: A part is not legal in its position, such as a line end.
        """
        if not (_METHOD.fullmatch(request.method) and _TARGET.fullmatch(request.target)):
            raise TransportError("request", "illegal method or target", is_final=True)
        headers, head = self._encoded
        if headers is not request.headers:
            head = _head(request.headers)
            self._encoded = (request.headers, head)
        return b"%b %b HTTP/1.1\r\n%b%b" % (request.method.encode(), request.target, head, request.body)


def _head(headers: Headers) -> bytes:
    lines: list[bytes] = []
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise TransportError("request", "illegal header", is_final=True)
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join((*lines, b"\r\n"))


class ResponseReader:
    """Reads the responses of one connection in turn."""

    __slots__ = (
        "_codings",
        "_dechunker",
        "_has_body",
        "_parser",
        "_since",
        "flaw",
        "has_surplus",
        "headers",
        "is_complete",
        "may_go_on",
        "pieces",
        "reason",
        "status",
    )

    def __init__(self) -> None:
        parser: Any = httptools.HttpResponseParser(self)
        # h11 also accepts these: lines without a carriage return, values that continue in the next line or
        # contain control characters, blanks after the size of a chunk, and a length in addition to chunks,
        # which it ignores.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_chunked_length=True,
        )
        self._parser = parser
        self.begin()

    def begin(self, *, has_body: bool = True) -> None:
        """Expect the next response.

        Args:
            has_body: False for a response to HEAD or CONNECT. llhttp would wait for its body, so the
                connection cannot be reused.
        """
        self._has_body = has_body
        self._dechunker: ResponseReader | None = None
        self._codings: list[bytes] = []
        self._since = 0
        #: The status, once the head is complete.
        self.status: int | None = None
        #: The reason phrase.
        self.reason = b""
        #: The headers as received.
        self.headers: list[tuple[bytes, bytes]] = []
        #: The received pieces of the body that have not been taken.
        self.pieces: list[bytes] = []
        #: Whether the response is complete.
        self.is_complete = False
        #: Whether the connection can be reused once the response is complete.
        self.may_go_on = False
        #: Whether data arrived beyond the end of the response.
        self.has_surplus = False
        #: Why the rest cannot be read; None if it can.
        self.flaw: str | None = None

    def feed(self, data: bytes) -> None:
        """Parse received data. No data means that the connection has ended."""
        if not data:
            self._end()
            return
        interruption: BaseException | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # httptools catches every exception in a callback, including Ctrl-C.
            interruption = error.__context__ or error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.is_complete:
                self.has_surplus = True
            else:
                self.flaw = self.flaw or str(error)
        if interruption is not None:
            raise interruption
        if self.is_complete or self.pieces:
            return
        self._since += len(data)
        if self._since > _MAX_HEAD_BYTES:
            self.flaw = self.flaw or f"it has no end after {_MAX_HEAD_BYTES} bytes"

    def _end(self) -> None:
        if self.status is None:
            self.flaw = self.flaw or "Server disconnected without sending a response."
        elif any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _value in self.headers):
            self.flaw = self.flaw or "the connection ended before the body did"
        else:
            self.is_complete = True

    def check(self) -> None:
        """Check that the response can still be completed.

        Raises:
            TransportError: The received data is not a response, or is incomplete.
        """
        if self.flaw is not None:
            raise TransportError("protocol", self.flaw)

    def take(self) -> bytes:
        """Return the pieces of the body that arrived since the last call."""
        pieces = self.pieces
        if not pieces:
            return b""
        self.pieces, self._since = [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # The parser calls these. Data after a complete response is not part of it.

    def on_message_begin(self) -> None:
        """Record a message that was not requested."""
        if self.is_complete:
            self.has_surplus = True

    def on_status(self, reason: bytes) -> None:
        """Store the reason phrase, which may arrive in parts."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. Headers after the body are not needed."""
        if self.status is None:
            self.headers.append((name, value.rstrip(b" \t")))
            if len(name) == 17 and name.lower() == b"transfer-encoding":  # noqa: PLR2004
                self._codings.append(value)
            if name[-1:] == b" ":  # llhttp would still use it as a length or a coding
                self.flaw = self.flaw or "illegal header"

    def on_headers_complete(self) -> None:
        """Store the status, if h11 would accept this head as well."""
        if self.status is not None or self.flaw is not None:
            return
        status: int = self._parser.get_status_code()
        self.flaw = self._flaw_of_head(status)
        if self.flaw is not None:
            return
        if status >= 200:  # noqa: PLR2004 - lower statuses precede another response
            self.status = status
            self.is_complete = not self._has_body
        else:
            self.headers, self.reason, self._codings = [], b"", []

    def _flaw_of_head(self, status: int) -> str | None:
        if status < 100 or status == 101:  # noqa: PLR2004
            return f"status {status} was not requested"
        if _ILLEGAL.search(b"".join([value for _name, value in self.headers])):
            return "illegal header"
        codings = self._codings
        if not codings:
            return None
        if len(codings) > 1 or codings[0].rstrip(b" \t").lower() != b"chunked":
            return "Only Transfer-Encoding: chunked is supported"
        if b"\t" in codings[0]:
            # llhttp does not recognize this coding if a tab follows it, and would read to the end of the
            # connection.
            self._dechunker = ResponseReader()
            self._dechunker.feed(_CHUNKED_HEAD)
        return None

    def on_body(self, piece: bytes) -> None:
        """Store a piece of the body."""
        if self.status is None:
            return
        if self.is_complete:
            self.has_surplus = True
            return
        if self._dechunker is None:
            self.pieces.append(piece)
            return
        self._dechunker.feed(piece)
        self.pieces += self._dechunker.pieces
        self._dechunker.pieces = []
        self.is_complete, self.flaw = self._dechunker.is_complete, self._dechunker.flaw

    def on_message_complete(self) -> None:
        """Record the end, unless the response is informational."""
        if self.is_complete or self.flaw is not None:
            return
        if self.status is None:
            self._since = 0
        else:
            self.is_complete = True
            self.may_go_on = self._parser.should_keep_alive()
