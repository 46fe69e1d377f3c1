"""One exchange by libcurl: what it is told, what it hears, and what came of it. An extra; see `_fast`."""

import math
import os
import re
import selectors
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import certifi
import httpx
import pycurl as _pycurl

from thrive_learning._body import MAX_BODY_BYTES
from thrive_learning._transport import tls_context

curl: Any = _pycurl  # its stubs know no names

#: What the heads of a response may hold, in bytes: what h11 lets pass.
_MAX_HEAD_BYTES = 100 * 1024
#: How long a connection may lie idle and be used again, in seconds: httpx's figure.
KEEPALIVE_S = 5
_PIECE_BYTES = 65_536

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\x00\r\n]*))?\r?\n?")
_FIELD_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*([^\x00\r\n]*?)[ \t]*\r?\n")
_SENDABLE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_DIGITS = re.compile(rb"[0-9]{1,20}")

_ENDS_OF_HEAD = frozenset({b"\r\n", b"\n"})
# libcurl makes these by itself.
_NOT_PASSED_ON = frozenset({b"host", b"content-length", b"transfer-encoding"})


class Trust(NamedTuple):
    """Whom to trust: the same certificates as `tls_context`.

    Attributes:
        verify: False trusts any server.
        file: A file of certificates.
        folder: A folder of them, as OpenSSL hashes it.
    """

    verify: bool
    file: str | None
    folder: str | None


