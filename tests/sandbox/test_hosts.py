# ruff: noqa: S104 - binding to all addresses is tested here
import socket
from collections.abc import Iterator

import httpx
import pytest

from thrive_learning.sandbox import FaultySandbox, Sandbox
from thrive_learning.sandbox.hosts import OwnHosts, in_origin_form
from thrive_learning.sandbox.server import SandboxApp, SandboxServer

LOOPBACK = OwnHosts(["127.0.0.1"])
FOREIGN = [
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.localhost",
    "localhost@evil.example",
    "evil.example@localhost",
    "user:x@localhost",
    "10.0.0.1",
    "0.0.0.0",
    "[::]",
    "[2001:db8::1]:80",
    "127.0.0.2",
    "127.1",
    "0x7f000001",
    "2130706433",
    "127.0.0.1%25x",
    "localhost..",
    ".localhost",
    "localhost evil.example",
    "localhost, evil.example",
    "localhost:80, evil.example",
    "\uff4cocalhost",
    "localhost\x00",
    "*",
]
INVALID = [
    "",
    " ",
    ".",
    ":80",
    "localhost:x",
    "localhost:80:80",
    "localhost:-1",
    "localhost:123456",
    "localhost:\uff18\uff10",
    "::1",
    "[::1",
    "[::1]x",
    "[::1]:x",
    "[127.0.0.1]",
    "[localhost]",
    "[]",
]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "LocalHost.",
        "localhost.:8000",
        "localhost:",
        "127.0.0.1",
        "127.0.0.1:65535",
        "127.0.0.1.",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
        "[::ffff:127.0.0.1]",
        " localhost\t",
    ],
)
def test_localhost_in_every_form_is_answered(host: str) -> None:
    assert LOOPBACK.problem([host], "/") is None


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_rejected(host: str) -> None:
    problem = LOOPBACK.problem([host], "/")

    assert problem is not None
    assert problem.status in {400, 421}


@pytest.mark.parametrize("host", INVALID)
def test_an_invalid_host_is_a_bad_request(host: str) -> None:
    problem = LOOPBACK.problem([host], "/")

    assert problem is not None
    assert problem.status == 400


@pytest.mark.parametrize("fields", [[], ["localhost", "localhost"], ["localhost", "evil.example"]])
def test_a_missing_or_repeated_host_is_a_bad_request(fields: list[str]) -> None:
    problem = LOOPBACK.problem(fields, "/")

    assert problem is not None
    assert (problem.status, str(len(fields)) in problem.message) == (400, True)


@pytest.mark.parametrize(
    ("target", "authority", "path"),
    [
        ("/a?b=http://c", None, "/a?b=http://c"),
        ("*", None, "*"),
        ("http://evil.example/a?b", "evil.example", "/a?b"),
        ("HTTPS://LOCALHOST:80", "LOCALHOST:80", "/"),
        ("http://localhost?a", "localhost", "/?a"),
        ("http://localhost?a/b", "localhost", "/?a/b"),
    ],
)
def test_a_target_in_absolute_form_names_a_host(target: str, authority: str | None, path: str) -> None:
    assert in_origin_form(target) == path
    problem = LOOPBACK.problem(["localhost"], target)
    assert (problem is not None) == (authority == "evil.example")


def test_the_bound_address_and_allowed_names_are_answered() -> None:
    hosts = OwnHosts(["Sandbox.Example", "192.0.2.7"], ["web"])

    for host in ("sandbox.example:80", "192.0.2.7", "web:8000", "localhost"):
        assert hosts.problem([host], "/") is None
    for host in ("192.0.2.8", "example", "evil.example"):
        assert hosts.problem([host], "/") is not None


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_a_server_on_all_addresses_answers_to_addresses_and_not_to_names(bound: str) -> None:
    hosts = OwnHosts([bound])

    for host in ("192.0.2.7:80", "[2001:db8::1]", "0.0.0.0:1", "[fe80::1%eth0]", "localhost"):
        assert hosts.problem([host], "/") is None
    for host in ("evil.example", "192.0.2.7.evil.example", "192.0.2.7%x"):
        assert hosts.problem([host], "/") is not None


# Over HTTP


@pytest.fixture(scope="module")
def served() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxApp(FaultySandbox(Sandbox())), allowed_hosts=["web"]) as server:
        yield server


def answer_to(server: SandboxServer, request: str) -> tuple[int, str]:
    """Send a request unchanged, and return the status and the whole response."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(request.encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    return int(received.split()[1]), received.decode()


@pytest.mark.parametrize(
    "path", ["/", "/health", "/openapi.yaml", "/viewer/sandbox.json", "/rest/v1/activity/x"]
)
def test_every_path_rejects_a_foreign_host(served: SandboxServer, path: str) -> None:
    status, text = answer_to(
        served, f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )

    assert status == 421
    assert "not-a-secret" not in text
    assert "does not accept the host 'evil.example'. Use localhost" in text


@pytest.mark.parametrize(
    ("request_line", "fields", "status"),
    [
        ("GET http://evil.example/health HTTP/1.1", "Host: localhost\r\n", 421),
        ("GET http://localhost/health HTTP/1.1", "Host: evil.example\r\n", 421),
        ("GET http://LOCALHOST:1/health HTTP/1.1", "hOST: localhost\r\n", 200),
        ("GET /health HTTP/1.1", "Host: web:80\r\n", 200),
        ("GET /health HTTP/1.1", "", 400),
        ("GET /health HTTP/1.0", "", 200),  # a health check of a load balancer, and no browser
        ("GET /health HTTP/1.0", "Host: evil.example\r\n", 421),
        ("GET /health HTTP/1.1", "Host: localhost\r\nHost: evil.example\r\n", 400),
        ("GET /health HTTP/1.1", "Host: \r\n", 400),
        ("OPTIONS * HTTP/1.1", "Host: localhost\r\n", 404),
    ],
)
def test_the_host_of_a_raw_request_is_checked(
    served: SandboxServer, request_line: str, fields: str, status: int
) -> None:
    assert answer_to(served, f"{request_line}\r\n{fields}Connection: close\r\n\r\n")[0] == status


def test_a_server_on_all_addresses_rejects_names() -> None:
    with SandboxServer(SandboxApp(FaultySandbox(Sandbox())), host="0.0.0.0") as server:
        url = f"http://127.0.0.1:{httpx.URL(server.url).port}/health"
        assert httpx.get(url).status_code == 200
        assert httpx.get(url, headers={"host": "192.0.2.7"}).status_code == 200
        assert httpx.get(url, headers={"host": "evil.example"}).status_code == 421
