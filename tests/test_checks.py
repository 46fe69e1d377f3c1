import email.utils
import ssl
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, Flavour, page_response, token_response

from thrive_learning import (
    CheckReport,
    CheckStatus,
    ClientClosedError,
    ClientCredentials,
    InvalidIdError,
    Region,
    RetryPolicy,
    Scope,
    errors,
)
from thrive_learning._http import Options
from thrive_learning.checks import PROBE_ID, Examination, looks_like_another_region
from thrive_learning.policies import Timeout

OPTIONS = Options(
    timeout=Timeout(), retry=RetryPolicy(), application=None, proxy=None, verify=True, on_attempt=None
)
NOT_FOUND = httpx.Response(
    404, json={"status": 404, "message": "Activity not found"}, headers={"x-request-id": "r-1"}
)

Answer = Callable[[httpx.Request], httpx.Response]


def found(report: CheckReport) -> dict[str, tuple[str, str]]:
    return {finding.subject: (str(finding.status), finding.detail) for finding in report.findings}


def answering(read: httpx.Response, token: httpx.Response | None = None) -> Answer:
    return lambda request: (token or token_response()) if request.method == "POST" else read


# What it finds


def test_all_is_well_with_oauth(flavour: Flavour) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return token_response() if request.method == "POST" else page_response()

    with flavour.answering(answer, OAUTH) as client:
        report = client.check(ACTIVITY_ID)
    assert report.ok
    assert report.region == "production"
    assert found(report) == {
        "region": ("ok", "production: public.api.learn.link, user.api.learn.link"),
        "credentials": ("ok", "OAuth, tenant eu-west-2_AbcdEfghI, client fake-client, client_auth auto"),
        "proxy": ("skipped", "the transport that the client was given decides"),
        "certificates": ("skipped", "the transport that the client was given decides"),
        "token": ("ok", found(report)["token"][1]),
        "scopes": ("ok", "granted: api/read"),
        "record": ("ok", f"activity {ACTIVITY_ID} can be read"),
        "clock": ("skipped", "no answer named the server's time"),
    }
    assert found(report)["token"][1].startswith("the token endpoint gave one, valid for 3")
    assert [str(request.url) for request in sent] == [
        "https://public.api.learn.link/oauth2/token/eu-west-2_AbcdEfghI",
        f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}",
    ]


@pytest.mark.parametrize("credentials", [BASIC, OAUTH], ids=["basic", "oauth"])
def test_without_an_id_access_is_tried_all_the_same(flavour: Flavour, credentials: Any) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return token_response() if request.method == "POST" else NOT_FOUND

    with flavour.answering(answer, credentials) as client:
        report = client.check()
    assert report.ok
    assert found(report)["api"] == (
        "ok",
        "it accepts the credentials; no record was asked for (request id r-1)",
    )
    assert sent[-1] == f"/rest/v1/activity/{PROBE_ID}"
    if credentials is BASIC:
        assert found(report)["token"] == ("skipped", "HTTP Basic needs none")
        assert found(report)["credentials"] == ("ok", "HTTP Basic, tenant eu-west-2_AbcdEfghI")


def test_a_record_that_is_not_there_is_a_failure(flavour: Flavour) -> None:
    with flavour.answering(answering(NOT_FOUND)) as client:
        report = client.check(ACTIVITY_ID)
    assert not report.ok
    assert found(report)["record"][0] == "failed"
    assert "holds no such record" in found(report)["record"][1]


HINT = "If they were issued for another region (staging, production-mea, staging-mea), choose that one."


@pytest.mark.parametrize(
    ("status", "hinted"), [(400, False), (401, True), (403, False), (429, False), (500, False), (204, False)]
)
def test_what_the_api_refuses_is_a_failure(flavour: Flavour, status: int, hinted: bool) -> None:  # noqa: FBT001
    with flavour.answering(answering(httpx.Response(status))) as client:
        report = client.check()
    [failed] = [finding for finding in report.findings if finding.status is CheckStatus.FAILED]
    assert failed.subject == "api"
    assert failed.detail.endswith(HINT) is hinted
    assert failed.error is not None
    assert failed.error.__traceback__ is None
    assert failed.detail.startswith(str(failed.error))


@pytest.mark.parametrize("body", ["[]", "{}", '{"id": 1}', "<html>"])
def test_an_answer_that_is_no_record_is_a_failure(flavour: Flavour, body: str) -> None:
    with flavour.answering(answering(httpx.Response(200, text=body))) as client:
        report = client.check(ACTIVITY_ID)
    [failed] = [finding for finding in report.findings if finding.status == "failed"]
    assert isinstance(failed.error, errors.UnexpectedResponseError)