def trust(verify: object) -> Trust:
    """Give what `tls_context` would trust.

    Raises:
        ConfigurationError: The certificates that the environment names cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        tls_context(verify)  # it finds the mistake here, and not with the first request
    if file:
        return Trust(bool(verify), file, None)
    return Trust(bool(verify), None, folder) if folder else Trust(bool(verify), certifi.where(), None)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response's body as it came, and what ended it before its time."""

    def __init__(self, content: bytes | bytearray, failure: httpx.TransportError | None) -> None:
        self._content = content
        self._failure = failure

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), _PIECE_BYTES):
            yield bytes(self._content[start : start + _PIECE_BYTES])
        if self._failure is not None:
            raise self._failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Transfer:
    """One handle of libcurl, used for one exchange after the other, and what it hears of the current one.

    libcurl calls the methods that begin with `on_`. What one of them raises would be printed and forgotten,
    so that it is kept.

    Args:
        trust: Whom to trust.
        proxy: The URL of a proxy, or None.
    """

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        self.handle: Any = curl.Curl()
        self._url: str | None = None
        self._method: str | None = None
        #: The connection's, when the exchange is over; -1 for none.
        self.socket: int = -1
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._begin()
        for option, value in _options(trust, proxy):
            self.handle.setopt(option, value)
        self.handle.setopt(curl.HEADERFUNCTION, self.on_head)
        self.handle.setopt(curl.WRITEFUNCTION, self.on_body)
        self.handle.setopt(curl.PREREQFUNCTION, self.on_connected)

    def _begin(self) -> None:
        self._lines: list[bytes] = []
        self._head_bytes = 0
        self._final = False
        self._body = bytearray()
        #: When something last came, or the request was sent; None before that.
        self.heard: float | None = None
        self.status: int | None = None
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.trouble: BaseException | None = None

    def prepare(self, request: httpx.Request, content: bytes, total: float | None) -> None:
        """Set up the next exchange.

        Args:
            request: What to send.
            content: Its body.
            total: How many seconds it may take as a whole; None for no limit.

        Raises:
            httpx.LocalProtocolError: A header cannot be sent.
        """
        self._begin()
        handle, url, method = self.handle, str(request.url), request.method
        if url != self._url:
            handle.setopt(curl.URL, url)
            self._url = url
        if method != self._method:
            handle.setopt(curl.POST if content or method == "POST" else curl.HTTPGET, 1)
            handle.setopt(curl.NOBODY, int(method == "HEAD"))
            handle.setopt(curl.CUSTOMREQUEST, method)
            self._method = method
        if content or method == "POST":
            handle.setopt(curl.POSTFIELDS, content)
        fields = request.headers.raw
        if fields != self._fields:
            handle.setopt(curl.HTTPHEADER, _header_lines(fields))
            self._fields = fields
        connect = request.extensions.get("timeout", {}).get("connect")
        if connect is not None and url.startswith("https"):
            connect *= 2  # opening the connection, and TLS
        handle.setopt(curl.CONNECTTIMEOUT_MS, _milliseconds(connect) or 0)
        handle.setopt(curl.TIMEOUT_MS, _milliseconds(total) or 0)

    def on_connected(self, *_addresses: object) -> int:
        """Let the request be sent, once: libcurl would send it again on a connection that has just died."""
        again, self.heard = self.heard is not None, time.monotonic()
        return int(curl.PREREQFUNC_ABORT if again else curl.PREREQFUNC_OK)

    def is_fresh(self) -> bool:
        """Say whether nothing has come on the idle connection: neither its end nor an answer to no request.

        libcurl looks for itself only if the connection has been idle for a second.
        """
        return self.socket < 0 or not _has_input(self.socket)

    def on_head(self, line: bytes) -> int:
        """Take a line of a head."""
        try:
            self.heard = self.heard and time.monotonic()
            self._head_bytes += len(line)
            if self._head_bytes > _MAX_HEAD_BYTES and line not in _ENDS_OF_HEAD:
                raise httpx.RemoteProtocolError("the head of the response is too large")  # noqa: TRY301
            if self._final:
                return len(line)  # a trailer
            if line not in _ENDS_OF_HEAD:
                self._lines.append(line)
            else:
                self._read_head()
        except BaseException as error:  # noqa: BLE001 - it is raised later
            self.trouble = error
            return 0
        return len(line)

    def _read_head(self) -> None:
        (first, *lines), self._lines, self._head_bytes = self._lines, [], 0
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise httpx.RemoteProtocolError("illegal status line")
        fields: list[tuple[bytes, bytes]] = []
        lengths: set[bytes] = set()
        for line in lines:
            field = _FIELD_LINE.fullmatch(line)
            if field is None:
                raise httpx.RemoteProtocolError("illegal header line")
            name, value = field.groups()
            fields.append((name, value))
            lowered = name.lower()
            if lowered == b"content-length":
                lengths.add(value)
            elif lowered == b"transfer-encoding" and value.lower() != b"chunked":
                raise httpx.RemoteProtocolError("only Transfer-Encoding: chunked is supported")
        if len(lengths) > 1 or not all(_DIGITS.fullmatch(length) for length in lengths):
            raise httpx.RemoteProtocolError("bad Content-Length")
        status = int(found[1])
        self.reason = found[2] or b""
        # Before the request is sent it is a proxy that answers; those below 200 announce another.
        self._final = self.heard is not None and status >= 200  # noqa: PLR2004
        if self._final or self.heard is None:
            self.status, self.headers = status, fields

    def on_body(self, piece: bytes) -> int:
        """Take a piece of the body, up to one byte above the cap or more: whoever reads it sees that."""
        try:
            self.heard = time.monotonic()
            self._body += piece
            return len(piece) if len(self._body) <= MAX_BODY_BYTES else 0
        except BaseException as error:  # noqa: BLE001 - it is raised later
            self.trouble = error
            return 0

    def left(self, read: float | None) -> float | None:
        """Give the seconds until nothing has been heard for too long; None while there is no such limit."""
        if read is None or self.heard is None:
            return None
        return self.heard + read - time.monotonic()

    def response(self, code: int, said: str) -> httpx.Response:
        """Give the response.

        Args:
            code: libcurl's number for what ended the exchange; 0 if nothing went wrong.
            said: libcurl's words for it.

        Raises:
            httpx.TransportError: There is none.
        """
        if self.trouble is not None:
            raise self.trouble
        failure = None if code == 0 else self._failure(code, said)
        status, body = self.status, self._body
        if code == curl.E_WRITE_ERROR and len(body) > MAX_BODY_BYTES:
            failure = None
        if not self._final or status is None or isinstance(failure, httpx.TimeoutException):
            raise failure or httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(status, headers=self.headers, stream=Body(body, failure))

    def _failure(self, code: int, said: str) -> httpx.TransportError:
        connected = self.heard is not None
        if code == curl.E_OPERATION_TIMEDOUT:
            return httpx.ReadTimeout("") if connected else httpx.ConnectTimeout("")
        if code == curl.E_PEER_FAILED_VERIFICATION:
            return httpx.ConnectError(f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}")
        if self.status is not None and not connected and not 200 <= self.status < 300:  # noqa: PLR2004
            return httpx.ProxyError(f"{self.status} {self.reason.decode('ascii', errors='replace')}")
        if code == curl.E_ABORTED_BY_CALLBACK:
            said = "Server disconnected without sending a response."
        elif code in _NO_CONNECTION:
            return httpx.ConnectError(said)
        elif code == curl.E_SEND_ERROR:
            return httpx.WriteError(said)
        elif code == curl.E_RECV_ERROR and said.startswith(_OF_THE_SOCKET):
            return httpx.ReadError(said)
        return httpx.RemoteProtocolError(said)


