"""No secret and no token shows: canaries are planted, and all that can be printed is searched for them."""

import base64
import copy
import gc
import json
import logging
import pickle
import threading
import traceback
import urllib.parse
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest
from harness import ACTIVITY_ID, Flavour, Kept, page_response, token_response
from patience import PATIENCE_S

from thrive_learning import (
    AsyncThriveClient,
    BasicCredentials,
    ClientCredentials,
    ConfigurationError,
    Region,
    RetryPolicy,
    ThriveClient,
    ThriveError,
)
from thrive_learning._exchange.server_text import mask_secrets
from thrive_learning._http.httpx_adapter import AsyncHttpxEngine, HttpxEngine
from thrive_learning._settings.proxies import proxy_secrets

SECRET, TOKEN, TENANT = "canary%secret&1", "canary-token-2", "canary-tenant-3"
#: Every form of a secret in a request.
FORMS = [
    SECRET,
    TOKEN,
    urllib.parse.quote_plus(SECRET),
    base64.b64encode(f"{TENANT}:{SECRET}".encode()).decode(),
    base64.b64encode(f"client:{urllib.parse.quote_plus(SECRET)}".encode()).decode(),
]
CREDENTIALS: dict[str, Any] = {
    "Basic": BasicCredentials(TENANT, SECRET),
    "OAuth by Basic": ClientCredentials(TENANT, "client", SECRET),
    "OAuth by form": ClientCredentials(TENANT, "client", SECRET, client_auth="post"),
}


def echo(request: httpx.Request) -> bytes:
    """Repeat the whole request, as a debugging proxy or a careless error page would."""
    return repr((str(request.url), request.headers.raw, request.content)).encode()


FAULTS: dict[str, Any] = {
    "success": lambda _request: page_response(),
    **{str(status): status for status in (201, 302, 400, 401, 403, 404, 429, 500, 503)},
    "an echo that is no JSON": 200,
    "an echo in JSON": lambda request: httpx.Response(
        400, json=dict.fromkeys(("error", "error_description", "message"), echo(request).decode())
    ),
    "refused": httpx.ConnectError("refused"),
    "timed out": httpx.ReadTimeout("slow"),
    "an illegal header": httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN} {SECRET}'"),
    "a body that is cut": lambda request: httpx.Response(200, stream=Cut(echo(request))),
}


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        yield from chain(error.__cause__)
        error = error.__context__


@pytest.mark.parametrize("at_the_token_endpoint", [False, True], ids=["API", "token endpoint"])
@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_shows(
    flavour: Flavour, kept: Kept, fault: str, kind: str, *, at_the_token_endpoint: bool
) -> None:
    credentials, what = CREDENTIALS[kind], FAULTS[fault]
    if at_the_token_endpoint and (kind == "Basic" or fault == "success"):
        return

    def handler(request: httpx.Request) -> httpx.Response:
        token_request = request.method == "POST"
        if token_request != at_the_token_endpoint:
            return token_response(TOKEN) if token_request else page_response()
        if isinstance(what, Exception):
            raise what
        if isinstance(what, int):
            return httpx.Response(what, content=echo(request))
        response: httpx.Response = what(request)
        return response

    shown: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with flavour.answering(handler, credentials, retry=RetryPolicy(first_delay=0)) as client:
            try:
                shown.append(repr(client.activities.get_with_response(ACTIVITY_ID)))
            except ThriveError as error:
                shown += searched(error)
            shown += [repr(client), repr(client._http), repr(client._http.authorizer), repr(credentials)]
        gc.collect()
    shown += [str(warning.message) for warning in warned]
    shown += kept.texts()
    hits = [(form, text) for form in FORMS for text in shown if form in text]
    assert not hits
    # The tenant ID is not a secret, but does not belong in an INFO record.
    assert not [
        r for r in kept.records if r.levelno >= logging.INFO and TENANT in f"{r.getMessage()} {r.args}"
    ]
    assert kept.records


def searched(error: ThriveError) -> list[str]:
    """Give everything that an error can show of itself."""
    shown = []
    for link in chain(error):
        frames = traceback.TracebackException.from_exception(link, capture_locals=True).stack
        inner = [frame for frame in frames if frame.filename != __file__]
        assert inner
        shown += [str(link), repr(link), repr(vars(link)), *(repr(frame.locals) for frame in inner)]
    shown += [repr(pickle.dumps(error)), repr(vars(copy.deepcopy(error)))]
    assert list(chain(error)) == [error]
    return shown


