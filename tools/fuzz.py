"""Feeds responses made of anything to the real client: sync, asyncio and trio, over the real HTTP parser.

There is no socket: a network backend of httpcore's answers each request with raw bytes, in pieces of any
size. Whatever they are, a call gives a record or raises a ThriveError, the same class in all three; its
message is one printable line, it links to no other exception, it pickles, nothing is left behind that warns,
and no secret shows in it or in our log, although the server repeats what it was sent wherever it can.
"""

import argparse
import collections
import gzip
import json
import logging
import pickle
import ssl
import sys
import time
import traceback
import urllib.parse
import warnings
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpcore
import httpx
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import ACTIVITY_ID, PAGE_EXAMPLE, TENANT_ID, Flavour
from thrive_learning._fast import AsyncFastTransport, AsyncLine, FastTransport, Line, Route
from thrive_learning._httpx_transports import AsyncPooledTransport, PooledTransport

from thrive_learning import (
    Activity,
    BasicCredentials,
    ClientCredentials,
    Region,
    RetryPolicy,
    ThriveError,
)
from thrive_learning._auth.masking import basic_header

# What the server repeats. In them are quotes, slashes and letters that JSON escapes.
API_SECRET = 'fake-"api"-secr\\t/\N{LATIN SMALL LETTER E WITH ACUTE}'
CLIENT_SECRET = 'fake-"client"-secr\\t/\N{LATIN SMALL LETTER E WITH ACUTE}'
TOKEN = 'fake-"token"/value'
BASIC_CREDENTIALS = BasicCredentials(TENANT_ID, API_SECRET)
OAUTH_CREDENTIALS = ClientCredentials(TENANT_ID, "fake-client", CLIENT_SECRET)
#: What a client with HTTP Basic sends, and one with OAuth to the token endpoint and to the API.
BASIC_SECRETS = [API_SECRET, basic_header(TENANT_ID, API_SECRET).removeprefix("Basic ")]
TOKEN_SECRETS = [
    CLIENT_SECRET,
    basic_header("fake-client", urllib.parse.quote_plus(CLIENT_SECRET)).removeprefix("Basic "),
]
OAUTH_SECRETS = [CLIENT_SECRET, TOKEN]
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used, and dear to make
ROUTE = Route(TLS, None)

REGION = Region.custom(
    "fuzz", api_url="http://localhost/rest/v1", token_url="http://localhost/token/{tenant_id}"
)
BATCH = 50  # between two looks at the clock

Pieces = list[bytes]
Exchange = tuple[str, bool, int, bytes]  # who sends them, whether with HTTP Basic, size of a piece, the bytes


