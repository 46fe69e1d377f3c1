"""TLS and proxies that misbehave, with a CA of our own; and what a proxy gets to see."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from harness import ACTIVITY_ID, Flavour

from faults import chaos
from faults.chaos import NONE, Chaos, Line, Proxy, Trouble
from faults.test_faults import (
    CREDENTIALS,
    GOOD,
    LATE,
    LONG,
    ONCE,
    SHORT,
    Expected,
    check,
    check_recovery,
    lost,
    region,
    timed,
)
from faults.watch import nothing_left
from thrive_learning import RetryPolicy, Timeout


@dataclass(frozen=True)
class Authority:
    """A CA, what it certified, and what it did not."""

    file: Path
    client: ssl.SSLContext
    server: ssl.SSLContext
    wrong_host: ssl.SSLContext
    stranger: ssl.SSLContext


def _server(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return Authority(
        file,
        ssl.create_default_context(cafile=str(file)),
        _server(ca, "localhost", "127.0.0.1"),
        _server(ca, "wrong.example"),
        _server(trustme.CA(), "localhost"),
    )


@pytest.fixture
def trusting(authority: Authority) -> dict[str, Any]:
    """Give the option that makes a client trust the authority."""
    return {"verify": authority.client}


TlsRow = tuple[Callable[[Authority], Trouble], Expected, float]


def handshake(fault: chaos.ConnectionFault) -> Callable[[Authority], Trouble]:
    return lambda _authority: Trouble(handshake=fault)


def response(fault: chaos.Fault) -> Callable[[Authority], Trouble]:
    return lambda _authority: Trouble(fault)


TLS_ROWS: dict[str, TlsRow] = {
    "signed by a stranger": (
        lambda they: Trouble(handshake=chaos.handshake_with(they.stranger)),
        lost("CERTIFICATE_VERIFY_FAILED"),
        LONG,
    ),
    "another host's certificate": (
        lambda they: Trouble(handshake=chaos.handshake_with(they.wrong_host)),
        lost("CERTIFICATE_VERIFY_FAILED"),
        LONG,
    ),
    "plain text": (handshake(chaos.plain_text), lost("The TLS handshake with localhost failed"), LONG),
    "handshake cut": (handshake(chaos.handshake_cut), lost("connecting failed"), LONG),
    "handshake reset": (handshake(chaos.handshake_reset), lost("connecting failed"), LONG),
    "handshake silent": (handshake(chaos.handshake_silent), LATE, SHORT),
    "handshake dribbles": (
        lambda they: Trouble(handshake=chaos.handshake_paced(they.server)),
        LATE,
        SHORT,
    ),
    "records dribble": (response(chaos.paced), LATE, SHORT),
    "body dribbles": (response(chaos.dribble_body), LATE, SHORT),
    "silence in the body": (response(chaos.silence_in_body), LATE, SHORT),
    "two answers for one": (response(chaos.two_answers), GOOD, LONG),
    "two answers in two records": (response(chaos.two_records), GOOD, LONG),
    "cut in the body": (response(chaos.cut_in_body(17)), lost("cut off after 17 bytes"), LONG),
    "reset in the body": (response(chaos.reset_in_body), lost("cut off after 10 bytes"), LONG),
}


@pytest.mark.parametrize("place", ["API", "token endpoint"])
@pytest.mark.parametrize("name", TLS_ROWS)
def test_a_fault_of_tls(
    flavour: Flavour, authority: Authority, trusting: dict[str, Any], name: str, place: str
) -> None:
    make, expected, total = TLS_ROWS[name]
    with nothing_left(flavour), Chaos(authority.server) as api, Chaos(authority.server) as token:
        spoiled = api if place == "API" else token
        with flavour.open(
            region(api, token), CREDENTIALS, timeout=Timeout(total=LONG), retry=ONCE, **trusting
        ) as client:
            if place == "API":
                client.tokens.get()
            trouble = make(authority)
            if place == "API" and trouble.request is not None:
                check_recovery(client)
            spoiled.plan(trouble)
            with timed(flavour, total, f"TLS, {name}, {place}"):
                check(client, expected, timeout=total)
            assert spoiled.played == 1 or (expected == LATE and not spoiled.played)
            spoiled.plan(NONE)
            check_recovery(client)


def dribbling_answer(line: Line) -> None:
    line.dribble(b"HTTP/1.1 200 Connection established\r\n\r\n" * 100)


def silent_answer(line: Line) -> None:
    line.stay_silent()


def answers(text: bytes) -> chaos.ConnectionFault:
    def answer(line: Line) -> None:
        line.send(text)
        line.finish()

    return answer


def reset_answer(line: Line) -> None:
    line.reset()


def connected_and_dribbling(line: Line) -> None:
    line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    line.read()
    line.dribble(b"\x16\x03\x03\x40\x00" + b"\x02" * 1000)


def connected_and_silent(line: Line) -> None:
    line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    line.stay_silent()


def connected_and_reset(line: Line) -> None:
    line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    line.read()
    line.reset()


def endless_headers(line: Line) -> None:
    line.send(b"HTTP/1.1 200 Connection established\r\n")
    line.send_for_ever(b"a: b\r\n" * 1000)


PROXY_ROWS: dict[str, tuple[chaos.ConnectionFault, Expected, float]] = {
    "dribbles": (dribbling_answer, LATE, SHORT),
    "silent": (silent_answer, LATE, SHORT),
    "reset": (reset_answer, lost("reading failed"), LONG),
    "ended": (answers(b""), lost("broke the HTTP protocol"), LONG),
    "cut": (answers(b"HTTP/1.1 200 Conn"), lost("broke the HTTP protocol"), LONG),
    "garbage": (answers(b"SSH-2.0-OpenSSH\r\n\r\n"), lost("broke the HTTP protocol"), LONG),
    "wants credentials": (
        answers(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"),
        lost("requires a user name and password (status 407)"),
        LONG,
    ),
    "bad gateway": (answers(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), lost("502 Bad Gateway"), LONG),
    "headers without end": (endless_headers, lost("broke the HTTP protocol"), LONG),
    "connected, then dribbles": (connected_and_dribbling, LATE, SHORT),
    "connected, then silent": (connected_and_silent, LATE, SHORT),
    "connected, then reset": (connected_and_reset, lost("connecting failed"), LONG),
}


@pytest.mark.parametrize("name", PROXY_ROWS)
def test_a_fault_of_a_proxy(
    flavour: Flavour, authority: Authority, trusting: dict[str, Any], name: str
) -> None:
    answer, expected, total = PROXY_ROWS[name]
    with nothing_left(flavour), Chaos(authority.server) as server, Proxy() as proxy:
        with flavour.open(
            region(server, server),
            CREDENTIALS,
            **trusting,
            proxy=proxy.url,
            timeout=Timeout(total=LONG),
            retry=ONCE,
        ) as client:
            proxy.answer = answer
            with timed(flavour, total, f"proxy, {name}"):
                check(client, expected, timeout=total)
            assert len(proxy.heads) == 1 or (expected == LATE and not proxy.heads)
            assert not server.requests
            proxy.answer = None
            check_recovery(client)


def test_a_proxy_that_fails_behind_connect_costs_no_connections(
    flavour: Flavour, authority: Authority, trusting: dict[str, Any]
) -> None:
    """The pool has 100 connections. Losing one with each failure would use them up."""
    with nothing_left(flavour), Chaos(authority.server) as server, Proxy(connected_and_reset) as proxy:
        with flavour.open(
            region(server, server),
            CREDENTIALS,
            **trusting,
            proxy=proxy.url,
            timeout=LONG,
            retry=ONCE,
        ) as client:
            for _ in range(101):
                check(client, lost("connecting failed"))
            proxy.answer = None
            check_recovery(client)


def test_a_proxy_of_tls_that_dribbles(
    flavour: Flavour, authority: Authority, trusting: dict[str, Any]
) -> None:
    """Behind it is TLS within TLS, which httpcore does by hand."""
    with nothing_left(flavour), Chaos(authority.server) as server:
        with Proxy(connected_and_dribbling, tls=authority.server) as proxy:
            with flavour.open(
                region(server, server),
                CREDENTIALS,
                **trusting,
                proxy=f"https://localhost:{proxy.port}",
                timeout=Timeout(total=SHORT),
                retry=ONCE,
            ) as client:
                with timed(flavour, SHORT, "proxy over TLS, dribbles"):
                    check(client, LATE)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_second_answer_through_a_proxy_is_not_taken_for_the_next(
    flavour: Flavour, authority: Authority, trusting: dict[str, Any], scheme: str
) -> None:
    tls = authority.server if scheme == "https" else None
    with nothing_left(flavour), Chaos(authority.server) as server, Proxy(tls=tls) as proxy:
        with flavour.open(
            region(server, server),
            CREDENTIALS,
            **trusting,
            proxy=f"{scheme}://localhost:{proxy.port}",
            timeout=LONG,
            retry=ONCE,
        ) as client:
            client.tokens.get()
            server.plan(Trouble(chaos.two_records, times=1))
            check(client, GOOD)
            check_recovery(client)


@pytest.fixture
def _trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("way", ["proxy=", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "none"])
def test_a_proxy_sees_only_the_tunnel_request(
    flavour: Flavour, authority: Authority, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    with nothing_left(flavour), Chaos(authority.server) as server, Proxy() as proxy:
        url = proxy.url.replace("//", "//user:p%40ss@")
        options: dict[str, Any] = {}
        if way == "proxy=":
            options["proxy"] = url
            monkeypatch.setenv("NO_PROXY", "*")  # it is for what the environment names
        elif way in {"HTTPS_PROXY", "ALL_PROXY"}:
            monkeypatch.setenv(way, url)
        elif way == "NO_PROXY":
            monkeypatch.setenv("HTTPS_PROXY", url)
            monkeypatch.setenv("NO_PROXY", "localhost")
        with flavour.open(region(server, server), CREDENTIALS, timeout=LONG, retry=ONCE, **options) as client:
            assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
        if way in {"NO_PROXY", "none"}:
            assert proxy.connections == 0
        else:
            [head] = proxy.heads
            assert head.startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % server.port)
            assert b"proxy-authorization: basic dXNlcjpwQHNz\r\n".lower() in head.lower()
            assert b"\r\nauthorization" not in head.lower()
            assert b"/rest/" not in head
            assert CREDENTIALS.tenant_id.encode() not in head
        assert [request.method for request in server.requests] == ["POST", "GET"]
        assert not [request for request in server.requests if "proxy-authorization" in request.headers]


def test_a_stranger_is_not_trusted_by_default(flavour: Flavour, authority: Authority) -> None:
    with nothing_left(flavour), Chaos(authority.server) as server:
        with flavour.open(
            region(server, server), CREDENTIALS, timeout=LONG, retry=RetryPolicy(attempts=1)
        ) as client:
            check(client, lost("CERTIFICATE_VERIFY_FAILED"))
        assert not server.requests
