"""Generates responses of every kind, valid and invalid, as bytes, for `tools.fuzz`."""

import gzip
import json
import urllib.parse
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from harness import PAGE_EXAMPLE, TENANT_ID
from hypothesis import strategies as st

from thrive_learning import BasicCredentials, ClientCredentials
from thrive_learning._auth.masking import basic_header

# Secrets that the server repeats, with quotes, slashes, and letters that JSON escapes.
API_SECRET = 'fake-"api"-secr\\t/\N{LATIN SMALL LETTER E WITH ACUTE}'
CLIENT_SECRET = 'fake-"client"-secr\\t/\N{LATIN SMALL LETTER E WITH ACUTE}'
TOKEN = 'fake-"token"/value'
BASIC_CREDENTIALS = BasicCredentials(TENANT_ID, API_SECRET)
OAUTH_CREDENTIALS = ClientCredentials(TENANT_ID, "fake-client", CLIENT_SECRET)
#: The requests of a client with HTTP Basic, and of one with OAuth to the token endpoint and to the API.
BASIC_SECRETS = [API_SECRET, basic_header(TENANT_ID, API_SECRET).removeprefix("Basic ")]
TOKEN_SECRETS = [
    CLIENT_SECRET,
    basic_header("fake-client", urllib.parse.quote_plus(CLIENT_SECRET)).removeprefix("Basic "),
]
OAUTH_SECRETS = [CLIENT_SECRET, TOKEN]


class Exchange(NamedTuple):
    """A response, and the request that it answers.

    Attributes:
        source: Who sends it: `API` or `token endpoint`.
        basic: Whether the client has Basic credentials; otherwise, OAuth.
        size: How many bytes arrive at once.
        other_size: Another such number, which must change nothing.
        raw: The response.
    """

    source: str
    basic: bool
    size: int
    other_size: int
    raw: bytes

    @property
    def secrets(self) -> list[str]:
        """The secrets of the request, which no message may repeat."""
        if self.basic:
            return BASIC_SECRETS
        return OAUTH_SECRETS if self.source == "API" else TOKEN_SECRETS


def response(status: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return the bytes of a response."""
    lines = [status, *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def success(document: Any) -> bytes:
    """Return the bytes of a sound response with a JSON document."""
    body = json.dumps(document).encode()
    return response(b"HTTP/1.1 200 OK", [(b"Content-Length", b"%d" % len(body))], body)


TOKEN_RESPONSE = success({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})

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
    b"gzip": lambda body: gzip.compress(body, mtime=0),
    b"GZip": lambda body: (
        gzip.compress(body[: len(body) // 2], mtime=0) + gzip.compress(body[len(body) // 2 :], mtime=0)
    ),  # two members
    b"x-gzip": lambda body: gzip.compress(body, mtime=0) + b"after it",
    b"deflate": zlib.compress,
    b"br": bytes,
}
TRANSFER_CODINGS = [b"chunked"] * 4
TRANSFER_CODINGS += [b"Chunked", b"chunked\t", b"gzip, chunked", b"identity", b"chunked;q=1"]
visible = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30).map(
    lambda text: text.encode("latin-1")
)
# In a header, a server repeats what it got in one.
SENT = [secret.encode() for secret in ALL_SECRETS if secret not in {API_SECRET, CLIENT_SECRET}]
DELAYS = [b"nan", b"-1", b"1e999", b"Mon, 01 Jan 0001 00:00:00 +2359", b"81, 120"]
values = visible | st.sampled_from([*DELAYS, *SENT])
names = st.sampled_from(
    [b"Retry-After", b"Location", b"X-Request-Id", b"Content-Type", b"Set-Cookie", b"Connection", b"Upgrade"]
)
#: Headers that contradict the length of a body. llhttp rejects a length that is repeated; h11 does not.
LENGTHS = [(b"content-length", b"9999"), (b"Content-Length", b"9998"), (b"Content-Length ", b"1")]
LENGTHS += [(b"transfer-encoding", b"chunked"), (b"X: y\r\nContent-Length", b"9997"), (b"X", b"a\r\n b: 265")]
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
    """Draw responses that are mostly valid HTTP."""
    body = draw(bodies)
    headers = draw(st.lists(st.tuples(names, values), max_size=4))
    if draw(st.integers(0, 9)) == 0:
        headers.append(draw(st.sampled_from(LENGTHS)))
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
            headers.append((b"Transfer-Encoding", draw(st.sampled_from(TRANSFER_CODINGS))))
            body = b"%x\r\n%s\r\n" % (len(body), body) + draw(st.sampled_from([b"0\r\n\r\n", b"", b"-1\r\n"]))
    return response(draw(first_lines), headers, body)


@st.composite
def raw_responses(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a damaged response, or bytes that are not a response."""
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
    """Draw responses of the API or of the token endpoint, in pieces of some size."""
    raw = draw(raw_responses())
    least = len(raw) // 500  # a long response byte by byte shows no more than a short one
    sizes = [max(size, least) for size in draw(st.permutations([1, 7, 100, 100_000]))]
    source = draw(st.sampled_from(["API", "API", "token endpoint"]))
    return Exchange(source, source == "API" and draw(st.booleans()), sizes[0], sizes[1], raw)
