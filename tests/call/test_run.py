from collections.abc import Callable
from typing import Any

import httpx
import pytest
from _thrive_learning_api.contract import OPERATIONS
from _thrive_learning_api.types import Response
from harness import ACTIVITY_ID, BASIC, Flavour, page_response

from thrive_learning import ApiError, Region, ThriveClient, UnexpectedResponseError, activities
from thrive_learning._call import generated


def test_the_documented_successes_are_those_of_the_contract(contract: dict[str, Any]) -> None:
    documented = {
        (method.upper(), path): {int(status) for status in operation["responses"] if status.startswith("2")}
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    }
    assert documented == {(facts.method, facts.path): {*facts.successes} for facts in OPERATIONS.values()}


NOT_FOUND = {"status": 404, "error": "Not Found", "message": "no such activity"}


def failing(parser: Callable[..., Any], error: Exception, *, in_parser: bool) -> Any:
    """Give a generated function that fails: in its parser, which comes after the request, or before that."""

    def sync(*, id: str, client: Any) -> Response[Any]:  # noqa: A002 - as generated
        if in_parser:
            parser(id, client=client)
        raise error

    async def asynchronous(*, id: str, client: Any) -> Response[Any]:  # noqa: A002
        if in_parser:
            await parser(id, client=client)
        raise error

    return sync, asynchronous


@pytest.mark.parametrize(
    "error", [TypeError("x"), ValueError("x"), KeyError("x"), AttributeError("x")], ids=repr
)
def test_a_failing_generated_parser_raises_our_own_error(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    get = generated.GET_ACTIVITY
    sync, _ = failing(get.sync, error, in_parser=True)
    _, asynchronous = failing(get.asyncio, error, in_parser=True)
    monkeypatch.setattr(activities, "GET_ACTIVITY", get._replace(sync=sync, asyncio=asynchronous))
    with (
        flavour.answering(lambda _request: page_response()) as client,
        pytest.raises(
            UnexpectedResponseError, match=f"parser failed on it .{type(error).__name__}"
        ) as caught,
    ):
        client.activities.get(ACTIVITY_ID)
    assert caught.value.__context__ is None


def test_a_mistake_before_the_request_is_not_blamed_on_the_response(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, asynchronous = failing(lambda: None, TypeError("a mistake of ours"), in_parser=False)
    monkeypatch.setattr(
        activities, "GET_ACTIVITY", generated.GET_ACTIVITY._replace(sync=sync, asyncio=asynchronous)
    )
    with (
        flavour.answering(lambda _request: page_response()) as client,
        pytest.raises(TypeError, match="a mistake of ours"),
    ):
        client.activities.get(ACTIVITY_ID)


def test_a_call_within_a_call_leaves_the_outer_one_alone() -> None:
    """A transport that reads another record before it answers, as one that asks for permission would."""

    def handler(_request: httpx.Request) -> httpx.Response:
        assert inner.activities.get_with_response("f" * 24).attempts == 1
        return page_response()

    with ThriveClient(
        Region.PRODUCTION, BASIC, transport=httpx.MockTransport(lambda _r: page_response())
    ) as inner:
        with ThriveClient(Region.STAGING, BASIC, transport=httpx.MockTransport(handler)) as outer:
            assert outer.activities.get_with_response(ACTIVITY_ID).attempts == 1
        with (
            pytest.raises(ApiError, match=f"staging .* {ACTIVITY_ID}"),
            ThriveClient(
                Region.STAGING,
                BASIC,
                transport=httpx.MockTransport(
                    lambda r: httpx.Response(404 * handler(r).is_success, json=NOT_FOUND)
                ),
            ) as outer,
        ):
            outer.activities.get(ACTIVITY_ID)
