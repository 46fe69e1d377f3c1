"""A table with the outcome of every fault, in every place and for each kind of client."""

import contextlib
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from harness import ACTIVITY_ID, Flavour
from patience import PATIENCE_S

from faults import chaos
from faults.chaos import NONE, SANDBOX, Chaos, Trouble
from faults.watch import FIGURES, note_overrun, nothing_left
from thrive_learning import (
    ApiError,
    ClientCredentials,
    ConnectionFailedError,
    DeadlineExceededError,
    RateLimitedError,
    Region,
    RetryPolicy,
    ServerError,
    ThriveError,
    Timeout,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
)

CREDENTIALS = ClientCredentials(SANDBOX.tenant_id, SANDBOX.client_id, SANDBOX.client_secret)
ONCE = RetryPolicy(attempts=1)
THRICE = RetryPolicy(attempts=3, first_delay=0.01)
SHORT = 0.15
LONG = PATIENCE_S
#: How much longer than its total a call may take here. The promise is 0.25 s; the machine may be busy. All
#: other limits are longer than this.
GRACE = 20.0
OTHER_ID = next(key for key in SANDBOX.records if key != ACTIVITY_ID)

Expected = tuple[type[ThriveError], str] | None
GOOD: Expected = None
LATE: Expected = (DeadlineExceededError, f"Timeout.total={SHORT:g} s")


def lost(fragment: str) -> Expected:
    return ConnectionFailedError, fragment


def broken(fragment: str) -> Expected:
    return UnexpectedResponseError, fragment


def token_error(fragment: str) -> Expected:
    return TokenError, fragment


@dataclass(frozen=True)
class Row:
    """One fault, and what a call comes to that meets it.

    Args:
        trouble: What goes wrong.
        api: What a call raises whose request to the API meets it; None for nothing.
        token: The same for its token request.
        tries: The maximum number of requests that meet the fault without retries; see also `retry`.
    """

    trouble: Trouble
    api: Expected
    token: Expected
    total: float = LONG
    tries: int = 1
    retry: RetryPolicy = ONCE


def late(request: chaos.Fault | None = None, connection: chaos.ConnectionFault | None = None) -> Row:
    """Give the row of a fault that only the deadline ends."""
    return Row(Trouble(request, connection), LATE, LATE, total=SHORT)


def fails(request: chaos.Fault, expected: Expected) -> Row:
    return Row(Trouble(request), expected, expected)


def passes(request: chaos.Fault) -> Row:
    """Return the row of a response that only looks like a fault."""
    return Row(Trouble(request), GOOD, GOOD)


def survived(
    request: chaos.Fault | None = None, connection: chaos.ConnectionFault | None = None, total: float = LONG
) -> Row:
    """Give the row of a fault that passes before the retries are used up."""
    return Row(Trouble(request, connection, times=2), GOOD, GOOD, total=total, tries=2, retry=THRICE)


HTML = b"<!doctype html><h1>Welcome to the guest network</h1>"
HEAD = b"HTTP/1.1 200 Said\r\ncontent-type: application/json\r\n"
NO_DATE = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"

