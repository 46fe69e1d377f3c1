import copy
import copyreg
import pickle
from typing import Any

import pytest

from thrive_learning import errors
from thrive_learning._exchange.messages import api_error_class
from thrive_learning.errors import (
    ApiError,
    Attempt,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    DeadlineExceededError,
    ForbiddenError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    SignatureError,
    ThriveError,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
    UnprocessableError,
    WebhookError,
)

EXAMPLES: list[ThriveError] = [
    ThriveError("m"),
    ClientClosedError("m"),
    ConfigurationError("m"),
    InvalidIdError("m", value="x"),
    ConnectionFailedError("m"),
    DeadlineExceededError("m"),
    TokenError("m", status_code=429, error="slow_down", error_description="no", retry_after=1.5),
    UnexpectedResponseError("m", status_code=200, body="[]", in_api_format=True),
    WebhookError("m", reason="too_old"),
    SignatureError("m", reason="wrong_signature"),
    *(
        api_error_class(status)(
            "m",
            status_code=status,
            error="e",
            message="why",
            request_id="r",
            retry_after=1.5,
            body="b",
            region="staging",
            in_api_format=True,
        )
        for status in (302, 400, 401, 403, 404, 409, 418, 422, 429, 500, 561)
    ),
]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, ApiError),
        (400, BadRequestError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (418, ApiError),
        (422, UnprocessableError),
        (429, RateLimitedError),
        (499, ApiError),
        (500, ServerError),
        (503, ServerError),
        (520, ServerError),
        (561, ServerError),
        (599, ServerError),
        (600, ApiError),
        (999, ApiError),
    ],
)
def test_each_status_has_its_class(status: int, expected: type[ApiError]) -> None:
    assert api_error_class(status) is expected


def test_a_404_of_somebody_else_is_not_a_missing_record() -> None:
    assert api_error_class(404, in_api_format=False) is ApiError
    assert api_error_class(403, in_api_format=False) is ForbiddenError
    assert api_error_class(500, in_api_format=False) is ServerError


def test_the_tree() -> None:
    assert issubclass(ClientClosedError, RuntimeError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidIdError, ValueError)
    assert issubclass(SignatureError, WebhookError)
    assert issubclass(DeadlineExceededError, (ConnectionFailedError, TimeoutError))
    classes = [
        item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)
    ]
    assert all(issubclass(item, ThriveError) for item in classes)
    assert {type(example) for example in EXAMPLES} == set(classes)


def test_the_attributes_of_errors() -> None:
    nothing = dict.fromkeys(("error", "message", "request_id", "retry_after", "region"))
    response = nothing | {"status_code": 404, "body": "", "in_api_format": False}
    assert vars(TokenError("m", status_code=400)) == {
        "status_code": 400,
        "error": None,
        "error_description": None,
        "retry_after": None,
    }
    assert vars(UnexpectedResponseError("m", status_code=200)) == {
        "status_code": 200,
        "body": "",
        "in_api_format": False,
    }
    assert vars(ApiError("m", status_code=404)) == response
    given: dict[str, Any] = {
        "status_code": 429,
        "error": "e",
        "message": "why",
        "request_id": "r",
        "retry_after": 1.5,
        "body": "b",
        "region": "staging",
        "in_api_format": True,
    }
    page: dict[str, Any] = {"status_code": 299, "body": "b", "in_api_format": True}
    said: dict[str, Any] = {"status_code": 400, "error": "e", "error_description": "d", "retry_after": 1.5}
    holding: list[tuple[ThriveError, dict[str, Any]]] = [
        (ThriveError("m"), {}),
        (InvalidIdError("m", value=5), {"value": 5}),
        (WebhookError("m", reason="too_old"), {"reason": "too_old"}),
        (ApiError("m", **given), given),
        (TokenError("m", **said), said),
        (UnexpectedResponseError("m", **page), page),
    ]
    for error, held in holding:
        assert str(error) == "m"
        assert vars(error) == held


def test_how_often_a_call_was_tried() -> None:
    attempt = Attempt(1, None, "ConnectionFailedError", None, 0.1, None)
    error = ThriveError("m")
    assert error.attempts == 0
    error.history = (attempt, attempt)
    assert error.attempts == 2


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "copied",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, copy.copy],
    ids=["pickle", "deepcopy", "copy"],
)
def test_errors_travel(error: ThriveError, copied: Any) -> None:
    error.add_note("a note")
    error.url, error.operation = "https://a.example/x", "activities.get"
    error.history = (Attempt(1, 429, "status 429", 0.5, 0.1, None, "activities.get", "60d5"),)
    other = copied(error)
    assert type(other) is type(error)
    assert str(other) == str(error) == "m"
    assert vars(other) == vars(error)
    assert other.__notes__[-1] == "a note"


def test_a_subclass_with_required_keywords_travels() -> None:
    class MineError(NotFoundError):
        pass

    globals()["MineError"] = MineError
    MineError.__qualname__ = "MineError"
    error = MineError("m", status_code=404)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        (408, True),
        (429, True),
        (500, True),
        (503, True),
        (522, True),
        (404, False),
        (401, False),
        (501, False),
        (525, False),
    ],
)
def test_a_status_says_whether_the_same_call_may_succeed_later(status: int, *, transient: bool) -> None:
    assert ApiError("m", status_code=status).is_transient is transient
    assert TokenError("m", status_code=status).is_transient is transient


def test_connection_failures_alone_are_transient_without_a_status() -> None:
    assert {
        type(error) for error in EXAMPLES if error.is_transient and not hasattr(error, "status_code")
    } == {
        ConnectionFailedError,
        DeadlineExceededError,
    }


def test_only_an_invalid_or_missing_id_is_final() -> None:
    assert {type(error) for error in EXAMPLES if error.is_final} == {InvalidIdError, NotFoundError}


def test_an_error_without_a_request_names_none() -> None:
    assert {(error.url, error.operation) for error in (ThriveError("m"), InvalidIdError("m", value=""))} == {
        (None, None)
    }


def test_a_copy_has_no_traceback_even_if_copies_of_exceptions_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`distributed` registers such a function for every exception of a process."""

    def keep(error: Any) -> Any:
        return lambda: error, ()

    error = EXAMPLES[6]
    monkeypatch.setitem(copyreg.dispatch_table, type(error), keep)
    try:
        raise error
    except ThriveError as raised:
        copied = copy.copy(raised)
    assert copied.__traceback__ is None
    assert (type(copied), copied.args, vars(copied)) == (type(error), error.args, vars(error))