PROXY_USER, PROXY_PASSWORD = "canary-user-4", "canary/pass%5"
PROXY_URL = f"http://{PROXY_USER}:{urllib.parse.quote(PROXY_PASSWORD, safe='')}@proxy.example:3128"
PROXY_FORMS = [
    PROXY_USER,
    PROXY_PASSWORD,
    urllib.parse.quote(PROXY_PASSWORD, safe=""),
    base64.b64encode(f"{PROXY_USER}:{PROXY_PASSWORD}".encode()).decode(),
]
#: Longer than what a message quotes: what is truncated first is not recognized any more.
FILLING = "x" * 290


def said_by(request: httpx.Request) -> list[str]:
    """Give what was sent of secrets, in the spellings of an echo."""
    raw = [request.headers.get("authorization", "").partition(" ")[2], SECRET]
    spelt = [
        spell(text)
        for text in raw
        if text
        for spell in (str, str.upper, urllib.parse.quote_plus, lambda text: json.dumps(text)[1:-1])
    ]
    return [*spelt, *PROXY_FORMS]


def in_header(name: str, status: int) -> Any:
    def echo_there(request: httpx.Request) -> httpx.Response:
        said = " ".join(said_by(request))
        value = f"https://{said.split()[0]}.example/{said}?{said}" if name == "location" else said
        return httpx.Response(status, headers={name: value}, json={"status": status, "message": "m"})

    return echo_there


def in_json(status: int, build: Any) -> Any:
    return lambda request: httpx.Response(status, json=build(" ".join(said_by(request))))


RECORD_WITH = {"id": ACTIVITY_ID, "type": "viewed"}
#: Each place of a response that a message, an attribute, a log record or a finding could show.
PLACES: dict[str, Any] = {
    **{
        f"{name}, {status}": in_header(name, status)
        for name in (
            *("location", "content-encoding", "x-request-id", "x-amzn-requestid", "date", "retry-after"),
            *("server", "via", "www-authenticate", "set-cookie", "content-type", "x-canary"),
        )
        for status in (200, 302, 401, 404, 407, 503)
    },
    "a long request id": lambda request: httpx.Response(
        500, headers={"x-request-id": FILLING + said_by(request)[0]}
    ),
    "a long message": in_json(400, lambda said: {"status": 400, "message": FILLING + said}),
    "a nested message": in_json(422, lambda said: {"message": {"a": [{said: said}]}, "error": {"b": said}}),
    "a name of an error": in_json(409, lambda said: {"error": said, "message": "m"}),
    "a description": in_json(400, lambda said: {"error": "invalid_client", "error_description": said}),
    "a page": lambda request: httpx.Response(404, html=f"<title>{' '.join(said_by(request))}</title>"),
    "an explanation": in_json(403, lambda said: {"detail": said}),
    "a 200 that is an error": in_json(200, lambda said: {"error": said, "error_description": said}),
    "a scope": in_json(
        200, lambda said: {"access_token": TOKEN, "scope": f"{said} {TOKEN}", "expires_in": said}
    ),
    "a type of token": in_json(200, lambda said: {"access_token": TOKEN, "token_type": said}),
    "a date of a record": in_json(200, lambda said: RECORD_WITH | {"date": said}),
    "a type of a record": in_json(200, lambda said: RECORD_WITH | {"type": said}),
    "an unknown field": in_json(200, lambda said: RECORD_WITH | {said: said}),
    "no id": in_json(200, lambda said: {"id": {said: said}}),
    "a number": lambda request: httpx.Response(200, text=f'{{"a": 1e999, "{said_by(request)[0]}": 1}}'),
    "an error of a transport": lambda request: failing(httpx.ConnectError(" ".join(said_by(request)))),
    "a phrase of a proxy": lambda request: failing(httpx.ProxyError(f"407 {' '.join(said_by(request))}")),
    "another phrase of a proxy": lambda request: failing(
        httpx.ProxyError(f"403 {' '.join(said_by(request))}")
    ),
    "a certificate": lambda request: failing(
        httpx.ConnectError(
            f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {said_by(request)[0]}"
        )
    ),
    "a protocol error": lambda request: failing(
        httpx.RemoteProtocolError(f"illegal status line: bytearray(b'{said_by(request)[0]}')")
    ),
    "a type of an exception": lambda request: failing(OSError("\n".join(said_by(request)))),
}


def failing(error: Exception) -> httpx.Response:
    raise error


def has_secret(text: str) -> bool:
    lowered = text.lower()
    return any(form.lower() in lowered for form in (*FORMS, *PROXY_FORMS, "canary"))


