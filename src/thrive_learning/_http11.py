"""HTTP/1.1 as bytes: requests out of parts, and responses out of what arrives, by llhttp. Pure. An extra.

llhttp is the parser of Node.js, and httptools brings it to Python. The other engine reads with h11: where h11
is stricter, llhttp is held to it here; where h11 takes what servers do get wrong, llhttp is told to.
"""

import re
from collections.abc import Iterable
from typing import Any

import httpcore
import httptools

from thrive_learning._request import Headers

# What a head may hold, and what may come between two pieces of a body; as with h11. Bytes.
_MAX_HEAD_BYTES = 100 * 1024

# As h11 has them.
_METHOD = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_NAME = _METHOD
_ILLEGAL = re.compile(rb"[\x00\x0b\x0c]")
_CODING_BYTES = len(b"transfer-encoding")
_VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")


class RequestWriter:
    """Writes the requests of one connection. Headers that are the same as before are not written anew."""

    def __init__(self) -> None:
        self._written: tuple[Headers | None, bytes] = (None, b"")

    def write(self, method: bytes, target: bytes, headers: Headers, body: Iterable[bytes]) -> bytes:
        """Give a request as it goes on the wire.

        Raises:
            httpcore.LocalProtocolError: A part of it is not what may stand there, such as the end of a line.
        """
        if not (_METHOD.fullmatch(method) and _TARGET.fullmatch(target)):
            raise httpcore.LocalProtocolError("illegal method or target")
        known, head = self._written
        if known is not headers:
            head = _head(headers)
            self._written = (headers, head)
        return b"".join((method, b" ", target, b" HTTP/1.1\r\n", head, *body))


def _head(headers: Headers) -> bytes:
    lines: list[bytes] = []
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise httpcore.LocalProtocolError("illegal header")
        lines += (name, b": ", value, b"\r\n")
    return b"".join((*lines, b"\r\n"))


class ResponseReader:
    """Reads the responses of one connection, one after the other."""

    __slots__ = (
        "_has_body",
        "_parser",
        "_pieces",
        "_since",
        "flaw",
        "has_surplus",
        "headers",
        "is_complete",
        "may_go_on",
        "status",
    )

    def __init__(self) -> None:
        parser: Any = httptools.HttpResponseParser(self)
        # What h11 takes as well: lines without a carriage return, values that go on in the next line or hold
        # control characters, blanks behind the size of a chunk, and a length besides the chunks, which counts
        # for nothing.
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
            has_body: False for one to a HEAD request. llhttp would wait for its body, so its connection ends.
        """
        self._has_body = has_body
        #: The status, once the head is complete.
        self.status: int | None = None
        #: The headers as they came.
        self.headers: list[tuple[bytes, bytes]] = []
        #: Whether all of it has come.
        self.is_complete = False
        #: Whether the connection may be used for another request, once it is.
        self.may_go_on = False
        #: Whether more has come than belongs to it.
        self.has_surplus = False
        #: Why it cannot be read further, or None if it can.
        self.flaw: str | None = None
        self._pieces: list[bytes] = []
        self._since = 0

    def feed(self, data: bytes) -> None:
        """Take what has come; nothing says that no more will."""
        if not data:
            self._end()
            return
        interruption: BaseException | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # httptools catches whatever comes up in a callback, Ctrl-C included.
            interruption = error.__context__ or error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.is_complete:
                self.has_surplus = True
            else:
                self.flaw = self.flaw or str(error)
        if interruption is not None:
            raise interruption
        if self.is_complete or self._pieces:
            return
        self._since += len(data)
        if self._since > _MAX_HEAD_BYTES:
            self.flaw = self.flaw or f"there is no end to it after {_MAX_HEAD_BYTES} bytes"

    def _end(self) -> None:
        if self.status is None:
            self.flaw = "Server disconnected without sending a response."
        elif any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _value in self.headers):
            self.flaw = "the connection ended before the body did"
        else:
            self.is_complete = True

    def check(self) -> None:
        """Make sure that reading on may lead somewhere.

        Raises:
            httpcore.RemoteProtocolError: What has come is no response, or its end is missing.
        """
        if self.flaw is not None:
            raise httpcore.RemoteProtocolError(self.flaw)

    def take(self) -> bytes:
        """Give what has come of the body since the last time."""
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces, self._since = [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # The parser calls these. What comes behind a complete response is not part of it.

    def on_message_begin(self) -> None:
        """Take note of what nobody has asked for."""
        if self.is_complete:
            self.has_surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind the body say nothing that is needed."""
        if self.status is None:
            self.headers.append((name, value.rstrip(b" \t")))
            if name[-1:] == b" ":  # by which llhttp would still know a length or a coding
                self.flaw = self.flaw or "illegal header"

    def on_headers_complete(self) -> None:
        """Take the status, if this is the head of a response that h11 would take as well."""
        if self.status is not None or self.flaw is not None:
            return
        status: int = self._parser.get_status_code()
        flaw = self._flaw_of_head(status)
        if flaw is not None:
            self.flaw = flaw
        elif status >= 200:  # noqa: PLR2004 - below it are those that announce another
            self.status = status
            self.is_complete = not self._has_body
        else:
            self.headers = []

    def _flaw_of_head(self, status: int) -> str | None:
        if status < 100 or status == 101:  # noqa: PLR2004
            return f"status {status} was not asked for"
        if _ILLEGAL.search(b"".join([value for _name, value in self.headers])):
            return "illegal header"
        codings = [
            value
            for name, value in self.headers
            if len(name) == _CODING_BYTES and name.lower() == b"transfer-encoding"
        ]
        if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            return "Only Transfer-Encoding: chunked is supported"
        return None

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        if self.status is not None and not self.is_complete:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """Take note of the end, if it is not that of an informational response."""
        if self.is_complete or self.flaw is not None:
            return
        if self.status is None:
            self._since = 0
        else:
            self.is_complete = True
            self.may_go_on = self._parser.should_keep_alive()
