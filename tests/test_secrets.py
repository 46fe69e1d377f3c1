"""No secret and no token shows: canaries are planted, and all that can be printed is searched for them."""

import base64
import copy
import gc
import logging
import pickle
import threading
import traceback
import urllib.parse
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, Flavour, Kept, page_response, token_response

from thrive_learning import (
    BasicCredentials,
    ClientCredentials,
    RetryPolicy,
    ThriveError,
)

SECRET, TOKEN, TENANT = "canary%secret&1", "canary-token-2", "canary-tenant-3"
#: Every form in which a secret stands in a request.
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
    "a broken transport": RuntimeError("broken"),
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
    # The tenant ID is no secret, and still no business of an INFO record.
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
        assert go_on.wait(30)
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
            assert asked.wait(30)
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