ROWS: dict[str, Row] = {
    # Connections.
    "reset at once": Row(
        Trouble(connection=chaos.reset_at_once),
        lost("before a response arrived"),
        lost("before a response arrived"),
    ),
    "ended at once": Row(
        Trouble(connection=chaos.end_at_once),
        lost("before a response arrived"),
        lost("before a response arrived"),
    ),
    "black hole": late(connection=chaos.black_hole),
    "never accepts": Row(Trouble(never_accepts=True), LATE, LATE, total=SHORT, tries=0),
    # Resets, ends and silence.
    "reset after reading": fails(chaos.reset_after_reading, lost("before a response arrived")),
    "ended after reading": fails(chaos.end_after_reading, lost("before a response arrived")),
    "half-closed in the head": fails(chaos.cut_at(5), lost("before a response arrived")),
    "cut at the end of the head": fails(chaos.cut_at(40), lost("before a response arrived")),
    "reset in the body": fails(chaos.reset_in_body, lost("cut off after 10 bytes (reading failed)")),
    "cut before the body": fails(chaos.cut_in_body(0), lost("cut off after 0 bytes")),
    "cut in the body": fails(
        chaos.cut_in_body(17), lost("cut off after 17 bytes (the server broke the HTTP protocol)")
    ),
    "silence": late(chaos.silence),
    "silence in the head": late(chaos.silence_in_head),
    "silence in the body": late(chaos.silence_in_body),
    # Slowness.
    "a little late": passes(chaos.latency(0.05)),
    "too late": late(chaos.latency(30)),
    "dribbles": late(chaos.dribble),
    "dribbles in the body": late(chaos.dribble_body),
    "slow headers": late(chaos.slow_headers),
    # Bytes that are not HTTP.
    "garbage": fails(chaos.says(b"\x00\xff\xfe" * 100 + b"\r\n\r\n"), lost("broke the HTTP protocol")),
    "another protocol": fails(chaos.says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), lost("broke the HTTP protocol")),
    "garbage without end": fails(chaos.endless(b"", b"x" * 65536), lost("broke the HTTP protocol")),
    "a status of five digits": fails(chaos.status("20000 Said"), lost("broke the HTTP protocol")),
    "an illegal header": fails(chaos.says(HEAD + b"a b: c\r\n\r\n{}"), lost("broke the HTTP protocol")),
    "a megabyte of headers": fails(chaos.headers_of_a_megabyte, lost("broke the HTTP protocol")),
    "headers without end": fails(chaos.endless(HEAD, b"a: b\r\n" * 1000), lost("broke the HTTP protocol")),
    # Lengths.
    "longer than said": Row(
        Trouble(chaos.longer_than_said), broken("is not JSON"), token_error("is not JSON")
    ),
    "shorter than said": late(chaos.shorter_than_said),
    "two answers for one": passes(chaos.two_answers),
    "a length that is none": fails(
        chaos.status("200 Said", content_length="ten"), lost("broke the HTTP protocol")
    ),
    "a negative length": fails(
        chaos.status("200 Said", content_length="-1"), lost("broke the HTTP protocol")
    ),
    "two lengths": fails(chaos.status("200 Said", Content_Length="1"), lost("broke the HTTP protocol")),
    "HTTP/1.0 without length": passes(chaos.without_length),
    "HTTP/1.0 without length, reset": fails(chaos.without_length_reset, lost("(reading failed)")),
    "HTTP/1.0 without end": Row(
        Trouble(chaos.without_length_endless), broken("larger than"), token_error("larger than")
    ),
    # Chunks.
    "chunks of a byte": passes(chaos.in_chunks),
    "chunks without end": Row(
        Trouble(chaos.endless_chunks), broken("larger than"), token_error("larger than")
    ),
    "chunks of a byte without end": late(chaos.endless_chunks_of_a_byte),
    "chunks cut": fails(chaos.chunks_cut, lost("(the server broke the HTTP protocol)")),
    "chunks of no size": fails(chaos.chunks_of_no_size, lost("(the server broke the HTTP protocol)")),
    # Compression.
    "gzip": passes(chaos.compressed),
    "gzip in members": passes(chaos.compressed_in_members),
    "gzip and zero bytes": Row(
        Trouble(chaos.compressed_and_padded),
        broken("continues after the end"),
        token_error("continues after the end"),
    ),
    "gzip cut": fails(chaos.compressed_cut, lost("compressed data ends too early")),
    "gzip that is none": Row(
        Trouble(chaos.compressed_garbage),
        broken("cannot be decompressed"),
        token_error("cannot be decompressed"),
    ),
    "gzip bomb": Row(Trouble(chaos.bomb), broken("larger than"), token_error("larger than")),
    # Informational responses.
    "100 and 103 unasked": passes(chaos.after_informational(100, 103, 100)),
    "1xx without end": late(chaos.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)),
    # Statuses.
    "401 without end": Row(
        Trouble(chaos.refusal_without_end),
        (UnauthorizedError, "answered 401"),
        token_error("answered 401"),
        tries=2,
    ),
    "401 that dribbles": late(chaos.refusal_that_dribbles),
    "200 with HTML": Row(
        Trouble(chaos.status("200 Said", HTML, content_type="text/html")),
        broken("an HTML page"),
        token_error("is HTML"),
    ),
    "200 with nothing": Row(
        Trouble(chaos.status("200 Said", b"")), broken("is empty"), token_error("is empty")
    ),
    "200 with null": Row(
        Trouble(chaos.status("200 Said", b"null")), broken("not an object"), token_error("not an object")
    ),
    "204": Row(
        Trouble(chaos.no_content),
        broken("does not document this status"),
        token_error("answered 204"),
    ),
    "503 cut": Row(
        Trouble(chaos.says(b"HTTP/1.1 503 Said\r\ncontent-length: 100\r\n\r\nbusy")),
        (ServerError, "answered 503"),
        token_error("answered 503"),
    ),
    "561": Row(Trouble(chaos.status("561 Said")), (ServerError, "answered 561"), token_error("answered 561")),
    "429, come back in a year": Row(
        Trouble(chaos.status("429 Said", b"", retry_after="31536000")),
        (RateLimitedError, "wait 3.1536e+07 s"),
        token_error("answered 429"),
        retry=THRICE,
    ),
    "429, come back at once and in a year": Row(
        Trouble(chaos.status("429 Said", b"", retry_after="31536000", Retry_After="0, soon")),
        (RateLimitedError, "wait 3.1536e+07 s"),
        token_error("answered 429"),
        retry=THRICE,
    ),
    "429, come back on a date that is none": Row(
        Trouble(chaos.status("429 Said", b"", retry_after=NO_DATE)),
        (RateLimitedError, "wait a while"),
        token_error("answered 429"),
        retry=THRICE,
        tries=3,
    ),
    # Faults that pass.
    "reset at once, twice": survived(connection=chaos.reset_at_once),
    "reset after reading, twice": survived(chaos.reset_after_reading),
    "cut in the head, twice": survived(chaos.cut_at(20)),
    "cut in the body, twice": survived(chaos.cut_in_body(20)),
    "reset in the body, twice": survived(chaos.reset_in_body),
    "gzip cut, twice": survived(chaos.compressed_cut),
    "503, twice": survived(chaos.status("503 Said", HTML, retry_after="0")),
    "429, twice": survived(chaos.status("429 Said", b"")),
    "522, twice": survived(chaos.status("522 Said", HTML)),
}


