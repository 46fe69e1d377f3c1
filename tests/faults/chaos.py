"""Servers that misbehave: raw TCP on loopback, in front of the sandbox, whose true answers they spoil.

A fault is a function of a `Line`, one connection as the server sees it, and of the true `Answer`. Faults of
the connection come before a request is read, those of the TLS handshake before that.
"""

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from patience import PATIENCE_S

from thrive_learning.sandbox import Sandbox, SandboxRequest

SANDBOX = Sandbox()

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class GoneError(Exception):
    """The client has closed the connection, or the server stops."""


@dataclass(frozen=True)
class Answer:
    """A true response, to be spoiled."""

    status: str
    headers: dict[str, str]
    body: bytes

    def head(self, *, version: str = "1.1", status: str = "", **headers: str | None) -> bytes:
        """Give its status line and header, changed or with some left out (None)."""
        changes = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {**self.headers, "content-length": str(len(self.body)), **changes}
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return "\r\n".join([f"HTTP/{version} {status or self.status}", *lines, "", ""]).encode("latin-1")

    @property
    def whole(self) -> bytes:
        return self.head() + self.body


class Line:
    """One connection, as the server sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._sock = sock
        self._stopping = stopping
        self._tls: ssl.SSLObject | None = None
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._unread = b""
        #: Seconds between any two bytes on the wire.
        self.pace = 0.0

    def _push(self, data: bytes) -> None:
        try:
            if not self.pace:
                self._sock.sendall(data)
                return
            for index in range(len(data)):
                self._sock.sendall(data[index : index + 1])
                self.pause(self.pace)
        except OSError:
            raise GoneError from None

    def _pull(self) -> bytes:
        try:
            data = self._sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise GoneError
        return data

    def pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise GoneError

    def shake_hands(self, context: ssl.SSLContext) -> None:
        tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._push(self._out.read())
                self._in.write(self._pull())
            except ssl.SSLError:
                self._push(self._out.read())
                raise GoneError from None
            else:
                break
        self._push(self._out.read())
        self._tls = tls

    def read(self) -> bytes:
        """Read what has come."""
        while self._tls is not None:
            try:
                data = self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._in.write(self._pull())
            except ssl.SSLError:
                raise GoneError from None
            else:
                if not data:
                    raise GoneError
                return data
        return self._pull()

    def read_request(self) -> SandboxRequest:
        data, self._unread = self._unread, b""
        while b"\r\n\r\n" not in data:
            data += self.read()
        head, _, body = data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        while len(body) < (int(found[1]) if found else 0):
            body += self.read()
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        return SandboxRequest(method, target, {name.lower(): value.strip() for name, value in pairs}, body)

    def send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._out.read()
        self._push(data)

    def send_for_ever(self, *blocks: bytes) -> None:
        while True:
            for block in blocks:
                self.send(block)

    def dribble(self, data: bytes, pause: float = 0.02) -> None:
        """Send a byte at a time, each in a packet of its own."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            self.pause(pause)

    def reset(self) -> None:
        """Send RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
        raise GoneError

    def finish(self) -> None:
        """Send FIN, and go when the client has gone."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self.stay_silent()

    def stay_silent(self) -> None:
        while True:
            self._pull()

    def shut_down(self) -> None:
        """Wake the thread of this connection, whatever it waits for."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()


Fault = Callable[[Line, Answer], None]
ConnectionFault = Callable[[Line], None]


@dataclass
class Trouble:
    """A fault and its place.

    Args:
        request: After a request was read.
        connection: When a connection was accepted.
        handshake: In place of the TLS handshake.
        never_accepts: No connection is accepted, and the backlog is full.
        times: How often it goes wrong before all is well again.
    """

    request: Fault | None = None
    connection: ConnectionFault | None = None
    handshake: ConnectionFault | None = None
    never_accepts: bool = False
    times: float = float("inf")


NONE = Trouble(times=0)


class Server:
    """Accepts connections on loopback, each in a thread of its own. A context manager; it leaves nothing."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.stopping = threading.Event()
        self._may_accept = threading.Event()
        self._may_accept.set()
        self._accepts_nothing = threading.Event()
        self._lines: list[Line] = []
        self._threads: list[threading.Thread] = []
        self._fillers: list[socket.socket] = []
        self.connections = 0

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="chaos", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            if not self._may_accept.is_set():
                self._accepts_nothing.set()
                self._may_accept.wait()
                continue
            if not select.select([self._listener], [], [], 0.02)[0]:
                continue
            try:
                sock, _address = self._listener.accept()
            except OSError:
                continue
            # Otherwise, what is sent would wait for the acknowledgment of what was sent before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            line = Line(sock, self.stopping)
            self._lines.append(line)
            self._start(self._run, line)

    def _run(self, line: Line) -> None:
        try:
            self.serve(line)
        except GoneError:
            pass
        finally:
            line.close()

    def serve(self, line: Line) -> None:
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Fill the backlog, so that a connection attempt gets no answer at all."""
        self._accepts_nothing.clear()
        self._may_accept.clear()
        assert self._accepts_nothing.wait(PATIENCE_S)
        self._listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def accept_again(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._listener.listen(100)
        self._may_accept.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.accept_again()
        for thread in self._threads[:1]:  # the one that accepts: no further ones begin after it
            thread.join()
        for line in self._lines:
            line.shut_down()
        for thread in self._threads:
            thread.join()
        self._listener.close()


class Chaos(Server):
    """The sandbox, spoiled."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(port)
        self._tls = tls
        self._trouble = NONE
        self._playing = threading.Lock()
        #: How often it went wrong.
        self.played = 0
        self.requests: list[SandboxRequest] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self._tls is None else f"https://localhost:{self.port}"

    def plan(self, trouble: Trouble) -> None:
        with self._playing:
            self._trouble, self.played = trouble, 0
        if trouble.never_accepts:
            self.stop_accepting()
        else:
            self.accept_again()

    def _takes(self, fault: object) -> bool:
        if fault is None:
            return False
        with self._playing:
            if self.played >= self._trouble.times:
                return False
            self.played += 1
        return True

    def serve(self, line: Line) -> None:
        trouble = self._trouble
        if trouble.connection is not None and self._takes(trouble.connection):
            trouble.connection(line)
            return
        if self._tls is not None:
            if trouble.handshake is not None and self._takes(trouble.handshake):
                trouble.handshake(line)
            else:
                line.shake_hands(self._tls)
        while True:
            request = line.read_request()
            self.requests.append(request)
            answer = truth(request)
            trouble = self._trouble
            if trouble.request is not None and self._takes(trouble.request):
                trouble.request(line, answer)
            else:
                line.send(answer.whole)