_NO_CONNECTION = frozenset({
    curl.E_COULDNT_RESOLVE_PROXY,
    curl.E_COULDNT_RESOLVE_HOST,
    curl.E_COULDNT_CONNECT,
    curl.E_SSL_CONNECT_ERROR,
    curl.E_SSL_CACERT_BADFILE,
})  # fmt: skip
# libcurl gives that number to what it cannot parse as well.
_OF_THE_SOCKET = ("Recv failure", "OpenSSL")


new_selector: Callable[[], selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)


def _has_input(socket: int) -> bool:
    with new_selector() as selector:
        selector.register(socket, selectors.EVENT_READ)
        return bool(selector.select(0))


def _milliseconds(seconds: float | None) -> int | None:
    """Give a limit in libcurl's unit, never shorter, and never 0, which stands for none."""
    return None if seconds is None else max(1, math.ceil(seconds * 1000) + 1)


def _header_lines(fields: list[tuple[bytes, bytes]]) -> list[bytes]:
    lines: list[bytes] = [b"Expect:"]  # without a value: libcurl is not to add it
    names: set[bytes] = set()
    for name, value in fields:
        if not _FIELD_LINE.fullmatch(name + b":\n") or not _SENDABLE.fullmatch(value):
            raise httpx.LocalProtocolError("illegal header")
        lowered = name.lower()
        names.add(lowered)
        if lowered not in _NOT_PASSED_ON:
            lines.append(name + b": " + value if value else name + b";")
    unasked = (b"Accept", b"User-Agent", b"Content-Type")
    return lines + [name + b":" for name in unasked if name.lower() not in names]


def _options(trust: Trust, proxy: str | None) -> Iterator[tuple[int, Any]]:
    """Give what holds for all exchanges of a handle. What libcurl would read from the environment is set."""
    yield curl.NOSIGNAL, 1
    yield curl.PROTOCOLS, curl.PROTO_HTTP | curl.PROTO_HTTPS
    yield curl.HTTP_VERSION, curl.CURL_HTTP_VERSION_1_1
    yield curl.FOLLOWLOCATION, 0
    yield curl.NETRC, curl.NETRC_IGNORED
    yield curl.PATH_AS_IS, 1
    yield curl.HTTP_CONTENT_DECODING, 0
    yield curl.MAXAGE_CONN, KEEPALIVE_S
    yield curl.PROXY, proxy or ""
    yield curl.NOPROXY, ""
    yield curl.HEADEROPT, curl.HEADER_SEPARATE
    yield curl.SSLVERSION, curl.SSLVERSION_TLSv1_2
    yield curl.SSL_VERIFYPEER, int(trust.verify)
    yield curl.SSL_VERIFYHOST, 2 * trust.verify
    yield curl.PROXY_SSL_VERIFYPEER, int(trust.verify)
    yield curl.PROXY_SSL_VERIFYHOST, 2 * trust.verify
    # One of the two, and not what libcurl was built with besides.
    for file, folder in ((curl.CAINFO, curl.CAPATH), (curl.PROXY_CAINFO, curl.PROXY_CAPATH)):
        yield file, trust.file
        yield folder, trust.folder