def region(api: Chaos, token: Chaos) -> Region:
    return Region.custom(
        "chaos",
        api_url=f"{api.origin}/rest/v1",
        token_url=f"{token.origin}/oauth2/token/{{tenant_id}}",
    )


@contextlib.contextmanager
def timed(flavour: Flavour, total: float, scenario: str) -> Iterator[None]:
    """Hold a call to its total."""
    began = time.monotonic()
    yield
    overrun = time.monotonic() - began - total
    assert overrun < GRACE
    note_overrun(flavour, overrun, scenario)


def check(client: Any, expected: Expected, **options: Any) -> ThriveError | None:
    """Make a call, and check what it comes to."""
    if expected is None:
        assert client.activities.get(ACTIVITY_ID, **options).id == ACTIVITY_ID
        return None
    kind, fragment = expected
    with pytest.raises(ThriveError) as caught:
        client.activities.get(ACTIVITY_ID, **options)
    assert type(caught.value) is kind, caught.value
    assert fragment in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value


def check_recovery(client: Any) -> None:
    """Check that the next call succeeds, and gets what it asks for.

    Whether outcomes of token requests are remembered is not the question here.
    """
    client._http.authorizer.cache.forget_failures()
    for wanted in (OTHER_ID, ACTIVITY_ID):
        assert client.activities.get(wanted, timeout=LONG).id == wanted


@pytest.mark.parametrize("place", ["API", "token endpoint"])
@pytest.mark.parametrize("name", ROWS)
def test_a_fault(flavour: Flavour, name: str, place: str) -> None:
    row = ROWS[name]
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        spoiled, expected = (api, row.api) if place == "API" else (token, row.token)
        with flavour.open(
            region(api, token), CREDENTIALS, timeout=Timeout(total=row.total), retry=row.retry
        ) as client:
            if place == "API" and row.trouble.request is not None:
                check_recovery(client)  # so that its connection is one that is used again
            spoiled.plan(row.trouble)
            with timed(flavour, row.total, f"{name}, {place}"):
                error = check(client, expected)
            assert spoiled.played <= row.tries
            assert error is None or error.attempts <= row.tries or row.tries == 0
            spoiled.plan(NONE)
            if place == "token endpoint" and error is not None and expected != LATE:
                before = len(token.requests)
                check(client, expected)
                assert len(token.requests) == before  # what is not a time limit is remembered for a while
            client._http.authorizer.cache.forget_failures()
            check_recovery(client)


@pytest.mark.parametrize("place", ["API", "token endpoint"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(flavour: Flavour, place: str, status: int) -> None:
    with nothing_left(flavour), Chaos() as api, Chaos() as token, Chaos() as elsewhere:
        spoiled = api if place == "API" else token
        target = f"{elsewhere.origin}/elsewhere"
        spoiled.plan(Trouble(chaos.status(f"{status} Said", b"", location=target)))
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=THRICE) as client:
            check(client, (ApiError if place == "API" else TokenError, "redirects to http://127.0.0.1"))
            assert spoiled.played == 1
            spoiled.plan(NONE)
            client._http.authorizer.cache.forget_failures()
            check_recovery(client)
        assert elsewhere.connections == 0


MEMORY_MIB = 64


@pytest.mark.parametrize("fault", [chaos.bomb, chaos.compressed_and_then_some, chaos.compressed_nothing])
def test_the_memory_that_a_bomb_costs(flavour: Flavour, fault: chaos.Fault) -> None:
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=ONCE) as client:
            check_recovery(client)
            api.plan(Trouble(fault))
            tracemalloc.start()
            try:
                with pytest.raises(ThriveError):
                    client.activities.get(ACTIVITY_ID, timeout=LONG)
                peak = tracemalloc.get_traced_memory()[1] / 2**20
            finally:
                tracemalloc.stop()
            api.plan(NONE)
            check_recovery(client)
    FIGURES[f"peak memory, {fault.__name__}, {flavour.name}"] = f"{peak:.1f} MiB"
    assert peak < MEMORY_MIB


def test_endings_of_a_compressed_body_that_never_ends(flavour: Flavour) -> None:
    """The limit also applies to received bytes, so data that decompresses to nothing is not read forever."""
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=ONCE) as client:
            for fault in (chaos.compressed_and_then_some, chaos.compressed_nothing):
                api.plan(Trouble(fault))
                check(client, broken(""))
