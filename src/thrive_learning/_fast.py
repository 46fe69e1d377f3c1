"""The fast engine: httpx transports over libcurl, by pycurl. An extra; decisions/0017-fast-engine.md.

libcurl moves the bytes. What a response may look like, how long a call may take, and what an error is called,
is as with httpx: callers cannot tell the engines apart but by the time they take.
"""

import asyncio
import collections
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
from thrive_learning._engine import loop_obstacle, on_a_loop_it_lacks
from thrive_learning._transport import tls_context
from thrive_learning.policies import current_budget

curl: Any = _pycurl  # its stubs know no names

#: What the heads of a response may hold, in bytes: what h11 lets pass.
_MAX_HEAD_BYTES = 100 * 1024
#: How long a connection may lie idle and be used again, in seconds: httpx's figure.
_KEEPALIVE_S = 5
#: How many idle connections are kept: as many as may have been in use side by side.
_MAX_IDLE = 1024
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
        if self.heard is None:
            return _failure_to_connect(code, said, self.status, self.reason)
        if code == curl.E_OPERATION_TIMEDOUT:
            return httpx.ReadTimeout("")
        if code == curl.E_ABORTED_BY_CALLBACK:
            return httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return _FAILURES.get(code, httpx.RemoteProtocolError)(said)


_FAILURES: dict[int, type[httpx.TransportError]] = {
    curl.E_RECV_ERROR: httpx.ReadError,
    curl.E_SEND_ERROR: httpx.WriteError,
}


def _failure_to_connect(code: int, said: str, status: int | None, reason: bytes) -> httpx.TransportError:
    if code == curl.E_OPERATION_TIMEDOUT:
        return httpx.ConnectTimeout("")
    if code == curl.E_PEER_FAILED_VERIFICATION:
        return httpx.ConnectError(f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}")
    if status is not None and not 200 <= status < 300:  # noqa: PLR2004 - what a proxy answers to CONNECT
        return httpx.ProxyError(f"{status} {reason.decode('ascii', errors='replace')}")
    return httpx.ConnectError(said)


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
    yield curl.MAXAGE_CONN, _KEEPALIVE_S
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


class Line:
    """One connection of sync code: a transfer, and the sockets that libcurl waits for on its behalf."""

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        self.transfer: Transfer = Transfer(trust, proxy)
        self.used: float = 0.0
        self._multi: Any = curl.CurlMulti()
        self._multi.setopt(curl.M_SOCKETFUNCTION, self.on_socket)
        self._multi.setopt(curl.M_TIMERFUNCTION, self.on_timer)
        self._multi.setopt(curl.M_MAXCONNECTS, 1)
        self._selector: selectors.BaseSelector = _Selector()
        self._due: float | None = None

    def on_socket(self, what: int, socket: int, _multi: object, _data: object) -> None:
        """Wait for a socket, in another direction, or no longer."""
        if socket in self._selector.get_map():
            self._selector.unregister(socket)
        events = _EVENTS.get(what)
        if events is not None:
            self._selector.register(socket, events)

    def on_timer(self, milliseconds: int) -> None:
        """Note when libcurl wants to be called."""
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def run(self, read: float | None) -> tuple[int, str]:
        """Make the exchange that the transfer is prepared for.

        Args:
            read: How many seconds nothing may come.

        Returns:
            libcurl's number and words for what went wrong; 0 for nothing.

        Raises:
            httpx.ReadTimeout: Nothing came for so long.
        """
        handle, multi = self.transfer.handle, self._multi
        multi.add_handle(handle)
        try:
            _code, running = multi.socket_action(curl.SOCKET_TIMEOUT, 0)
            while running:
                idle = self.transfer.left(read)
                if idle is not None and idle <= 0:
                    raise httpx.ReadTimeout("")
                for key, events in self._selector.select(self._until(idle)):
                    _code, running = multi.socket_action(key.fd, _SELECTS[events])
                if self._due is not None and self._due <= time.monotonic():
                    self._due = None
                    _code, running = multi.socket_action(curl.SOCKET_TIMEOUT, 0)
            _left, _good, bad = multi.info_read()
            return (bad[0][1], bad[0][2]) if bad else (0, "")
        finally:
            multi.remove_handle(handle)

    def _until(self, idle: float | None) -> float | None:
        due = None if self._due is None else max(self._due - time.monotonic(), 0)
        return min((limit for limit in (due, idle) if limit is not None), default=None)

    def close(self) -> None:
        """Close the connection."""
        self._multi.close()
        self.transfer.handle.close()
        self._selector.close()


