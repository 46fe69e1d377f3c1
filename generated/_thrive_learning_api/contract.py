"""The contract's facts that the generated client lacks, written by tools/contract_facts.py."""

import datetime as dt
from typing import Any, Final, NamedTuple, TypedDict

from .models import ActivityType


class OperationFacts(NamedTuple):
    """One operation, as the contract describes it.

    Attributes:
        method: The HTTP method, in capitals.
        path: The path template.
        successes: What the body of each documented success holds: "object", "array", or "nothing".
        model: The schema of that object, or of the items of that array; None if its fields are not described.
        errors: The statuses of the documented errors.
        is_idempotent: Whether it may be sent again after it may have been processed.
    """

    method: str
    path: str
    successes: dict[int, str]
    model: str | None
    errors: tuple[int, ...]
    is_idempotent: bool


class FieldFacts(NamedTuple):
    """One field of a model, or the items of an array, as the contract describes it.

    Attributes:
        name: The name of the attribute; empty for items.
        wire_name: The name in JSON; empty for items.
        json_types: The JSON types that its value may have.
        form: The format of a string, such as "date-time"; empty if it has none.
        values: The documented values by their text; None if any value is in order.
        model: The name of the model that an object is; None if its content is not described.
        items: What the items of an array are; None if they are not described.
        is_required: Whether every response must have it.
    """

    name: str
    wire_name: str
    json_types: tuple[str, ...]
    form: str = ""
    values: dict[str, Any] | None = None
    model: str | None = None
    items: "FieldFacts | None" = None
    is_required: bool = False


#: The operations, by the names of the modules that the generator writes for them.
OPERATIONS: Final[dict[str, OperationFacts]] = {
    "list_activities": OperationFacts(
        "GET", "/activities", {200: "object"}, "ActivityPage", (400, 401, 403, 404, 422, 429, 500), True
    ),
    "get_activity": OperationFacts(
        "GET", "/activity/{id}", {200: "object"}, "Activity", (400, 401, 403, 404, 409, 422, 429, 500), True
    ),
}

#: The fields of the models, by the names of the schemas.
MODELS: Final[dict[str, tuple[FieldFacts, ...]]] = {
    "Activity": (
        FieldFacts("id", "id", ("string",), is_required=True),
        FieldFacts("user", "user", ("string",)),
        FieldFacts("type", "type", ("string",), values={str(value): value for value in ActivityType}),
        FieldFacts("name", "name", ("string",)),
        FieldFacts("date", "date", ("string",), form="date-time"),
        FieldFacts("context_id", "contextId", ("string",)),
        FieldFacts("context_type", "contextType", ("string",)),
        FieldFacts("data", "data", ("object",)),
        FieldFacts("with_", "with", ("object", "null")),
    ),
    "ActivityPage": (
        FieldFacts(
            "results",
            "results",
            ("array",),
            items=FieldFacts("", "", ("object",), model="Activity"),
            is_required=True,
        ),
        FieldFacts("pagination", "pagination", ("object",), model="Pagination"),
    ),
    "Pagination": (
        FieldFacts("total_results", "totalResults", ("integer",)),
        FieldFacts("total_pages", "totalPages", ("integer",)),
        FieldFacts("page", "page", ("integer",)),
        FieldFacts("per_page", "perPage", ("integer",)),
    ),
    "Error": (
        FieldFacts("status", "status", ("integer",)),
        FieldFacts("error", "error", ("string",)),
        FieldFacts("message", "message", ("string",)),
    ),
}


class ActivityFields(TypedDict, total=False):
    """The fields of a record."""

    id: str
    user: str | None
    type: ActivityType | str | None
    name: str | None
    date: dt.datetime | None
    context_id: str | None
    context_type: str | None
    data: dict[str, Any] | None
    with_: dict[str, Any] | None
