import base64
import email.utils
import ssl
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, TENANT_ID, Flavour, Kept, page_response, token_response
from patience import growing_limits

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
from thrive_learning._call.seam import Options
from thrive_learning._checking.examination import PROBE_ID, Examination, looks_like_another_region
from thrive_learning._exchange.reply import Reply
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


#: The credentials of these tests. The API rejects all others.
KNOWN = {
    "Bearer fake-token",
    "Basic " + base64.b64encode(f"{TENANT_ID}:fake-api-secret".encode()).decode(),
}


def rejecting(answer: Answer) -> Answer:
    """Reject credentials that are made up, as the API does."""
    refusal = httpx.Response(401, json={"status": 401, "message": "no"})

    def respond(request: httpx.Request) -> httpx.Response:
        is_known = request.method == "POST" or request.headers["authorization"] in KNOWN
        return answer(request) if is_known else refusal

    return respond


def answering(read: httpx.Response, token: httpx.Response | None = None) -> Answer:
    return rejecting(lambda request: (token or token_response()) if request.method == "POST" else read)


# Findings


def test_all_is_well_with_oauth(flavour: Flavour) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return rejecting(lambda _: token_response() if request.method == "POST" else page_response())(request)

    with flavour.answering(answer, OAUTH) as client:
        report = client.check(ACTIVITY_ID)
    assert report.ok
    assert report.region == "production"
    assert found(report) == {
        "region": ("ok", "production: public.api.learn.link, user.api.learn.link"),
        "credentials": (
            "ok",
            (
                "OAuth, tenant eu-west-2_AbcdEfghI, client fake-client, client_auth auto; the API accepts "
                "them, and rejects made-up ones"
            ),
        ),
        "proxy": ("skipped", "the transport that was passed to the client decides"),
        "certificates": ("skipped", "the transport that was passed to the client decides"),
        "token": ("ok", found(report)["token"][1]),
        "scopes": ("ok", "granted: api/read"),
        "record": ("ok", f"activity {ACTIVITY_ID} can be read"),
        "clock": ("skipped", "no response had the server's time"),
    }
    assert found(report)["token"][1].startswith("the token endpoint issued one, valid for 3")
    assert [str(request.url) for request in sent] == [
        "https://public.api.learn.link/oauth2/token/eu-west-2_AbcdEfghI",
        f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}",
        f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}",
    ]
    assert sent[1].headers["authorization"] == "Bearer fake-token"
    assert sent[2].headers["authorization"].startswith("Bearer ")


@pytest.mark.parametrize("credentials", [BASIC, OAUTH], ids=["basic", "oauth"])
def test_without_an_id_access_is_tried_all_the_same(flavour: Flavour, credentials: Any) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return answering(NOT_FOUND)(request)

    with flavour.answering(answer, credentials) as client:
        report = client.check()
    assert report.ok
    assert found(report)["api"] == (
        "ok",
        "it responds in its own format (request ID r-1)",
    )
    assert sent[-1] == f"/rest/v1/activity/{PROBE_ID}"
    if credentials is BASIC:
        assert found(report)["token"] == ("skipped", "not needed for HTTP Basic")
        assert found(report)["credentials"] == (
            "ok",
            "HTTP Basic, tenant eu-west-2_AbcdEfghI; the API accepts them, and rejects made-up ones",
        )


def test_a_record_that_is_not_there_is_a_failure(flavour: Flavour) -> None:
    with flavour.answering(answering(NOT_FOUND)) as client:
        report = client.check(ACTIVITY_ID)
    assert not report.ok
    assert found(report)["record"][0] == "failed"
    assert "regions do not share records" in found(report)["record"][1]
    assert found(report)["credentials"][0] == "ok"


PAGE = "the comparison with made-up credentials got status {} without JSON, as from a proxy or a firewall"
NOT_VERIFIED = "not verified, because the server accepts made-up credentials as well (status {})"


