"""One exchange by libcurl: what it is told, what it hears, and what came of it. An extra; see `_fast`."""

import math
import os
import re
import select
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import certifi
import httpx
import pycurl as _pycurl

from thrive_learning._body import MAX_BODY_BYTES
from thrive_learning._request import Headers, Received, raw_headers
from thrive_learning._transport import tls_context

curl: Any = _pycurl  # its stubs know no names

#: How long a connection may lie idle and be used again, in seconds: httpx's figure.
KEEPALIVE_S = 5
_PIECE_BYTES = 65_536

# Possessive throughout: a server that sends a line of blanks is not to cost time.
_NAME = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
_HEAD = re.compile(
    rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\x00\r\n]*+))?\r?\n((?:" + _NAME + rb":[^\x00\r\n]*+\r?\n)*+)\r?\n"
)
_FIELD = re.compile(rb"([^:]++):([^\r\n]*+)\r?\n")
_FIELD_NAME = re.compile(_NAME)
_SENDABLE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_DIGITS = re.compile(rb"[0-9]{1,20}")

_ENDS_OF_HEAD = (b"\n\r\n", b"\n\n")
# libcurl makes these by itself.
_NOT_PASSED_ON = frozenset({b"host", b"content-length", b"transfer-encoding"})


class _Poll:
    """What is used here of `select.poll`, for systems that have none, such as Windows."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, socket: int, events: int) -> None:
        self._events[socket] = events

    def unregister(self, socket: int) -> None:
        del self._events[socket]

    def poll(self, milliseconds: int | None = None) -> list[tuple[int, int]]:
        reading = [socket for socket, events in self._events.items() if events & POLLIN]
        writing = [socket for socket, events in self._events.items() if events & POLLOUT]
        if not reading and not writing:  # which Windows cannot wait for
            time.sleep((milliseconds or 0) / 1000)
            return []
        seconds = None if milliseconds is None else milliseconds / 1000
        readable, writable, _failed = select.select(reading, writing, [], seconds)
        return [(socket, POLLIN) for socket in readable] + [(socket, POLLOUT) for socket in writable]


POLLIN: int = getattr(select, "POLLIN", 1)
POLLOUT: int = getattr(select, "POLLOUT", 4)
new_poll: Callable[[], Any] = getattr(select, "poll", _Poll)


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
    if file or folder or not isinstance(verify, bool):
        tls_context(verify)  # it finds the mistake here, and not with the first request
    if file:
        return Trust(bool(verify), file, None)
    return Trust(bool(verify), None, folder) if folder else Trust(bool(verify), certifi.where(), None)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response's body as it came, and what ended it before its time."""

    def __init__(self, content: bytes, failure: httpx.TransportError | None) -> None:
        self._content = content
        self._failure = failure

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), _PIECE_BYTES):
            yield self._content[start : start + _PIECE_BYTES]
        if self._failure is not None:
            raise self._failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Transfer:
    """One handle of libcurl, used for one exchange after the other, and what it hears of the current one.

    What libcurl calls for each line and piece is a method of a `bytearray`: that costs little, and nothing in
    it can raise, which libcurl would print and forget.

    Args:
        trust: Whom to trust.
        proxy: The URL of a proxy, or None.
    """

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        self.handle: Any = curl.Curl()
        self._url: str | None = None
        self._kind: tuple[str, bool] | None = None
        self._connect: float | None = None
        #: The connection's, when the exchange is over; -1 for none.
        self.socket: int = -1
        self._fields: Headers | None = None
        #: The lines of heads that are not read yet, and the body.
        self.head: bytearray = bytearray()
        self.body: bytearray = bytearray()
        self._begin()
        for option, value in _options(trust, proxy):
            self.handle.setopt(option, value)
        self.handle.setopt(curl.HEADERFUNCTION, self.head.extend)
        self.handle.setopt(curl.WRITEFUNCTION, self.body.extend)
        self.handle.setopt(curl.PREREQFUNCTION, self.on_connected)

    def _begin(self) -> None:
        self.head.clear()
        self.body.clear()
        self._final = False
        self._before_request = 0
        #: When something last came, or the request was sent; None before that.
        self.heard: float | None = None
        self.status: int | None = None
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def prepare(self, request: httpx.Request, url: str, content: bytes, total: float | None) -> None:
        """Set up the next exchange.

        Args:
            request: What to send.
            url: Its URL.
            content: Its body.
            total: How many seconds it may take as a whole; None for no limit.

        Raises:
            httpx.LocalProtocolError: A header cannot be sent.
        """
        self._begin()
        handle, kind, fields = self.handle, (request.method, bool(content)), raw_headers(request)
        if url != self._url:
            handle.setopt(curl.URL, url)
            self._url = url
        if kind != self._kind:
            posts = content or request.method == "POST"
            handle.setopt(curl.POST if posts else curl.HTTPGET, 1)
            handle.setopt(curl.NOBODY, int(request.method == "HEAD"))
            handle.setopt(curl.CUSTOMREQUEST, request.method)
            self._kind = kind
        if content or request.method == "POST":
            handle.setopt(curl.POSTFIELDS, content)
        if fields != self._fields:
            handle.setopt(curl.HTTPHEADER, _header_lines(fields))
            self._fields = fields
        connect = request.extensions.get("timeout", {}).get("connect")
        if connect is not None and url.startswith("https"):
            connect *= 2  # opening the connection, and TLS
        if connect != self._connect:
            handle.setopt(curl.CONNECTTIMEOUT_MS, _milliseconds(connect))
            self._connect = connect
        handle.setopt(curl.TIMEOUT_MS, _milliseconds(total))

    def on_connected(self, *_addresses: object) -> int:
        """Let the request be sent, once: libcurl would send it again on a connection that has just died."""
        if self.heard is not None:
            return int(curl.PREREQFUNC_ABORT)
        self.heard = time.monotonic()
        self._before_request = len(self.head)
        return int(curl.PREREQFUNC_OK)

    def is_fresh(self) -> bool:
        """Say whether nothing has come on the idle connection: neither its end nor an answer to no request.

        libcurl looks for itself only if the connection has been idle for a second.
        """
        return self.socket < 0 or not _has_input(self.socket)

    def hear(self) -> bool:
        """Take note of what has come; False says that no more is wanted: whoever reads the body sees why.

        Raises:
            httpx.RemoteProtocolError: It is no response.
        """
        if self.heard is not None:
            self.heard = time.monotonic()
        if not self._final:
            self._read_heads()
        return len(self.body) <= MAX_BODY_BYTES

    def _read_heads(self) -> None:
        """Read those that are complete, up to the response's own; what comes after that are trailers."""
        while self.head and not self._final:
            found = _HEAD.match(self.head)
            if found is None:
                if self.body or self.head.endswith(_ENDS_OF_HEAD):
                    raise httpx.RemoteProtocolError("illegal status line or header line")
                return
            self._read_head(int(found[1]), found[2] or b"", found[3])
            del self.head[: found.end()]
            self._before_request -= found.end()

    def _read_head(self, status: int, reason: bytes, lines: bytes) -> None:
        fields: list[tuple[bytes, bytes]] = []
        length: bytes | None = None
        for cased, text in _FIELD.findall(lines):
            name, value = cased.lower(), text.strip(b" \t")
            fields.append((name, value))
            if name == b"content-length":
                if not _DIGITS.fullmatch(value) or length not in {None, value}:
                    raise httpx.RemoteProtocolError("bad Content-Length")
                length = value
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                raise httpx.RemoteProtocolError("only Transfer-Encoding: chunked is supported")
        # Before the request is sent it is a proxy that answers; those below 200 announce another.
        sent = self.heard is not None and self._before_request <= 0
        self._final = sent and status >= 200  # noqa: PLR2004
        if self._final or not sent:
            self.status, self.reason, self.headers = status, reason, fields

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
        if not self._final:
            self._read_heads()
        failure = None if code == 0 else self._failure(code, said)
        if not self._final or self.status is None or isinstance(failure, httpx.TimeoutException):
            raise failure or httpx.RemoteProtocolError("Server disconnected without sending a response.")
        content = bytes(self.body)
        self.body.clear()  # large ones are not to be there twice
        return Received(self.status, self.headers, Body(content, failure))

    def _failure(self, code: int, said: str) -> httpx.TransportError:
        if code == curl.E_OPERATION_TIMEDOUT:
            return httpx.ConnectTimeout("") if self.heard is None else httpx.ReadTimeout("")
        kind: type[httpx.TransportError] = httpx.RemoteProtocolError
        if code == curl.E_PEER_FAILED_VERIFICATION:
            kind, said = httpx.ConnectError, f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}"
        elif self.heard is None and self.status is not None and not 200 <= self.status < 300:  # noqa: PLR2004
            kind, said = httpx.ProxyError, f"{self.status} {self.reason.decode('ascii', errors='replace')}"
        elif code == curl.E_ABORTED_BY_CALLBACK:
            said = "Server disconnected without sending a response."
        elif code in _NO_CONNECTION:
            kind = httpx.ConnectError
        elif code == curl.E_SEND_ERROR:
            kind = httpx.WriteError
        elif code == curl.E_RECV_ERROR and said.startswith(_OF_THE_SOCKET):
            kind = httpx.ReadError
        return kind(said)


_NO_CONNECTION = frozenset({
    curl.E_COULDNT_RESOLVE_PROXY,
    curl.E_COULDNT_RESOLVE_HOST,
    curl.E_COULDNT_CONNECT,
    curl.E_SSL_CONNECT_ERROR,
    curl.E_SSL_CACERT_BADFILE,
})  # fmt: skip
# libcurl gives that number to what it cannot parse as well.
_OF_THE_SOCKET = ("Recv failure", "OpenSSL")


def _has_input(socket: int) -> bool:
    poll = new_poll()
    poll.register(socket, POLLIN)
    return bool(poll.poll(0))


def _milliseconds(seconds: float | None) -> int:
    """Give a limit in libcurl's unit, never shorter; 0 stands for none."""
    return 0 if seconds is None else max(1, math.ceil(seconds * 1000) + 1)


def _header_lines(fields: Headers) -> list[bytes]:
    lines: list[bytes] = [b"Expect:"]  # without a value: libcurl is not to add it
    names: set[bytes] = set()
    for name, value in fields:
        if not _FIELD_NAME.fullmatch(name) or not _SENDABLE.fullmatch(value):
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
