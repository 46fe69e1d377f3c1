"""HTTP/1.1 as bytes: requests from their parts, and responses from what arrives, by llhttp. Pure.

llhttp is the parser of Node.js, and httptools brings it to Python. The other engine reads with h11: where h11
is stricter, llhttp is held to it here; where h11 takes what servers do get wrong, llhttp is allowed to.
"""

import re
from typing import Any, Final

import httptools

from thrive_learning._http.port import Headers, Request, TransportError

# A head, and what may come between two pieces of a body, as with h11.
_MAX_HEAD_BYTES: Final = 100 * 1024

# As h11 has them.
_METHOD = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_NAME = re.compile(_METHOD.pattern.encode())
_VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")
_ILLEGAL = re.compile(rb"[\x00\x0b\x0c]")

_CHUNKED_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class RequestWriter:
    """Writes requests. Headers that are the same object as before are not encoded again."""

    __slots__ = ("_encoded",)

    def __init__(self) -> None:
        # In one tuple, because threads share it.
        self._encoded: tuple[Headers | None, bytes] = (None, b"")

    def write(self, request: Request) -> bytes:
        """Return a request as it goes on the wire.

        Raises:
            TransportError: A part of it is not legal where it stands, such as the end of a line.
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
    """Reads the responses of one connection, one after the other."""

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
        # h11 takes these as well: lines without a carriage return, values that go on in the next line or hold
        # control characters, blanks after the size of a chunk, and a length besides the chunks, which it
        # ignores.
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
                connection cannot go on.
        """
        self._has_body = has_body
        self._dechunker: ResponseReader | None = None
        self._codings: list[bytes] = []
        self._since = 0
        #: The status, once the head is complete.
        self.status: int | None = None
        #: What the server calls it.
        self.reason = b""
        #: The headers as received.
        self.headers: list[tuple[bytes, bytes]] = []
        #: The body as received since somebody took it.
        self.pieces: list[bytes] = []
        #: Whether all of it has arrived.
        self.is_complete = False
        #: Whether the connection may be used for another request, once it is complete.
        self.may_go_on = False
        #: Whether more has arrived than belongs to it.
        self.has_surplus = False
        #: Why it cannot be read further, or None if it can.
        self.flaw: str | None = None

    def feed(self, data: bytes) -> None:
        """Take what has arrived; nothing means that the connection has ended."""
        if not data:
            self._end()
            return
        interruption: BaseException | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # httptools catches every exception in a callback, Ctrl-C included.
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
            self.flaw = self.flaw or f"there is no end to it after {_MAX_HEAD_BYTES} bytes"

    def _end(self) -> None:
        if self.status is None:
            self.flaw = self.flaw or "Server disconnected without sending a response."
        elif any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _value in self.headers):
            self.flaw = self.flaw or "the connection ended before the body did"
        else:
            self.is_complete = True

    def check(self) -> None:
        """Make sure that reading on may lead somewhere.

        Raises:
            TransportError: What has arrived is not a response, or its end is missing.
        """
        if self.flaw is not None:
            raise TransportError("protocol", self.flaw)

    def take(self) -> bytes:
        """Return what has arrived of the body since the last time."""
        pieces = self.pieces
        if not pieces:
            return b""
        self.pieces, self._since = [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # The parser calls these. What follows a complete response is not part of it.

    def on_message_begin(self) -> None:
        """Note what nobody has asked for."""
        if self.is_complete:
            self.has_surplus = True

    def on_status(self, reason: bytes) -> None:
        """Keep the reason, which may come in parts."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those after the body say nothing that is needed."""
        if self.status is None:
            self.headers.append((name, value.rstrip(b" \t")))
            if len(name) == 17 and name.lower() == b"transfer-encoding":  # noqa: PLR2004
                self._codings.append(value)
            if name[-1:] == b" ":  # llhttp would still read a length or a coding from it
                self.flaw = self.flaw or "illegal header"

    def on_headers_complete(self) -> None:
        """Take the status, if this is the head of a response that h11 would accept as well."""
        if self.status is not None or self.flaw is not None:
            return
        status: int = self._parser.get_status_code()
        self.flaw = self._flaw_of_head(status)
        if self.flaw is not None:
            return
        if status >= 200:  # noqa: PLR2004 - those below it announce another
            self.status = status
            self.is_complete = not self._has_body
        else:
            self.headers, self.reason, self._codings = [], b"", []

    def _flaw_of_head(self, status: int) -> str | None:
        if status < 100 or status == 101:  # noqa: PLR2004
            return f"status {status} was not asked for"
        if _ILLEGAL.search(b"".join([value for _name, value in self.headers])):
            return "illegal header"
        codings = self._codings
        if not codings:
            return None
        if len(codings) > 1 or codings[0].rstrip(b" \t").lower() != b"chunked":
            return "Only Transfer-Encoding: chunked is supported"
        if b"\t" in codings[0]:
            # llhttp does not know this coding by a tab after it, and would read to the end of the connection.
            self._dechunker = ResponseReader()
            self._dechunker.feed(_CHUNKED_HEAD)
        return None

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
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
        """Note the end, if it is not that of an informational response."""
        if self.is_complete or self.flaw is not None:
            return
        if self.status is None:
            self._since = 0
        else:
            self.is_complete = True
            self.may_go_on = self._parser.should_keep_alive()