@pytest.mark.parametrize("at_the_token_endpoint", [False, True], ids=["API", "token endpoint"])
@pytest.mark.parametrize("place", PLACES)
def test_an_echo_in_any_place_does_not_show(
    flavour: Flavour, kept: Kept, place: str, *, at_the_token_endpoint: bool
) -> None:
    credentials = ClientCredentials("tenant", "client", SECRET)

    def handler(request: httpx.Request) -> httpx.Response:
        is_token_request = request.method == "POST"
        if is_token_request != at_the_token_endpoint:
            return token_response(TOKEN) if is_token_request else page_response()
        response: httpx.Response = PLACES[place](request)
        return response

    shown: list[str] = []
    seen: list[Any] = []
    with flavour.answering(handler, credentials, on_attempt=seen.append, on_drift=seen.append) as client:
        client._http.authorizer.mask_proxies(proxy_secrets(PROXY_URL))
        try:
            answer = client.activities.get_with_response(ACTIVITY_ID)
            shown += [f"{answer.history} {answer.request_id} {answer.data.problems}"]
        except ThriveError as error:
            shown += [part for part in searched(error) if ".py" not in part]
        try:
            shown.append(repr(client.tokens.get()))
        except ThriveError as error:
            shown += [part for part in searched(error) if ".py" not in part]
        report = client.check()
    shown += [str(finding) for finding in report.findings]
    shown += [json.dumps(report.to_dict())]
    shown += [str(finding.error) for finding in report.findings]
    shown += [str(item) for item in seen]
    shown += [record.getMessage() for record in kept.records if record.name.startswith("thrive_learning")]
    assert not [text for text in shown if has_secret(text)]
    assert all(finding.detail.isprintable() for finding in report.findings)