def truth(request: SandboxRequest) -> Answer:
    response = SANDBOX.respond(request, now=time.time())
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Answer(f"{response.status} Said", headers, response.body)


class Proxy(Server):
    """A proxy that knows CONNECT, or answers it in a way of its own."""

    def __init__(
        self, answer: Callable[[Line], None] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self.answer = answer
        self.heads: list[bytes] = []
        self._tls = tls

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, line: Line) -> None:
        if self._tls is not None:
            line.shake_hands(self._tls)
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.read()
        self.heads.append(head)
        if self.answer is not None:
            self.answer(line)
            return
        method, target, _rest = head.split(b" ", 2)
        assert method == b"CONNECT"
        host, _, port = target.decode("ascii").rpartition(":")
        assert host == "localhost"
        try:
            sock = socket.create_connection(("127.0.0.1", int(port)))
        except OSError:
            line.send(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            line.finish()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there = Line(sock, self.stopping)
        self._lines.append(there)
        line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._start(self._relay, there, line)
        self._relay(line, there)

    def _relay(self, source: Line, target: Line) -> None:
        try:
            while True:
                target.send(source.read())
        except GoneError:
            source.shut_down()
            target.shut_down()
        finally:
            source.close()


# Faults of a connection.


def reset_at_once(line: Line) -> None:
    line.reset()


def end_at_once(line: Line) -> None:
    line.finish()


def black_hole(line: Line) -> None:
    line.stay_silent()


# Faults of a response.


def reset_after_reading(line: Line, _answer: Answer) -> None:
    line.reset()


def end_after_reading(line: Line, _answer: Answer) -> None:
    line.finish()


def silence(line: Line, _answer: Answer) -> None:
    line.stay_silent()


def reset_in_body(line: Line, answer: Answer) -> None:
    line.send(answer.head() + answer.body[:10])
    line.pause(0.05)  # what a reset overtakes is lost
    line.reset()


def cut_at(position: int) -> Fault:
    def cut(line: Line, answer: Answer) -> None:
        line.send(answer.whole[:position])
        line.finish()

    return cut


def cut_in_body(position: int) -> Fault:
    def cut(line: Line, answer: Answer) -> None:
        line.send(answer.head() + answer.body[:position])
        line.finish()

    return cut


def silence_in_head(line: Line, answer: Answer) -> None:
    line.send(answer.head()[:-10])
    line.stay_silent()


def silence_in_body(line: Line, answer: Answer) -> None:
    line.send(answer.whole[:-1])
    line.stay_silent()


def dribble(line: Line, answer: Answer) -> None:
    line.dribble(answer.whole)


def dribble_body(line: Line, answer: Answer) -> None:
    line.send(answer.head())
    line.dribble(answer.body)


def paced(line: Line, answer: Answer) -> None:
    """Let every byte on the wire come alone: with TLS, those of the records."""
    line.pace = 0.02
    line.send(answer.whole)


def latency(seconds: float) -> Fault:
    def late(line: Line, answer: Answer) -> None:
        line.pause(seconds)
        line.send(answer.whole)

    return late


def says(text: bytes) -> Fault:
    """Send something else, then FIN."""

    def say(line: Line, _answer: Answer) -> None:
        line.send(text)
        line.finish()

    return say


def no_content(line: Line, _answer: Answer) -> None:
    line.send(b"HTTP/1.1 204 Said\r\n\r\n")


def endless(*blocks: bytes) -> Fault:
    def say(line: Line, _answer: Answer) -> None:
        line.send(blocks[0])
        line.send_for_ever(*blocks[1:])

    return say


def status(line_: str, body: bytes | None = None, **headers: str) -> Fault:
    """Send another status, header or body."""

    def say(line: Line, answer: Answer) -> None:
        content = answer.body if body is None else body
        changed = Answer(line_, answer.headers, content)
        line.send(changed.head(**headers) + content)

    return say


def longer_than_said(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=str(len(answer.body) - 5)) + answer.body)