@pytest.mark.parametrize(
    ("token", "hinted"),
    [
        (httpx.Response(400, json={"error": "invalid_client"}), True),
        (httpx.Response(401), True),
        (httpx.Response(404), True),
        (httpx.Response(400, json={"error": "invalid_scope"}), False),
        (httpx.Response(500), False),
        (httpx.Response(200, json={}), False),
    ],
    ids=lambda value: str(value.status_code) if isinstance(value, httpx.Response) else None,
)
def test_without_a_token_nothing_is_read(flavour: Flavour, token: httpx.Response, hinted: bool) -> None:  # noqa: FBT001
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return token

    with flavour.answering(answer, OAUTH) as client:
        report = client.check(ACTIVITY_ID)
    assert set(sent) == {"POST"}
    assert list(found(report))[-2:] == ["token", "clock"]
    assert found(report)["token"][0] == "failed"
    assert found(report)["token"][1].endswith(HINT) is hinted


def test_a_region_of_ones_own_gets_no_such_hint(flavour: Flavour) -> None:
    region = Region.custom("own", api_url="https://a.example", token_url="https://a.example/{tenant_id}")
    transport = httpx.MockTransport(answering(httpx.Response(401)))
    with flavour.open(region, BASIC, transport=transport) as client:
        assert "another region" not in found(client.check())["api"][1]


def test_what_never_answers(flavour: Flavour) -> None:
    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for credentials, subject in ((BASIC, "api"), (OAUTH, "token")):
        with flavour.answering(refused, credentials) as client:
            report = client.check()
        [failed] = [finding for finding in report.findings if finding.status == "failed"]
        assert failed.subject == subject
        assert isinstance(failed.error, errors.ConnectionFailedError)


class Stalling(httpx.AsyncBaseTransport):
    """Answers a number of requests, and never the next one."""

    def __init__(self, answers: int) -> None:
        self._answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        import anyio  # noqa: PLC0415

        if not self._answers:
            await anyio.sleep_forever()
        self._answers -= 1
        return token_response() if request.method == "POST" else page_response()


@pytest.mark.parametrize(("answers", "subject"), [(0, "token"), (1, "api")])
def test_a_check_ends_in_time(flavour: Flavour, answers: int, subject: str) -> None:
    if flavour.name == "sync":
        return  # there, the socket holds the time limit
    with flavour.open("production", OAUTH, transport=Stalling(answers)) as client:
        report = client.check(timeout=0.05)
    [failed] = [finding for finding in report.findings if finding.status == "failed"]
    assert failed.subject == subject
    assert isinstance(failed.error, errors.DeadlineExceededError)


