"""Connections that behave well, on each engine and kind of client. Each kind was found in use (issue 12)."""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from harness import ACTIVITY_ID, Flavour
from patience import PATIENCE_S

from faults import chaos
from faults.chaos import NONE, Answer, Chaos, Line, Proxy, Trouble
from faults.test_faults import (
    CREDENTIALS,
    GOOD,
    LONG,
    ONCE,
    THRICE,
    broken,
    check,
    check_recovery,
    lost,
    region,
    timed,
)
from faults.test_tls_and_proxies import answers
from faults.watch import nothing_left
from thrive_learning import (
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    RateLimitedError,
    Region,
    ThriveError,
    Timeout,
    _sockets,
)


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Make calls side by side, and return what each returns or raises."""
    results: list[object] = [None] * len(calls)

    def run(index: int, call: Callable[[], object]) -> None:
        try:
            results[index] = call()
        except ThriveError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# A host whose first address does not respond.


@contextlib.contextmanager
def unresponsive(port: int) -> Iterator[str]:
    """Yield an address on which the kernel answers no connection attempt, because a backlog is full."""
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind(("127.0.0.2", port))
        full.listen(0)
        for _ in range(3):
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "::1"])
def test_an_address_that_does_not_respond_does_not_hide_the_next(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nothing_left(flavour), Chaos() as api, Chaos() as token, unresponsive(api.port) as dead:
        resolve = socket.getaddrinfo

        def both(host: Any, *args: Any, **options: Any) -> Any:
            if host in {"localhost", b"localhost"}:
                return [found for one in (dead, "127.0.0.1") for found in resolve(one, *args, **options)]
            return resolve(host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", both)
        there = Region.custom(
            "two addresses",
            api_url=f"http://localhost:{api.port}/rest/v1",
            token_url=f"{token.origin}/oauth2/token/{{tenant_id}}",
        )
        patient = Timeout(total=2 * PATIENCE_S, connect=2 * PATIENCE_S)
        with flavour.open(there, CREDENTIALS, timeout=patient, retry=ONCE) as client:
            check(client, GOOD)
            # A retry does not begin with the address that does not respond.
            monkeypatch.setattr(_sockets, "HEAD_START_S", 2 * PATIENCE_S)
            api.plan(Trouble(chaos.reset_after_reading, times=2))
            check(client, GOOD, retry=THRICE)


# Connections that have been used before.


def test_forgotten_idle_connections_cost_one_attempt(flavour: Flavour) -> None:
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=THRICE) as client:
            client.tokens.get()
            together = threading.Barrier(3)

            def wait(line: Line, answer: Answer) -> None:
                together.wait(PATIENCE_S)
                line.send(answer.whole)

            api.plan(Trouble(wait, times=3))
            in_threads(*[lambda: client.activities.get(ACTIVITY_ID)] * 3)
            assert api.connections == 3
            known = set(map(id, api._lines))

            def forget(line: Line, answer: Answer) -> None:
                if id(line) in known:
                    line.reset()
                else:
                    line.send(answer.whole)

            api.plan(Trouble(forget, times=10))
            found = client.activities.get_with_response(ACTIVITY_ID)
            assert [attempt.error for attempt in found.history] == ["ConnectionFailedError", None]
            assert api.connections == 4


@pytest.mark.parametrize("encoding", ["br", "gzip"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_second_answer_behind_one_without_a_body_is_not_taken_for_the_next(
    flavour: Flavour, encoding: str, *, apart: bool
) -> None:
    def twice(line: Line, answer: Answer) -> None:
        first = Answer(answer.status, answer.headers, b"").head(content_encoding=encoding)
        if apart:
            line.send(first)
            line.pause(0.02)
            line.send(answer.whole)
        else:
            line.send(first + answer.whole)  # in two, the next request could come between them
        sent.set()

    sent = threading.Event()
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=ONCE) as client:
            check_recovery(client)
            api.plan(Trouble(twice))
            check(client, broken(""))
            assert sent.wait(PATIENCE_S)
            api.plan(NONE)
            check_recovery(client)


# Reasons and attempts.


def test_a_reset_says_so(flavour: Flavour) -> None:
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=ONCE) as client:
            check_recovery(client)
            api.plan(Trouble(chaos.reset_after_reading))
            check(client, lost("Connection reset by peer"))


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("localhost",))).configure_cert(context)
    return context


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def test_a_missing_client_certificate_says_so(flavour: Flavour, ca: trustme.CA) -> None:
    context = server_context(ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # the server rejects the client after the handshake
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    with nothing_left(flavour), Chaos(context) as api:
        with flavour.open(
            region(api, api), CREDENTIALS, timeout=LONG, retry=ONCE, verify=client_context(ca)
        ) as client:
            check(client, lost("CERTIFICATE_REQUIRED"))


def attempts_of(client: Any) -> int:
    with pytest.raises(ConnectionFailedError) as caught:
        client.activities.get(ACTIVITY_ID)
    client._http.authorizer.cache.forget_failures()
    return caught.value.attempts


def test_a_proxy_that_wants_credentials_is_asked_once(flavour: Flavour, ca: trustme.CA) -> None:
    """Each attempt with a wrong password counts toward locking an account."""
    with nothing_left(flavour), Chaos(server_context(ca)) as api:
        rejects = answers(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        with (
            Proxy(rejects) as proxy,
            flavour.open(
                region(api, api),
                CREDENTIALS,
                timeout=LONG,
                retry=THRICE,
                verify=client_context(ca),
                proxy=proxy.url,
            ) as client,
        ):
            assert attempts_of(client) == len(proxy.heads) == 1


def test_a_certificate_that_is_not_trusted_is_looked_at_once(flavour: Flavour, ca: trustme.CA) -> None:
    with nothing_left(flavour), Chaos(server_context(trustme.CA())) as api:
        with flavour.open(
            region(api, api), CREDENTIALS, timeout=LONG, retry=THRICE, verify=client_context(ca)
        ) as client:
            assert attempts_of(client) == api.connections == 1


@pytest.mark.parametrize(("code", "attempts"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)])
def test_an_unknown_host_is_looked_up_once(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, code: int, attempts: int
) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise socket.gaierror(code, "made up")

    there = Region.custom(
        "nowhere", api_url="https://api.nowhere.example", token_url="https://id.nowhere.example/{tenant_id}"
    )
    with nothing_left(flavour), flavour.open(there, CREDENTIALS, timeout=LONG, retry=THRICE) as client:
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        assert attempts_of(client) == attempts


# Closing.


def test_closing_the_client_ends_calls_that_wait(flavour: Flavour) -> None:
    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=THRICE) as client:
            check_recovery(client)
            waiting = threading.Event()

            def stall(line: Line, _answer: Answer) -> None:
                waiting.set()
                line.stay_silent()

            def close() -> None:
                assert waiting.wait(PATIENCE_S)
                client.close()

            api.plan(Trouble(stall, times=10))
            with timed(flavour, 0.0, "closed while waiting"):
                error, _ = in_threads(lambda: client.activities.get(ACTIVITY_ID), close)
            assert type(error) is ClientClosedError


# Parts that are written differently.


def test_white_space_behind_chunked(flavour: Flavour) -> None:
    def tabbed(line: Line, answer: Answer) -> None:
        line.send(answer.head(content_length=None, transfer_encoding="chunked\t"))
        line.send(b"".join(chaos.chunked(answer.body, b"")))

    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=ONCE) as client:
            api.plan(Trouble(tabbed))
            check(client, GOOD)
            api.plan(NONE)
            check_recovery(client)


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_members_of_gzip_are_read_whatever_the_chunks(flavour: Flavour, pieces: int) -> None:
    def members(line: Line, answer: Answer) -> None:
        body = gzip.compress(answer.body[:50]) + gzip.compress(b"") + gzip.compress(answer.body[50:])
        line.send(answer.head(content_length=None, content_encoding="gzip", transfer_encoding="chunked"))
        chunks = [body[start : start + pieces] for start in range(0, len(body), pieces)]
        line.send(b"".join(chaos.chunked(*chunks, b"")))

    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=ONCE) as client:
            api.plan(Trouble(members))
            check(client, GOOD)
            api.plan(NONE)
            check_recovery(client)


def test_the_longest_of_several_values_of_retry_after(flavour: Flavour) -> None:
    def busy(line: Line, _answer: Answer) -> None:
        line.send(
            b"HTTP/1.1 429 Said\r\ncontent-length: 0\r\nretry-after: 81\r\n"
            b"retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: 120\r\n\r\n"
        )

    with nothing_left(flavour), Chaos() as api, Chaos() as token:
        with flavour.open(region(api, token), CREDENTIALS, timeout=LONG, retry=THRICE) as client:
            api.plan(Trouble(busy, times=10))
            error = check(client, (RateLimitedError, "wait 120 s"))
            assert error is not None
            assert error.attempts == 1  # the call ends before it may be repeated


# Addresses.


def test_an_ipv6_address_goes_through_a_proxy_in_brackets(flavour: Flavour) -> None:
    there = Region.custom(
        "six",
        api_url="https://[2001:db8::1]:8443/v1",
        token_url="https://[2001:db8::1]:8443/token/{tenant_id}",
    )
    with nothing_left(flavour), Proxy(answers(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")) as proxy:
        with flavour.open(there, CREDENTIALS, timeout=LONG, retry=ONCE, proxy=proxy.url) as client:
            check(client, lost("403 No"))
        [head] = proxy.heads
        assert head.startswith(b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n")
        assert b"\r\nhost: [2001:db8::1]:8443\r\n" in head.lower()


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://[::1]:{port}/v1", "::1"),
        ("https://[::1]:{port}/v1", "[::1]"),
        ("https://api.localhost:{port}/v1", "*.localhost"),
        ("https://api.localhost:{port}/v1", ".localhost"),
    ],
)
def test_no_proxy_is_obeyed(flavour: Flavour, monkeypatch: pytest.MonkeyPatch, url: str, wanted: str) -> None:
    with Proxy() as proxy, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = url.format(port=unused.getsockname()[1])
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", wanted)
        with flavour.open(
            Region.custom("near", api_url=base, token_url=base + "/{tenant_id}"),
            CREDENTIALS,
            timeout=LONG,
            retry=ONCE,
        ) as client:
            check(client, lost(""))
        assert proxy.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://0177.0.0.1/x",
        "http://[::1]evil.com/x",
        "http://a b:1/x",
        "https://api.example:99999/x",
        "https://api.example:port/x",
    ],
)
def test_an_invalid_url_of_a_region_is_rejected_with_the_client(flavour: Flavour, url: str) -> None:
    with (
        pytest.raises(ConfigurationError) as caught,
        flavour.open(Region.custom("wrong", api_url=url, token_url=url + "/{tenant_id}"), CREDENTIALS),
    ):
        pass
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "proxy",
    ["http://", "http://a b:1", "http://proxy.example:99999", "http://[::1]evil.com", "http://me:canary@"],
)
def test_an_invalid_proxy_is_rejected_with_the_client(flavour: Flavour, proxy: str) -> None:
    with pytest.raises(ConfigurationError) as caught, flavour.open("production", CREDENTIALS, proxy=proxy):
        pass
    assert "canary" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