def shorter_than_said(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=str(len(answer.body) + 5)) + answer.body)
    line.stay_silent()


def two_answers(line: Line, answer: Answer) -> None:
    """Send the answer twice: the second one must not be taken for that to the next request."""
    line.send(answer.whole + answer.whole)


def two_records(line: Line, answer: Answer) -> None:
    """Give two answers in two records of TLS, which arrive together."""
    assert line._tls is not None
    line._tls.write(answer.whole)
    line._tls.write(answer.whole)
    line._push(line._out.read())


def without_length(line: Line, answer: Answer) -> None:
    line.send(answer.head(version="1.0", content_length=None) + answer.body)
    line.finish()


def without_length_reset(line: Line, answer: Answer) -> None:
    line.send(answer.head(version="1.0", content_length=None) + answer.body)
    line.pause(0.05)
    line.reset()


def without_length_endless(line: Line, answer: Answer) -> None:
    line.send(answer.head(version="1.0", content_length=None))
    line.send_for_ever(b" " * 65536)


def headers_of_a_megabyte(line: Line, answer: Answer) -> None:
    head = answer.head()[:-2]
    lines = b"".join(b"x-%d: %s\r\n" % (index, b"a" * 1000) for index in range(1000))
    line.send(head + lines + b"\r\n" + answer.body)


def slow_headers(line: Line, answer: Answer) -> None:
    for field_line in answer.head().splitlines(keepends=True)[:-1]:
        line.send(field_line)
    for index in range(1000):
        line.pause(0.02)
        line.send(b"x-%d: a\r\n" % index)


def after_informational(*statuses: int) -> Fault:
    def say(line: Line, answer: Answer) -> None:
        for code in statuses:
            line.send(b"HTTP/1.1 %d Said\r\nlink: </x>\r\n\r\n" % code)
        line.send(answer.whole)

    return say


def chunked(*chunks: bytes) -> Iterator[bytes]:
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)


def in_chunks(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=None, transfer_encoding="chunked"))
    for index in range(len(answer.body)):
        line.send(b"".join(chunked(answer.body[index : index + 1])))
    line.send(b"0\r\n\r\n")


def endless_chunks(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=None, transfer_encoding="chunked"))
    line.send_for_ever(*chunked(b" " * 65536))


