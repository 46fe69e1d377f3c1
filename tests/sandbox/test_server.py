import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from conformance import valid
from harness import ACTIVITY_ID, Flavour

import thrive_learning.sandbox
from thrive_learning import (
    ApiError,
    ClientCredentials,
    ConnectionFailedError,
    DeadlineExceededError,
    Region,
    RetryPolicy,
    ServerError,
    Service,
    ThriveClient,
    Timeout,
    __version__,
)
from thrive_learning.sandbox import (
    FaultScript,
    FaultySandbox,
    RecordArrivals,
    Sandbox,
    SandboxRateLimit,
    SandboxReply,
    SandboxRequest,
    SandboxResponse,
    server,
)
from thrive_learning.sandbox.faults import KINDS

SANDBOX = Sandbox()
BASIC = httpx.BasicAuth(SANDBOX.tenant_id, SANDBOX.api_secret)
OAUTH = ClientCredentials(SANDBOX.tenant_id, SANDBOX.client_id, SANDBOX.client_secret)
RECORD = f"/rest/v1/activity/{ACTIVITY_ID}"
ASSETS = ("sandbox.css", "start.js", "swagger-ui-bundle.js", "swagger-ui.css", "theme.js")


class Served:
    """A server, and its requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[SandboxRequest, SandboxReply]] = []
        self.app = server.SandboxApp(
            FaultySandbox(SANDBOX), on_reply=lambda request, reply: self.seen.append((request, reply))
        )
        self.server = server.SandboxServer(self.app)

    def script(self, *faults: str) -> None:
        self.app.sandbox = FaultySandbox(SANDBOX, FaultScript(faults))

    def region(self) -> Region:
        url = self.server.url
        return Region.custom(
            "sandbox",
            api_url=url + server.API_PATH,
            token_url=url + server.TOKEN_PATH,
            webhooks_token_url=url + server.WEBHOOKS_TOKEN_PATH,
        )


@pytest.fixture(scope="module")
def _served() -> Iterator[Served]:
    served = Served()
    with served.server:
        yield served


@pytest.fixture
def served(_served: Served) -> Served:
    _served.script()
    _served.seen.clear()
    return _served


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.server.url, auth=BASIC, timeout=60) as client:
        yield client


def without_time(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in {"date", "x-request-id"}}


# The API


def test_the_client_works_with_it(served: Served, flavour: Flavour) -> None:
    with flavour.open(served.region(), OAUTH) as client:
        assert client.activities.get(ACTIVITY_ID).type == "viewed"
        assert client.tokens.get(Service.WEBHOOKS).scopes == ("api/webhooks",)

    assert [(request.method, reply.response.status) for request, reply in served.seen] == [
        ("POST", 200),
        ("GET", 200),
        ("POST", 200),
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", [RECORD, "/rest/v1/activity/x%2Fy?a=%20", "/nothing", f"{RECORD}/"])
def test_it_answers_as_the_sandbox_does(http: httpx.Client, served: Served, method: str, path: str) -> None:
    response = http.request(method, path)

    [(request, reply)] = served.seen
    assert request.target == path
    expected = SANDBOX.respond(request, now=0)
    assert (response.status_code, response.content) == (expected.status, expected.body)
    assert without_time(response.headers) == without_time(expected.headers)
    assert response.headers["date"] == reply.response.headers["date"]
    assert response.headers.get_list("date", split_commas=False) == [reply.response.headers["date"]]
    valid(request, SandboxResponse(response.status_code, dict(response.headers), response.content))


def test_repeated_headers_are_one_list(http: httpx.Client, served: Served) -> None:
    http.get(RECORD, headers=[("prefer", "wait=1"), ("Prefer", "fault=503")])

    [(request, reply)] = served.seen
    assert request.headers["prefer"] == "wait=1, fault=503"
    assert reply.response.status == 503


def test_a_body_that_is_too_large_is_refused(http: httpx.Client) -> None:
    response = http.post("/oauth2/token/x", content=b"x" * 1_000_001)

    assert response.status_code == 413
    assert response.json()["message"] == "The body has more than 1000000 bytes"


def test_a_client_that_hangs_up_does_no_harm(http: httpx.Client, served: Served) -> None:
    answered = threading.Event()
    served.app._on_reply = lambda _request, _reply: answered.set()
    address = httpx.URL(served.server.url)
    try:
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(
                b"POST /oauth2/token/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"
            )
        assert answered.wait(60)
    finally:
        served.app._on_reply = lambda request, reply: served.seen.append((request, reply))
    assert http.get(RECORD).status_code == 200


# Faults


def test_a_slow_answer_exceeds_the_deadline(served: Served, flavour: Flavour) -> None:
    served.script("slow:30s")
    with flavour.open(served.region(), OAUTH, timeout=Timeout(total=0.2)) as client:
        with pytest.raises(DeadlineExceededError):
            client.activities.get(ACTIVITY_ID)


def test_a_slow_answer_comes(http: httpx.Client) -> None:
    assert http.get(RECORD, headers={"prefer": "fault=slow:1ms"}).json()["id"] == ACTIVITY_ID


def test_a_body_is_cut(served: Served, flavour: Flavour) -> None:
    served.script("cut:1")
    once = RetryPolicy(attempts=1)
    with flavour.open(served.region(), OAUTH, retry=once) as client:
        with pytest.raises(ConnectionFailedError):
            client.activities.get(ACTIVITY_ID)
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_errors_are_retried(served: Served, flavour: Flavour) -> None:
    served.script("503:1", "html:1")
    with flavour.open(served.region(), OAUTH, retry=RetryPolicy(first_delay=0)) as client:
        assert client.activities.get_with_response(ACTIVITY_ID).attempts == 3


def test_a_page_of_html_is_an_error(served: Served, flavour: Flavour) -> None:
    served.script("html")
    with flavour.open(served.region(), OAUTH, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ServerError) as caught:
            client.activities.get(ACTIVITY_ID)

    assert "<h1>" in caught.value.body


def test_a_token_is_renewed_that_was_revoked(served: Served, flavour: Flavour) -> None:
    with flavour.open(served.region(), OAUTH) as client:
        served.script("revoked-token:1")
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
        served.script("wrong-scope")
        with pytest.raises(ApiError) as caught:
            client.activities.get(ACTIVITY_ID)

    assert caught.value.status_code == 403


# The contract and the page


def test_the_contract_names_this_server(http: httpx.Client) -> None:
    response = http.get("/openapi.yaml")
    document = yaml.safe_load(response.text)

    assert response.headers["content-type"].startswith("application/yaml")
    assert document["servers"][0]["url"] == str(http.base_url.join("/rest/v1"))
    assert document["paths"]["/activity/{id}"]["get"]["parameters"][0]["example"] == ACTIVITY_ID


def test_the_contract_names_the_host_that_was_asked(http: httpx.Client) -> None:
    document = yaml.safe_load(http.get("/openapi.yaml", headers={"host": "localhost:81"}).text)

    assert document["servers"][0]["url"] == "http://localhost:81/rest/v1"


def test_every_operation_of_its_contract_can_be_tried_as_it_is_shown(http: httpx.Client) -> None:
    document = yaml.safe_load(http.get("/openapi.yaml").text)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            examples = {
                each["name"]: each["example"] for each in operation["parameters"] if "example" in each
            }
            url = document["servers"][0]["url"] + path.format(**examples)
            assert http.request(method, url, auth=BASIC).status_code == 200


def test_a_sandbox_without_records_has_a_contract_too(served: Served, http: httpx.Client) -> None:
    served.app.sandbox = FaultySandbox(Sandbox(records={}))

    assert "'000000000000000000000000'" in http.get("/openapi.yaml").text


def test_the_page_fetches_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("<!doctype html>", "")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert set(named) == {"data:,", *(f"viewer/{name}" for name in ASSETS)}


@pytest.mark.parametrize("name", ASSETS)
def test_the_files_of_the_page_exist(http: httpx.Client, name: str) -> None:
    response = http.get(f"/viewer/{name}")

    assert response.status_code == 200
    kind = "css" if name.endswith(".css") else "javascript"
    assert response.headers["content-type"].startswith(f"text/{kind}")
    assert len(response.content) > 100


def test_the_page_knows_the_credentials_the_records_and_the_faults(
    served: Served, http: httpx.Client
) -> None:
    served.script("429:3", "slow:2s")
    about = http.get("/viewer/sandbox.json").json()

    assert about["credentials"] == {
        "tenant_id": SANDBOX.tenant_id,
        "api_secret": SANDBOX.api_secret,
        "client_id": SANDBOX.client_id,
        "client_secret": SANDBOX.client_secret,
    }
    assert about["records"]["count"] == len(SANDBOX.records)
    assert [record["id"] for record in about["records"]["shown"]] == list(SANDBOX.records)
    assert about["records"]["shown"][0] == {"id": ACTIVITY_ID, "type": "viewed"}
    assert [kind["name"] for kind in about["faults"]["kinds"]] == list(KINDS)
    assert about["faults"]["waiting"] == ["429:3", "slow:2s"]


def test_the_page_shows_some_of_many_records(served: Served, http: httpx.Client) -> None:
    ids = [f"{number:024x}" for number in range(1000)]
    served.app.sandbox = FaultySandbox(Sandbox(records={key: {"id": key} for key in ids}))
    records = http.get("/viewer/sandbox.json").json()["records"]

    assert records["count"] == 1000
    assert records["shown"] == [{"id": key, "type": None} for key in ids[:100]]
    served.app.sandbox = FaultySandbox(Sandbox(records={ids[0]: {"id": ids[0], "type": "\ud800"}}))
    assert http.get("/viewer/sandbox.json").json()["records"]["shown"][0]["type"] == "\ud800"


def test_the_page_shows_generated_records_and_counts_those_that_arrive(
    served: Served, http: httpx.Client
) -> None:
    replaced = {"67748a80b60b4b0000000002": {"id": "67748a80b60b4b0000000002", "type": "mine"}}
    served.app.sandbox = FaultySandbox(Sandbox(records=replaced, generated=10**6), arrivals=RecordArrivals(3))
    assert http.get("/rest/v1/activities", auth=BASIC).status_code == 200
    records = http.get("/viewer/sandbox.json").json()["records"]

    assert records["count"] == 10**6 + 3
    assert records["shown"][0] == {"id": "67748a80b60b4b0000000002", "type": "mine"}
    numbers = [int(record["id"][14:]) for record in records["shown"][1:]]
    assert numbers == [1, *range(3, 101)]
    document = yaml.safe_load(http.get("/openapi.yaml").text)
    example = document["paths"]["/activity/{id}"]["get"]["parameters"][0]["example"]
    assert example == "67748a80b60b4b0000000002"


@pytest.mark.parametrize("path", ["/viewer/../server.py", "/viewer/LICENSE", "/viewer", "/viewer/"])
def test_no_other_file_is_served(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_the_viewer_is_what_its_source_says() -> None:
    assert thrive_learning.sandbox.__file__ is not None
    viewer = Path(thrive_learning.sandbox.__file__).with_name("viewer")
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (viewer / "SOURCE.txt").read_text("utf-8"), re.MULTILINE)

    assert {name for _, name in listed} | {
        "SOURCE.txt",
        "index.html",
        "sandbox.css",
        "start.js",
        "theme.js",
    } == {path.name for path in viewer.iterdir()}
    for digest, name in listed:
        assert hashlib.sha256((viewer / name).read_bytes()).hexdigest() == digest


# The server


def test_a_response_on_a_kept_connection_does_not_wait_for_an_acknowledgment(served: Served) -> None:
    url = httpx.URL(served.server.url)
    request = f"GET {RECORD} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with socket.create_connection((url.host, url.port or 0)) as connection:
        for _ in range(2):
            connection.sendall(request)
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(65536)
        transports = [protocol.transport for protocol in served.server._server.server_state.connections]
        [theirs] = [
            transport.get_extra_info("socket")
            for transport in transports
            if transport.get_extra_info("peername") == connection.getsockname()
        ]
        # Without it, a response would be sent in two parts, and the second would wait for 40 ms.
        assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_health_needs_no_credentials_and_meets_no_faults_and_no_rate_limit(served: Served) -> None:
    served.app.sandbox = FaultySandbox(SANDBOX, FaultScript(["503"]), rate_limit=SandboxRateLimit(0.001))
    health = f"{served.server.url}/health"
    responses = [httpx.get(health) for _ in range(3)]

    assert [response.status_code for response in responses] == [200] * 3
    assert responses[0].json() == {"status": "ok", "sandbox": True, "version": __version__}
    assert responses[0].headers["cache-control"] == "no-store"
    head = httpx.head(health)
    assert (head.status_code, head.content) == (200, b"")
    assert httpx.post(health).status_code == 405
    assert served.seen == []


def test_a_client_on_this_machine_can_use_the_url_of_a_server_on_all_addresses() -> None:
    with server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)), host="0.0.0.0") as listening:  # noqa: S104
        region = Region.custom("sandbox", **server.region_urls(listening.url))
        with ThriveClient(region, OAUTH) as client:
            assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no sockets for IPv4 and IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well() -> None:
    with server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)), host="::") as listening:
        assert listening.url.startswith("http://[::1]:")
        for host in ("[::1]", "127.0.0.1"):
            health = f"http://{host}:{httpx.URL(listening.url).port}/health"
            assert httpx.get(health).status_code == 200


def test_health_answers_to_a_probe_by_address_and_not_to_a_foreign_name() -> None:
    with server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)), host="0.0.0.0") as listening:  # noqa: S104
        health = f"{listening.url}/health"
        # As Kubernetes and load balancers do, by the address of a container.
        assert httpx.get(health, headers={"host": "172.17.0.2:8000"}).status_code == 200
        assert httpx.get(health, headers={"host": "evil.example"}).status_code == 421


def test_a_port_that_is_taken_is_an_error(served: Served) -> None:
    port = httpx.URL(served.server.url).port
    with pytest.raises(OSError, match="ddress already in use"):
        server.SandboxServer(served.app, port=port or 0)


def test_an_ipv6_address_is_in_brackets() -> None:
    with server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)), host="::1") as listening:
        assert listening.url.startswith("http://[::1]:")
        assert httpx.get(listening.url + RECORD, auth=BASIC).status_code == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_name_stands_without_brackets(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: resolve(address, *rest, **more))
    listening = server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)), host="localhost")
    listening._socket.close()
    assert listening.url.startswith("http://localhost:")


def test_leaving_without_having_entered_is_fine() -> None:
    listening = server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)))
    listening.__exit__(None, None, None)
    listening._socket.close()


def test_ctrl_c_is_the_regular_end(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = server.SandboxServer(server.SandboxApp(FaultySandbox(SANDBOX)))

    def interrupted(sockets: list[socket.socket]) -> None:
        assert sockets == [listening._socket]
        raise KeyboardInterrupt

    monkeypatch.setattr(listening._server, "run", interrupted)
    listening.run()

    assert listening._socket.fileno() == -1