def test_a_stale_token_is_replaced_as_in_any_call(flavour: Flavour) -> None:
    tokens = iter(["stale", "fresh"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response(next(tokens))
        fresh = request.headers["authorization"] == "Bearer fresh"
        return page_response() if fresh else httpx.Response(401)

    with flavour.answering(answer, OAUTH) as client:
        client.tokens.get()
        assert client.check(ACTIVITY_ID).ok


@pytest.mark.parametrize(
    ("wanted", "granted", "expected"),
    [
        (["api/read"], "api/read", ("ok", "granted: api/read")),
        (["api/read"], None, ("ok", "granted: api/read")),
        (
            ["api/read", "api/write"],
            "api/read",
            ("failed", "granted: api/read; asked for and not granted: api/write"),
        ),
        (["api/read"], "", ("failed", "granted: none; asked for and not granted: api/read")),
        (["api/write"], "api/write", ("warning", "granted: api/write; reading needs api/read or api/all")),
        (
            ["api/read"],
            "api/all",
            ("warning", "granted: api/all; asked for: api/read: the token allows more than that"),
        ),
        ([], "api/all", ("ok", "granted: api/all")),
    ],
)
def test_granted_scopes_are_compared_with_the_wanted(
    flavour: Flavour, wanted: list[str], granted: str | None, expected: tuple[str, str]
) -> None:
    credentials = ClientCredentials("t", "c", "fake", wanted)
    with flavour.answering(answering(page_response(), token_response(scope=granted)), credentials) as client:
        report = client.check(ACTIVITY_ID)
    assert found(report)["scopes"] == expected
    assert report.ok is (expected[0] != "failed")


def test_scopes_that_the_api_does_not_know_fail_before_any_request(flavour: Flavour) -> None:
    credentials = ClientCredentials("t", "c", "fake", [Scope.WEBHOOKS])
    with flavour.answering(answering(page_response()), credentials) as client:
        report = client.check()
    assert found(report)["token"][0] == "failed"
    assert "no scope of the api service" in found(report)["token"][1]


# The clock


@pytest.mark.parametrize(
    ("offset_s", "expected"),
    [
        (0, ("ok", "within 1 s of the server's")),
        (20, ("ok", "within 20 s of the server's")),
        (-20, ("ok", "within ")),
        (3600, ("warning", "this machine's clock is 3600 s behind the server's: set it")),
        (-3600, ("warning", "this machine's clock is 3599 s ahead of the server's: set it")),
    ],
)
def test_the_clock_is_compared(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, offset_s: int, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr("thrive_learning.checks.time.time", lambda: 1_800_000_000.0)
    date = email.utils.formatdate(1_800_000_000 + offset_s, usegmt=True)
    with flavour.answering(answering(httpx.Response(404, headers={"Date": date}))) as client:
        status, detail = found(client.check())["clock"]
    assert status == expected[0]
    assert detail.startswith(expected[1])


@pytest.mark.parametrize(
    "date", ["", "yesterday", f"Fri, 15 Jan {10**20} 08:00:00 GMT", "Fri, 15 Jan 2027 08:00:00 -0000"]
)
def test_a_date_that_is_none_or_has_no_zone(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setattr("thrive_learning.checks.time.time", lambda: 1_800_000_000.0)  # that very second
    with flavour.answering(answering(httpx.Response(404, headers={"Date": date}))) as client:
        status, _ = found(client.check())["clock"]
    assert status == ("ok" if "2027" in date else "skipped")


def test_a_slow_answer_is_no_skew(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("thrive_learning.checks.time.time", lambda: now[0])

    def answer(_request: httpx.Request) -> httpx.Response:
        now[0] += 100
        date = email.utils.formatdate(1_800_000_050, usegmt=True)
        return httpx.Response(404, headers={"Date": date})

    with flavour.answering(answer) as client:
        assert found(client.check())["clock"] == ("ok", "within 1 s of the server's")


# The way out


def examined(region: Region = Region.PRODUCTION, **options: Any) -> dict[str, tuple[str, str]]:
    return found(Examination(region, BASIC, OPTIONS._replace(**options), None, None).report())


def test_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined()["proxy"] == ("ok", "none: straight to the region's hosts")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@proxy.example:3128/?canary")
    monkeypatch.setenv("NO_PROXY", "user.api.learn.link")
    assert examined()["proxy"] == (
        "ok",
        "public.api.learn.link by http://proxy.example:3128 (from the environment)",
    )
    assert examined(proxy="http://u:canary@o.example")["proxy"] == (
        "ok",
        "public.api.learn.link by http://o.example, user.api.learn.link by http://o.example (from proxy=)",
    )
    assert "a proxy whose URL is none" in examined(proxy="http://canary:canary")["proxy"][1]


def test_the_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert examined()["certificates"] == ("ok", "certifi's")
    monkeypatch.setenv("SSL_CERT_DIR", "/certs")
    assert examined()["certificates"] == ("ok", "/certs (from SSL_CERT_DIR)")
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    assert examined()["certificates"] == ("ok", "/ca.pem (from SSL_CERT_FILE)")
    assert examined(verify=False)["certificates"][0] == "warning"
    assert "ssl.SSLContext" in examined(verify=ssl.create_default_context())["certificates"][1]
    local = Region.custom("l", api_url="http://localhost:1", token_url="http://localhost:1/{tenant_id}")
    assert examined(local)["certificates"] == ("skipped", "plain HTTP to this machine needs none")


# What it takes and gives


def test_a_bad_id_or_a_closed_client_sends_nothing(flavour: Flavour) -> None:
    with flavour.answering(answering(page_response())) as client:
        with pytest.raises(InvalidIdError):
            client.check("x")
        client.close()
        with pytest.raises(ClientClosedError):
            client.check()


def test_the_sandbox_can_be_checked(flavour: Flavour) -> None:
    client = flavour.wrap(flavour.client_class.sandbox())
    assert client.check(ACTIVITY_ID).ok
    client.close()


def test_the_report_as_data(flavour: Flavour) -> None:
    with flavour.answering(answering(httpx.Response(401))) as client:
        report = client.check()
    document = report.to_dict()
    assert (document["ok"], document["region"]) == (False, "production")
    assert document["findings"][0] == {
        "subject": "region",
        "status": "ok",
        "detail": "production: public.api.learn.link, user.api.learn.link",
    }
    assert len(document["findings"]) == len(report.findings)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        report.region = "other"


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_no_secret_is_in_a_report(flavour: Flavour, status: int) -> None:
    secret = "canary-secret"
    credentials = ClientCredentials("t", "c", secret)
    repeating = {"message": secret, "error": secret, "error_description": secret}

    def answer(request: httpx.Request) -> httpx.Response:
        body = repeating | {"message": f"{request.headers['authorization']} {secret}"}
        return httpx.Response(status, json=body, headers={"x-request-id": secret})

    def answer_with_token(request: httpx.Request) -> httpx.Response:
        return token_response("canary-token") if request.method == "POST" else answer(request)

    for handler in (answer, answer_with_token):
        with flavour.answering(handler, credentials) as client:
            report = client.check()
        text = repr(report) + str(report.to_dict()) + "".join(str(f.error) for f in report.findings)
        assert "canary" not in text


def test_which_errors_look_like_another_region() -> None:
    assert not looks_like_another_region(None)
    assert not looks_like_another_region(errors.NotFoundError("m", status_code=404))
    assert looks_like_another_region(errors.UnauthorizedError("m", status_code=401))