def endless_chunks_of_a_byte(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=None, transfer_encoding="chunked"))
    while True:  # slowly enough for the time to end before the room for a token response does
        line.send(b"1\r\n \r\n" * 1000)
        line.pause(0.01)


def chunks_cut(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=None, transfer_encoding="chunked"))
    line.send(b"".join(chunked(answer.body)))
    line.finish()


def chunks_of_no_size(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=None, transfer_encoding="chunked") + b"zz\r\n" + answer.body)
    line.finish()


def _deflated(content: bytes) -> bytes:
    gzip = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return gzip.compress(content) + gzip.flush()


def compressed(line: Line, answer: Answer) -> None:
    body = _deflated(answer.body)
    line.send(answer.head(content_encoding="gzip", content_length=str(len(body))) + body)


def compressed_in_members(line: Line, answer: Answer) -> None:
    """Send a body as three members of gzip, one of them empty, each of which begins within a chunk."""
    body = _deflated(answer.body[:9]) + _deflated(b"") + _deflated(answer.body[9:])
    line.send(answer.head(content_encoding="gzip", content_length=None, transfer_encoding="chunked"))
    line.send(b"".join(chunked(body[:40], body[40:], b"")))


def compressed_and_padded(line: Line, answer: Answer) -> None:
    """Send a whole compressed body, and zero bytes in the same chunk."""
    line.send(answer.head(content_encoding="gzip", content_length=None, transfer_encoding="chunked"))
    line.send(b"".join(chunked(_deflated(answer.body) + bytes(512), b"")))


def compressed_cut(line: Line, answer: Answer) -> None:
    body = _deflated(answer.body)[:-12]
    line.send(answer.head(content_encoding="gzip", content_length=str(len(body))) + body)


def compressed_garbage(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_encoding="gzip") + answer.body)


def bomb(line: Line, answer: Answer) -> None:
    """Send zeros without end, a thousand of them in a byte."""
    gzip = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    start = gzip.compress(b"") + gzip.flush(zlib.Z_FULL_FLUSH)
    block = gzip.compress(bytes(16 * 1024 * 1024)) + gzip.flush(zlib.Z_FULL_FLUSH)
    line.send(answer.head(content_encoding="gzip", content_length=None, transfer_encoding="chunked"))
    line.send(b"".join(chunked(start)))
    line.send_for_ever(*chunked(block))


def compressed_and_then_some(line: Line, answer: Answer) -> None:
    """Send a whole compressed body, and then bytes without end that decompress to nothing."""
    line.send(answer.head(content_encoding="gzip", content_length=None, transfer_encoding="chunked"))
    line.send(b"".join(chunked(_deflated(answer.body))))
    line.send_for_ever(*chunked(bytes(65536)))


def compressed_nothing(line: Line, answer: Answer) -> None:
    """Send a compressed body whose blocks are all empty, without end."""
    gzip = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    start = gzip.compress(b"") + gzip.flush(zlib.Z_FULL_FLUSH)
    line.send(answer.head(content_encoding="gzip", content_length=None, transfer_encoding="chunked"))
    line.send(b"".join(chunked(start)))
    line.send_for_ever(*chunked(b"\x00\x00\x00\xff\xff" * 10000))


def refusal_without_end(line: Line, answer: Answer) -> None:
    changed = answer.head(status="401 Unauthorized", content_length=None, transfer_encoding="chunked")
    line.send(changed)
    line.send_for_ever(*chunked(b" " * 65536))


def refusal_that_dribbles(line: Line, answer: Answer) -> None:
    line.send(answer.head(status="401 Unauthorized"))
    line.dribble(answer.body)


# Faults of a TLS handshake.


def handshake_with(context: ssl.SSLContext) -> ConnectionFault:
    def shake(line: Line) -> None:
        line.shake_hands(context)

    return shake


def handshake_paced(context: ssl.SSLContext) -> ConnectionFault:
    def shake(line: Line) -> None:
        line.pace = 0.02
        line.shake_hands(context)

    return shake


def plain_text(line: Line) -> None:
    line.read()
    line.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    line.finish()


def handshake_cut(line: Line) -> None:
    line.read()
    line.send(b"\x16\x03\x03\x00\x7a\x02\x00")  # the beginning of a ServerHello
    line.finish()


def handshake_reset(line: Line) -> None:
    line.read()
    line.reset()


def handshake_silent(line: Line) -> None:
    line.read()
    line.stay_silent()