def test_a_short_secret_is_masked_in_the_words_of_the_server_alone(flavour: Flavour) -> None:
    for secret in ("s", "secret", "e"):

        def handler(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(
                401,
                json={"status": 401, "error": "unauthorized", "message": f"you sent {secret}"},  # noqa: B023
                headers={"x-request-id": f"<{secret}>"},  # noqa: B023
            )

        with flavour.answering(handler, BasicCredentials("t", secret)) as client:
            with pytest.raises(ThriveError) as caught:
                client.activities.get(ACTIVITY_ID)
        message = str(caught.value)
        head, _, rest = message.partition(': "')
        said, _, advice = rest.partition('". ')
        assert head == f"production answered 401 to the request for activity {ACTIVITY_ID}"
        assert said == mask_secrets(f"you sent {secret}", (secret,))
        assert secret not in said
        assert advice.startswith("The HTTP Basic credentials are not accepted; check that they are complete")
        assert advice.endswith("(request ID <**********>)")


def test_a_proxy_that_repeats_its_credentials_shows_nothing(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    """Its options and the environment alike."""
    for options in list[dict[str, Any]](({"proxy": PROXY_URL}, {})):
        if not options:
            monkeypatch.setenv("HTTPS_PROXY", PROXY_URL)
        with flavour.open(
            "production", CREDENTIALS["Basic"], retry=RetryPolicy(attempts=1), **options
        ) as client:
            raised = httpx.ProxyError(f"403 {' '.join(PROXY_FORMS)}")

            class Refusing(httpx.BaseTransport, httpx.AsyncBaseTransport):
                def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
                    raise raised  # noqa: B023

                async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
                    raise raised  # noqa: B023

            adapt: Any = HttpxEngine if flavour.name == "sync" else AsyncHttpxEngine
            engine = adapt(Refusing())
            monkeypatch.setattr(client._http.attempts.routes, "engine", lambda _origin: engine)  # noqa: B023
            with pytest.raises(ThriveError) as caught:
                client.activities.get(ACTIVITY_ID)
            report = client.check()
        setting = "proxy=" if options else "HTTPS_PROXY"
        assert f"The proxy http://proxy.example:3128 (from {setting}) did not open" in str(caught.value)
        shown = [*searched(caught.value), *(f"{f} {f.error}" for f in report.findings), *kept.texts()]
        assert not [text for text in shown for form in PROXY_FORMS if form in text]
        seen = {finding.subject: str(finding.status) for finding in report.findings}
        assert (seen["proxy"], seen["certificates"], seen["api"]) == ("failed", "unknown", "failed")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:canary/word@proxy.example:3128",
        "http://user:12#canary@proxy.example",
        "http://canary:canary",
        "canary:canary@proxy.example",
        "ftp://user:canary@proxy.example",
    ],
)
def test_a_url_of_a_proxy_that_is_not_valid_does_not_show(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for options in list[dict[str, Any]](({"proxy": url}, {})):
        if not options:
            if "//" not in url:
                continue  # there, a URL without a scheme is one of HTTP
            monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(
            ThriveError, match=r"^The proxy URL .* has an invalid host or port|does not begin with"
        ) as caught:
            flavour.client_class("production", CREDENTIALS["Basic"], **options)
        assert "canary" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


def test_the_search_finds_what_is_there() -> None:
    namespace: dict[str, Any] = {"ThriveError": ThriveError, "TOKEN": TOKEN}
    exec(compile("def leak():\n header = TOKEN\n raise ThriveError('x')", "elsewhere.py", "exec"), namespace)  # noqa: S102
    with pytest.raises(ThriveError) as caught:
        namespace["leak"]()
    assert any(TOKEN in text for text in searched(caught.value))


def test_a_thread_that_waits_for_a_token_shows_nothing_either(flavour: Flavour) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def handler(_request: httpx.Request) -> httpx.Response:
        asked.set()
        assert go_on.wait(PATIENCE_S)
        return httpx.Response(401, json={"error": "invalid_client", "error_description": SECRET})

    errors: list[ThriveError] = []
    with flavour.answering(handler, CREDENTIALS["OAuth by Basic"]) as client:

        def work() -> None:
            try:
                client.activities.get(ACTIVITY_ID)
            except ThriveError as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        if flavour.name == "sync":
            for thread in threads:
                thread.start()
            assert asked.wait(PATIENCE_S)
            go_on.set()
            for thread in threads:
                thread.join()
        else:
            go_on.set()
            work()
    assert errors
    assert not [text for error in errors for text in searched(error) if SECRET in text]


def test_a_request_id_that_repeats_a_credential_is_masked(flavour: Flavour, kept: Kept) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        sent = request.headers["authorization"].partition(" ")[2]
        return httpx.Response(404, headers={"x-request-id": f"{sent} {SECRET}"})

    with flavour.answering(handler, CREDENTIALS["Basic"]) as client, pytest.raises(ThriveError) as caught:
        client.activities.get(ACTIVITY_ID)
    shown = [*searched(caught.value), *kept.texts()]
    assert not [form for form in FORMS for text in shown if form in text]
    assert "**********" in str(caught.value)


WRONG: dict[str, dict[str, Any]] = {
    "unknown": {"api_secret": SECRET},
    "proxy": {"proxy": f"ftp{PROXY_URL}"},
    "engine": {"proxy": PROXY_URL, "engine": "nope"},
    "transport": {"proxy": PROXY_URL, "transport": 3},
    "on_attempt": {"proxy": PROXY_URL, "on_attempt": 3},
    "timeout": {"proxy": PROXY_URL, "timeout": -1},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_client_that_cannot_be_created_shows_no_argument(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("THRIVE_TENANT_ID", TENANT)
    monkeypatch.setenv("THRIVE_API_SECRET", SECRET)
    kind: Any = flavour.client_class
    for create in (lambda **options: kind("staging", CREDENTIALS["Basic"], **options), kind.from_env):
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            create(**WRONG[wrong])
        assert not shown_secrets(caught.value)
    assert repr(kind.__new__(kind)) == f"<{kind.__name__} region=None>"


def test_no_other_wrong_argument_shows_either(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = flavour.client_class
    url = f"https://user:{SECRET}@api.example/{{tenant_id}}"
    for create in (
        lambda: kind("staging", SECRET),
        lambda: kind.sandbox(api_secret=SECRET),
        lambda: Region.custom("mine", api_url=url.partition("{")[0], token_url=url),
        kind.from_env,
    ):
        monkeypatch.setenv("THRIVE_API_URL", url)
        monkeypatch.setenv("THRIVE_TOKEN_URL", url)
        monkeypatch.setenv("THRIVE_WEBHOOKS_TOKEN_URL", url)
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            create()
        assert not shown_secrets(caught.value)


class Interruption(BaseException):
    pass


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_interrupted_check_shows_nothing(anyio_backend: str, kind: str, method: str) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == method or kind == "Basic":
            raise Interruption
        return token_response(TOKEN)

    async def check() -> None:
        transport = httpx.MockTransport(respond)
        async with AsyncThriveClient("staging", CREDENTIALS[kind], transport=transport) as client:
            await client.check()

    with ThriveClient("staging", CREDENTIALS[kind], transport=httpx.MockTransport(respond)) as client:
        with pytest.raises(Interruption) as caught:
            client.check()
    with pytest.raises(Interruption) as caught_async:
        anyio.run(check, backend=anyio_backend)
    assert not shown_secrets(caught.value) + shown_secrets(caught_async.value)


def shown_secrets(error: BaseException) -> list[str]:
    """Return the texts of an error and of the frames of this package that have a secret."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    shown = [repr(frame.locals) for frame in frames if frame.filename != __file__]
    return [text for text in (*shown, str(error)) for form in (*FORMS, *PROXY_FORMS) if form in text]