_Selector: Callable[[], selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)
_EVENTS = {
    curl.POLL_IN: selectors.EVENT_READ,
    curl.POLL_OUT: selectors.EVENT_WRITE,
    curl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
_SELECTS = {
    selectors.EVENT_READ: curl.CSELECT_IN,
    selectors.EVENT_WRITE: curl.CSELECT_OUT,
    selectors.EVENT_READ | selectors.EVENT_WRITE: curl.CSELECT_IN | curl.CSELECT_OUT,
}


class FastTransport(httpx.BaseTransport):
    """Sends by libcurl, from any number of threads: each exchange has a line to itself.

    Args:
        trust: Whom to trust.
        proxy: The URL of a proxy for everything, or None.
    """

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        self._trust = trust
        self._proxy = proxy
        self._closed = False
        self._idle: dict[bytes, collections.deque[Line]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give its response with all of its body."""
        idle = self._idle.get(request.url.netloc)
        if idle is None:
            idle = self._idle.setdefault(request.url.netloc, collections.deque(maxlen=_MAX_IDLE))
        try:
            line = idle.pop()
        except IndexError:
            line = Line(self._trust, self._proxy)
        budget = current_budget.get(None)
        try:
            content = request.read()
            line.transfer.prepare(request, content, None if budget is None else budget.remaining())
            code, said = line.run(request.extensions.get("timeout", {}).get("read"))
            return line.transfer.response(code, said)
        finally:
            self._give_back(idle, line)

    def _give_back(self, idle: "collections.deque[Line]", line: Line) -> None:
        line.used = time.monotonic()
        if self._closed:
            line.close()
            return
        idle.append(line)
        # The first ones have been idle the longest.
        while len(idle) > 1 and idle[0].used < line.used - _KEEPALIVE_S:
            try:
                old = idle.popleft()
            except IndexError:
                return
            old.close()

    def close(self) -> None:
        """Close the connections; those in use when their exchange ends."""
        self._closed = True
        for idle in list(self._idle.values()):
            while idle:
                try:
                    idle.pop().close()
                except IndexError:
                    break


class AsyncFastTransport(httpx.AsyncBaseTransport):
    """Sends by libcurl on asyncio.

    Args:
        trust: Whom to trust.
        proxy: The URL of a proxy for everything, or None.
        instead: Makes the transport for event loops that libcurl's events cannot be had from, such as trio's;
            None if that is an error.
    """

    def __init__(
        self, trust: Trust, proxy: str | None, instead: Callable[[], httpx.AsyncBaseTransport] | None
    ) -> None:
        self._trust = trust
        self._proxy = proxy
        self._make_instead = instead
        self._instead: httpx.AsyncBaseTransport | None = None
        self._multi: Any = None
        self._idle: list[Transfer] = []

    def _settle(self) -> None:
        obstacle = loop_obstacle()
        if obstacle is None:
            self._multi = curl.AsyncCurlMulti()
            self._multi.setopt(curl.M_MAXCONNECTS, _MAX_IDLE)
        elif self._make_instead is None:
            raise on_a_loop_it_lacks(obstacle)
        else:
            self._instead = self._make_instead()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give its response with all of its body."""
        if self._multi is None and self._instead is None:
            self._settle()
        if self._instead is not None:
            return await self._instead.handle_async_request(request)
        transfer = self._idle.pop() if self._idle else Transfer(self._trust, self._proxy)
        transfer.prepare(request, await request.aread(), None)
        code, said = await self._run(transfer, request.extensions.get("timeout", {}).get("read"))
        self._idle.append(transfer)  # one that was cancelled is not used again
        return transfer.response(code, said)

    async def _run(self, transfer: Transfer, read: float | None) -> tuple[int, str]:
        loop, late = asyncio.get_running_loop(), False
        try:
            exchange: asyncio.Future[Any] = self._multi.add_handle(transfer.handle)
        except RuntimeError as error:
            raise httpx.ReadError(str(error)) from None

        def look() -> None:
            nonlocal late, timer
            left = transfer.left(read)
            if left is not None and left <= 0:
                late = True
                exchange.cancel()
            else:
                timer = loop.call_later(read if left is None else left, look)

        timer = None if read is None else loop.call_later(read, look)
        try:
            await exchange
        except curl.error as error:
            code, said = error.args
            return code, said
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = httpx.ReadTimeout("") if late else httpx.ReadError("the connection was closed")
        else:
            return 0, ""
        finally:
            if timer is not None:
                timer.cancel()
        raise failure

    async def aclose(self) -> None:
        """Close the connections."""
        if self._instead is not None:
            await self._instead.aclose()
        if self._multi is not None:
            await self._multi.aclose()
        while self._idle:
            self._idle.pop().handle.close()