def response(status: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    lines = [status, *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def whole(document: Any) -> bytes:
    body = json.dumps(document).encode()
    return response(b"HTTP/1.1 200 OK", [(b"Content-Length", b"%d" % len(body))], body)


TOKEN_RESPONSE = whole({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
RECORD_RESPONSE = whole(PAGE_EXAMPLE)


class Wire:
    """What answers: the fuzzed bytes for one kind of request, a sound response for the other."""

    def __init__(self, method: bytes, pieces: Pieces) -> None:
        self.method = method
        self.pieces = pieces

    def answer(self, request: bytes) -> Pieces | None:
        if not request.startswith((b"GET ", b"POST ")):
            return None  # the rest of a request
        if request.startswith(self.method):
            return list(self.pieces)
        return [TOKEN_RESPONSE if request.startswith(b"POST ") else RECORD_RESPONSE]


class Stream(httpcore.NetworkStream):
    """A connection that gives the pieces of its answer, and then its end."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pieces: Pieces = []
        self._closed = False
        self._ended = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        if self._closed:
            raise httpcore.ReadError("closed")
        self._ended = not self._pieces
        piece = b"" if self._ended else self._pieces.pop(0)
        if len(piece) > max_bytes:
            self._pieces.insert(0, piece[max_bytes:])
        return piece[:max_bytes]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        answer = self._wire.answer(buffer)
        if answer is not None:
            self._pieces = answer

    def close(self) -> None:
        self._closed = True

    def get_extra_info(self, info: str) -> Any:
        return (self._ended or bool(self._pieces)) if info == "is_readable" else None


class AsyncStream(httpcore.AsyncNetworkStream):
    """Its twin."""

    def __init__(self, wire: Wire) -> None:
        self._stream = Stream(wire)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer)

    async def aclose(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def connect_tcp(self, *_arguments: Any, **_options: Any) -> Stream:
        return Stream(self._wire)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def connect_tcp(self, *_arguments: Any, **_options: Any) -> AsyncStream:
        return AsyncStream(self._wire)


def on(line: Any, stream: Any) -> Any:
    line._stream = stream
    return line


def transport(flavour: Flavour, wire: Wire) -> httpx.BaseTransport | httpx.AsyncBaseTransport:
    """Give a transport of the package's own, of the flavour's engine, that goes to the wire."""
    made: Any
    match flavour.name:
        case "sync":
            made = PooledTransport(TLS, None)
            made._own_pool._opener._network_backend = Backend(wire)
        case "asyncio" | "trio":
            made = AsyncPooledTransport(TLS, None)
            made._own_pool._opener._network_backend = AsyncBackend(wire)
        case "sync, fast":
            made = FastTransport(TLS, None)
            made._lines._create = lambda site: on(Line(site, ROUTE), Stream(wire))
        case _:
            made = AsyncFastTransport(TLS, None)
            made._lines._create = lambda site: on(AsyncLine(site, ROUTE), AsyncStream(wire))
    return cast("httpx.BaseTransport | httpx.AsyncBaseTransport", made)


ALL_SECRETS = [*BASIC_SECRETS, *TOKEN_SECRETS, TOKEN]
# As they are, and as JSON escapes them.
ECHOES = [form.encode() for secret in ALL_SECRETS for form in (secret, json.dumps(secret)[1:-1])]
texts = st.text(max_size=40) | st.sampled_from([*ALL_SECRETS, "A\x00B", "\ud800", "x" * 5000])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*PAGE_EXAMPLE, "error", "message", "access_token", "error_description"]) | texts,
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
changed_records = st.dictionaries(st.sampled_from(list(PAGE_EXAMPLE)), documents, max_size=3).map(
    lambda changes: PAGE_EXAMPLE | changes
)
changed_tokens = st.dictionaries(
    st.sampled_from(["access_token", "token_type", "expires_in", "scope"]),
    documents | st.sampled_from(["Bearer", 3600, 1e308, 10**400, "api/read \x1b[2J"]),
    max_size=3,
).map(lambda changes: {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600} | changes)
json_bodies = (changed_records | changed_tokens | documents).map(
    lambda document: json.dumps(document).encode("utf-8", "surrogatepass")
)
bodies = st.one_of(
    json_bodies,
    json_bodies,
    st.binary(max_size=200),
    st.sampled_from([b"", b"<html>", b"[" * 50_000, b"\xff\xfe{}", b"{" * 5 + b"}" * 5, *ECHOES]),
)
codings: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": partial(gzip.compress, mtime=0),
    b"deflate": zlib.compress,
    b"br": bytes,
}
visible = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30).map(
    lambda text: text.encode("latin-1")
)
# In a header, a server repeats what it got in one.
SENT = [secret.encode() for secret in ALL_SECRETS if secret not in {API_SECRET, CLIENT_SECRET}]
values = visible | st.sampled_from([b"nan", b"-1", b"1e999", b"Mon, 01 Jan 0001 00:00:00 +2359", *SENT])
names = st.sampled_from(
    [b"Retry-After", b"Location", b"X-Request-Id", b"Content-Type", b"Set-Cookie", b"Connection", b"Upgrade"]
)
statuses = st.one_of(
    st.sampled_from([200, 200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 503]),
    st.integers(0, 1200),
).map(b"HTTP/1.1 %d X".__mod__)
first_lines = st.one_of(
    *[statuses] * 6,
    st.sampled_from([b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/2 200", b"ICY 200 OK", b""]),
    st.builds(b" ".join, st.lists(visible, max_size=3)),
    st.sampled_from(ECHOES),
)


@st.composite
def sound_responses(draw: st.DrawFn) -> bytes:
    """Responses that are HTTP, mostly."""
    body = draw(bodies)
    headers = draw(st.lists(st.tuples(names, values), max_size=4))
    if draw(st.integers(0, 3)) == 0:
        coding = draw(st.sampled_from(list(codings)))
        headers.append((b"Content-Encoding", coding))
        body = codings[coding](body)
        body = body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body
    match draw(st.sampled_from(["length", "length", "wrong", "chunked", "until the end"])):
        case "length":
            headers.append((b"Content-Length", b"%d" % len(body)))
        case "wrong":
            wrong = draw(st.sampled_from([b"0", b"1", b"-1", b"9" * 30, b"1, 2", b"x"]))
            headers.append((b"Content-Length", wrong))
        case "chunked":
            headers.append((b"Transfer-Encoding", b"chunked"))
            body = b"%x\r\n%s\r\n" % (len(body), body) + draw(st.sampled_from([b"0\r\n\r\n", b"", b"-1\r\n"]))
    return response(draw(first_lines), headers, body)


@st.composite
def raw_responses(draw: st.DrawFn) -> bytes:
    """Bytes: a response of the kind above that something happened to, or no response at all."""
    raw = draw(sound_responses())
    happens = ["cut", "changed", "twice", "early", "echo", "any"]
    match draw(st.sampled_from(["nothing"] * 3 + happens)):
        case "cut":
            raw = raw[: draw(st.integers(0, len(raw)))]
        case "changed":
            place = draw(st.integers(0, len(raw)))
            raw = raw[:place] + draw(st.binary(max_size=8)) + raw[place + draw(st.integers(0, 8)) :]
        case "twice":
            raw += raw
        case "early":
            raw = draw(st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\n\r\n"])) + raw
        case "echo":
            secret = draw(st.sampled_from(ECHOES))
            line = draw(st.sampled_from([b"Authorization: Bearer %s", b"Authorization Bearer %s", b"\x00%s"]))
            raw = raw.replace(b"\r\n", b"\r\n" + line % secret + b"\r\n", 1)
        case "any":
            raw = draw(st.binary(max_size=200))
        case _:
            pass
    return raw


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    raw = draw(raw_responses())
    size = draw(st.sampled_from([1, 7, 100, 100_000]))
    size = max(size, len(raw) // 500)  # a long response byte by byte says no more than a short one
    source = draw(st.sampled_from(["API", "API", "token endpoint"]))
    return source, source == "API" and draw(st.booleans()), size, raw


class Kept(logging.Handler):
    """Keeps what the SDK logs, and what Python says of objects that were left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.left_behind: list[str] = []

    def unraisable(self, args: Any) -> None:
        self.left_behind.append(f"{args.err_msg} {args.object!r}: {args.exc_value}")

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def call(flavour: Flavour, exchange: Exchange, kept: Kept) -> str:
    """Make a call that gets this response; give what it came to, or raise AssertionError."""
    source, basic, size, raw = exchange
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    wire = Wire(b"GET " if source == "API" else b"POST ", pieces)
    kept.lines.clear()
    credentials = BASIC_CREDENTIALS if basic else OAUTH_CREDENTIALS
    options: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "timeout": 30}
    with flavour.open(REGION, credentials, transport=lambda: transport(flavour, wire), **options) as client:
        try:
            activity = client.activities.get(ACTIVITY_ID)
        except ThriveError as error:
            inspect_error(error)
            outcome = type(error).__name__
            texts = [repr(error), *traceback.format_exception(error), *shown_in(vars(error))]
        else:
            assert isinstance(activity, Activity)
            assert json.loads(json.dumps(activity.to_dict())) == activity.to_dict()
            assert pickle.loads(pickle.dumps(activity)) == activity
            outcome, texts = "Activity", []
    secrets = BASIC_SECRETS if basic else OAUTH_SECRETS if source == "API" else TOKEN_SECRETS
    left_behind, kept.left_behind = kept.left_behind, []
    assert not left_behind, f"{flavour.name}: {left_behind}"
    for line in [*texts, *kept.lines]:
        for secret in secrets:
            for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
                assert form not in line, f"a secret shows: {line}"
    return outcome


def shown_in(attributes: dict[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in attributes.items()]


def inspect_error(error: ThriveError) -> None:
    assert str(error).isprintable(), f"not printable: {error!s:.500}"
    assert len(str(error)) < 2000, "an endless message"
    assert error.__cause__ is None
    assert error.__context__ is None
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    """Fuzz until the time is up; a counterexample ends it, made as small as it gets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    warnings.simplefilter("error")
    kept = Kept()
    logger = logging.getLogger("thrive_learning")
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    sys.unraisablehook = kept.unraisable
    outcomes: collections.Counter[str] = collections.Counter()
    ends = time.monotonic() + options.seconds
    say(f"seed {options.seed}, for {options.seconds:g} s")
    with start_blocking_portal("asyncio") as on_asyncio, start_blocking_portal("trio") as on_trio:
        portals = {"sync": None, "asyncio": on_asyncio, "trio": on_trio}
        engines = ["", ", fast"]
        flavours = [Flavour(name + engine, portals[name]) for name in portals for engine in engines]

        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.large_base_example,
            ],
            print_blob=False,
        )
        @given(exchanges())
        def check(exchange: Exchange) -> None:
            came_to = [call(flavour, exchange, kept) for flavour in flavours]
            assert len(set(came_to)) == 1, f"the flavours differ: {came_to}"
            outcomes[came_to[0]] += 1

        batch = 0
        while time.monotonic() < ends:
            seed(options.seed + batch)(check)()
            batch += 1
    say(f"{outcomes.total()} responses, each to sync, asyncio and trio on both engines")
    for name, number in outcomes.most_common():
        say(f"  {name}: {number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