@pytest.mark.parametrize("credentials", [BASIC, OAUTH], ids=["basic", "oauth"])
def test_a_server_that_answers_anybody_shows_nothing(flavour: Flavour, credentials: Any) -> None:
    """Such as the API under another path, or a stub."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response()
        return NOT_FOUND if request.url.path.endswith(PROBE_ID) else page_response()

    with flavour.answering(answer, credentials) as client:
        probed, read = client.check(), client.check(ACTIVITY_ID)
    assert (probed.ok, read.ok) == (False, False)
    assert found(probed)["credentials"][0] == found(read)["credentials"][0] == "unknown"
    assert found(probed)["credentials"][1].endswith(NOT_VERIFIED.format(404))
    assert found(read)["credentials"][1].endswith(NOT_VERIFIED.format(200))
    assert found(probed)["region"] == (
        "unknown",
        (
            "production: public.api.learn.link, user.api.learn.link; "
            "the server that responded may not be the API"
        ),
    )
    assert found(probed)["api"] == (
        "unknown",
        "a server that may not be the API responded 404 in the API's format (request ID r-1)",
    )
    assert found(read)["record"] == ("ok", f"activity {ACTIVITY_ID} can be read")


@pytest.mark.parametrize("status", [403, 401])
def test_any_rejection_of_made_up_credentials_shows_that_ours_are_accepted(
    flavour: Flavour, status: int
) -> None:
    """A gateway may be what looks at them."""

    def answer(request: httpx.Request) -> httpx.Response:
        is_known = request.headers["authorization"] in KNOWN
        return NOT_FOUND if is_known else httpx.Response(status, json={"message": "Forbidden"})

    with flavour.answering(answer) as client:
        assert client.check().ok


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (httpx.Response(503), "the comparison with made-up credentials got status 503"),
        (httpx.Response(429), "the comparison with made-up credentials got status 429"),
        (httpx.Response(302), "the server accepts made-up credentials as well (status 302)"),
        (httpx.Response(400), "the server accepts made-up credentials as well (status 400)"),
        (httpx.Response(401, html="<h1>Log in</h1>"), PAGE.format(401)),
        (httpx.Response(403, html="<h1>Blocked</h1>"), PAGE.format(403)),
        (httpx.Response(403), PAGE.format(403)),
        (httpx.Response(401, json=["no"]), PAGE.format(401)),
        (httpx.ConnectError("cut"), "the comparison with made-up credentials got no response"),
    ],
    ids=repr,
)
def test_without_a_comparison_nothing_is_known_of_the_credentials(
    flavour: Flavour, compared: httpx.Response | Exception, said: str
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["authorization"] in KNOWN:
            return NOT_FOUND
        if isinstance(compared, Exception):
            raise compared
        return compared

    with flavour.answering(answer) as client:
        report = client.check()
    assert not report.ok
    assert {subject: status for subject, (status, _) in found(report).items()} == {
        "region": "unknown",
        "credentials": "unknown",
        "proxy": "skipped",
        "certificates": "skipped",
        "token": "skipped",
        "api": "unknown",
        "clock": "skipped",
    }
    assert found(report)["credentials"][1].endswith(f"; not verified, because {said}")


def test_made_up_credentials_are_new_each_time_and_do_not_show(flavour: Flavour, kept: Kept) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        return answering(NOT_FOUND)(request)

    with flavour.answering(answer) as client:
        assert client.check().ok
        assert client.check().ok
    made_up = [header for header in sent if header not in KNOWN]
    assert len(set(made_up)) == len(made_up) == 2
    assert all(header.startswith("Basic ") for header in made_up)
    assert not [text for text in kept.texts() for header in made_up if header[6:] in text]


#: Responses of other servers, each with the status that a check reports for it.
STRANGERS: dict[str, tuple[httpx.Response, str]] = {
    "http.server": (
        httpx.Response(404, html="<h1>Error response</h1>", headers={"server": "SimpleHTTP"}),
        "failed",
    ),
    "gateway": (httpx.Response(404, json={"message": "Not Found"}), "failed"),
    "API Gateway": (httpx.Response(403, json={"message": "Missing Authentication Token"}), "failed"),
    "empty": (httpx.Response(404), "failed"),
    "portal": (httpx.Response(200, html="<title>Sign in</title>"), "failed"),
    "redirect": (httpx.Response(302, headers={"location": "https://portal.example"}), "failed"),
    "proxy 401": (httpx.Response(401, html="<title>Sign in</title>"), "failed"),
    "busy": (httpx.Response(503, html="<title>Busy</title>"), "unknown"),
    "throttle": (httpx.Response(429), "unknown"),
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("activity_id", [None, ACTIVITY_ID], ids=["probe", "record"])
def test_a_server_that_is_not_the_api_is_never_green(
    flavour: Flavour, name: str, activity_id: str | None
) -> None:
    response, status = STRANGERS[name]
    with flavour.answering(lambda _request: response) as client:
        report = client.check(activity_id)
    assert not report.ok
    assert report.to_dict()["ok"] is False
    seen = found(report)
    assert seen["api" if activity_id is None else "record"][0] == status
    assert (seen["region"][0], seen["credentials"][0]) == ("unknown", "unknown")
    assert seen["region"][1].endswith("; the response was not in the API's own format")


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500, 503])
def test_an_answer_of_the_api_that_says_nothing_of_the_credentials(flavour: Flavour, status: int) -> None:
    body = {"status": status, "message": "no"}
    with flavour.answering(answering(httpx.Response(status, json=body))) as client:
        seen = found(client.check())
    assert seen["region"][0] == "ok"
    assert seen["credentials"][0] == "unknown"
    assert seen["api"][0] == ("unknown" if status in {429, 500, 503} else "failed")


def test_rejected_credentials_are_a_failure(flavour: Flavour) -> None:
    body = {"status": 401, "error": "unauthorized", "message": "no"}
    with flavour.answering(answering(httpx.Response(401, json=body))) as client:
        report = client.check()
    failed = [finding for finding in report.findings if finding.status is CheckStatus.FAILED]
    assert [finding.subject for finding in failed] == ["credentials", "api"]
    assert failed[0].detail.endswith("; the API does not accept them")
    assert {type(finding.error) for finding in failed} == {errors.UnauthorizedError}


HINT = "If they were issued for another region (staging, production-mea, staging-mea), choose that one."


@pytest.mark.parametrize(("status", "hinted"), [(400, False), (401, True), (403, False), (204, False)])
def test_a_rejection_by_the_api_is_a_failure(flavour: Flavour, status: int, hinted: bool) -> None:  # noqa: FBT001
    with flavour.answering(answering(httpx.Response(status))) as client:
        report = client.check()
    [failed] = [finding for finding in report.findings if finding.status is CheckStatus.FAILED]
    assert failed.subject == "api"
    assert failed.detail.endswith(HINT) is hinted
    assert failed.error is not None
    assert failed.error.__traceback__ is None
    assert failed.detail.startswith(str(failed.error))


@pytest.mark.parametrize("body", ["[]", "{}", '{"id": 1}', "<html>"])
def test_a_response_without_a_record_is_a_failure(flavour: Flavour, body: str) -> None:
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
    assert list(found(report))[-4:] == ["token", "scopes", "record", "clock"]
    assert found(report)["token"][0] == ("unknown" if token.status_code == 500 else "failed")
    skipped = ("skipped", "not reached, because no token was issued")
    assert found(report)["scopes"] == found(report)["record"] == skipped
    is_rejection = token.status_code == 400 and hinted
    assert found(report)["credentials"][0] == ("failed" if is_rejection else "unknown")
    assert found(report)["token"][1].endswith(HINT) is hinted


def test_a_region_of_ones_own_gets_no_such_hint(flavour: Flavour) -> None:
    region = Region.custom("own", api_url="https://a.example", token_url="https://a.example/{tenant_id}")
    transport = httpx.MockTransport(answering(httpx.Response(401)))
    with flavour.open(region, BASIC, transport=transport) as client:
        assert "another region" not in found(client.check())["api"][1]


def test_a_server_that_never_responds(flavour: Flavour) -> None:
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
        self.has_stalled = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        import anyio  # noqa: PLC0415

        if not self._answers:
            self.has_stalled = True
            await anyio.sleep_forever()
        self._answers -= 1
        return token_response() if request.method == "POST" else page_response()


@pytest.mark.parametrize(("answers", "subject"), [(0, "token"), (1, "api")])
def test_a_check_ends_in_time(flavour: Flavour, answers: int, subject: str) -> None:
    if flavour.name == "sync":
        return  # there, the socket holds the time limit
    for limit_s in growing_limits(0.05):
        stalling = Stalling(answers)
        with flavour.open("production", OAUTH, transport=stalling) as client:
            report = client.check(timeout=limit_s)
        if stalling.has_stalled:
            break
    else:
        pytest.fail("no limit was long enough")
    [failed] = [finding for finding in report.findings if finding.status == "failed"]
    assert failed.subject == subject
    assert isinstance(failed.error, errors.DeadlineExceededError)


def test_a_comparison_that_takes_too_long_leaves_the_credentials_unknown(flavour: Flavour) -> None:
    if flavour.name == "sync":
        return  # there, the socket holds the time limit
    for limit_s in growing_limits(0.05):
        stalling = Stalling(2)
        with flavour.open("production", OAUTH, transport=stalling) as client:
            report = client.check(timeout=limit_s)
        if stalling.has_stalled:
            break
    else:
        pytest.fail("no limit was long enough")
    assert found(report)["api"][0] == "ok"
    assert found(report)["credentials"][0] == "unknown"
    assert found(report)["credentials"][1].endswith("got no response")


def test_a_stale_token_is_replaced_as_in_any_call(flavour: Flavour) -> None:
    tokens = iter(["stale", "fresh"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response(next(tokens))
        fresh = request.headers["authorization"] == "Bearer fresh"
        return page_response() if fresh else httpx.Response(401, json={"message": "no"})

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
            ("failed", "granted: api/read; requested but not granted: api/write"),
        ),
        (["api/read"], "", ("failed", "granted: none; requested but not granted: api/read")),
        (["api/write"], "api/write", ("warning", "granted: api/write; reading needs api/read or api/all")),
        (
            ["api/read"],
            "api/all",
            ("warning", "granted: api/all; more than requested (api/read)"),
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
    assert "The api service does not support the scope" in found(report)["token"][1]


# The clock


@pytest.mark.parametrize(
    ("offset_s", "expected"),
    [
        (0, ("ok", "within 1 s of the server's")),
        (20, ("ok", "within 20 s of the server's")),
        (-20, ("ok", "within ")),
        (3600, ("warning", "this machine's clock is 3600 s behind the server's. Set it")),
        (-3600, ("warning", "this machine's clock is 3599 s ahead of the server's. Set it")),
    ],
)
def test_the_clock_is_compared(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, offset_s: int, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr("thrive_learning._checking.run.time.time", lambda: 1_800_000_000.0)
    date = email.utils.formatdate(1_800_000_000 + offset_s, usegmt=True)
    with flavour.answering(answering(httpx.Response(404, headers={"Date": date}))) as client:
        status, detail = found(client.check())["clock"]
    assert status == expected[0]
    assert detail.startswith(expected[1])


@pytest.mark.parametrize(
    "date", ["", "yesterday", f"Fri, 15 Jan {10**20} 08:00:00 GMT", "Fri, 15 Jan 2027 08:00:00 -0000"]
)
def test_an_invalid_date_or_one_without_a_zone(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setattr(
        "thrive_learning._checking.run.time.time", lambda: 1_800_000_000.0
    )  # that very second
    with flavour.answering(answering(httpx.Response(404, headers={"Date": date}))) as client:
        status, _ = found(client.check())["clock"]
    assert status == ("ok" if "2027" in date else "skipped")


def test_a_slow_response_is_not_clock_skew(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("thrive_learning._checking.run.time.time", lambda: now[0])

    def answer(_request: httpx.Request) -> httpx.Response:
        now[0] += 100
        date = email.utils.formatdate(1_800_000_050, usegmt=True)
        return httpx.Response(404, headers={"Date": date})

    with flavour.answering(answer) as client:
        assert found(client.check())["clock"] == ("ok", "within 1 s of the server's")


# Connections


def examined(region: Region = Region.PRODUCTION, **options: Any) -> dict[str, tuple[str, str]]:
    examination = Examination(region, BASIC, OPTIONS._replace(**options), None, None)
    examination.saw(Reply(status_code=404), 0, 0)
    return found(examination.report())


def test_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined()["proxy"] == ("ok", "not used; connections go directly to the region's hosts")
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
    assert examined(local)["certificates"] == ("skipped", "not needed for plain HTTP to this machine")


# Arguments and results


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
    assert document["findings"][2] == {
        "subject": "proxy",
        "status": "skipped",
        "detail": "the transport that was passed to the client decides",
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
        sent = request.headers.get("authorization", request.content.decode())
        body = repeating | {"message": f"{sent} {secret}"}
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
