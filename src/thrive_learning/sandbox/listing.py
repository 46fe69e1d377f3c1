"""The list of the sandbox: `GET /activities` of the contract, from a query to a page. Pure.

The vendor's page leaves some questions open. The sandbox decides as follows:

- The newest record comes first. This is the hard case, because new records push others to the next page.
- `timestampFrom` and `timestampTo` are in UTC and exclusive.
- All filters apply together, including `actions` and `omitActions`. An empty filter has no effect.
- A page after the last one is empty. `totalPages` is 0 without results.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from thrive_learning.sandbox.collection import Collection
from thrive_learning.sandbox.messages import SandboxResponse, error_response, json_response
from thrive_learning.sandbox.timeline import END_OF_TIME_MS, UNDATED_MS

_WHOLE = re.compile(r"[0-9]{1,1000}")  # Python converts at most 4,300 digits
_IDS = re.compile(r"[0-9a-fA-F]{24}(?:,[0-9a-fA-F]{24})*")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_LARGEST_PAGE = 1000
_PARAMETERS = {
    "page",
    "perPage",
    "actions",
    "omitActions",
    "contentIds",
    "contentType",
    "timestampFrom",
    "timestampTo",
}


class _InvalidQueryError(Exception):
    """A query that the contract does not allow. The text is the message of the response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The parameters of a list request.

    Args:
        page: The page number, from 1.
        per_page: The number of records per page, from 1 to 1,000.
        actions: The types to return; empty for all.
        omit_actions: The types to exclude.
        content_ids: The IDs of content in lower case; empty for all.
        content_type: The value of `contextType` or `contentType`; empty for all.
        first_ms: The beginning of the window in Unix milliseconds, inclusive.
        last_ms: The end of the window, inclusive.
    """

    page: int = 1
    per_page: int = 20
    actions: frozenset[str] = frozenset()
    omit_actions: frozenset[str] = frozenset()
    content_ids: frozenset[str] = frozenset()
    content_type: str = ""
    first_ms: int = UNDATED_MS
    last_ms: int = END_OF_TIME_MS - 1

    def keeps(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record matches the filters except those by date."""
        activity_type, context_id = _text(record, "type"), _text(record, "contextId")
        return (
            (not self.actions or activity_type in self.actions)
            and activity_type not in self.omit_actions
            and (not self.content_ids or context_id.lower() in self.content_ids)
            and self.content_type in {"", _text(record, "contextType"), _text(record, "contentType")}
        )


def list_response(query: str, collection: Collection) -> SandboxResponse:
    """Return the response to a list request.

    Args:
        query: The query as sent, without the question mark.
        collection: The records.

    Source:
        https://docs.thrivelearning.com/apidocs/query-activity-records
    """
    try:
        asked = _parsed(query)
    except _InvalidQueryError as error:
        return error_response(HTTPStatus.BAD_REQUEST, str(error))
    total, records = collection.page(
        asked.keeps,
        first_ms=asked.first_ms,
        last_ms=asked.last_ms,
        offset=(asked.page - 1) * asked.per_page,
        limit=asked.per_page,
    )
    pagination = {
        "totalResults": total,
        "totalPages": -(-total // asked.per_page),
        "page": asked.page,
        "perPage": asked.per_page,
    }
    return json_response(HTTPStatus.OK, {"pagination": pagination, "results": records})


def _parsed(query: str) -> Query:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise _InvalidQueryError("The query is not UTF-8") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in _PARAMETERS and name in parameters:
            raise _InvalidQueryError(f"The parameter {name} is repeated. Separate its values with commas")
        parameters[name] = value
    first_ms, last_ms = _timestamp(parameters, "timestampFrom"), _timestamp(parameters, "timestampTo")
    # A record without a date never matches a window, even one without a beginning.
    earliest_ms = UNDATED_MS if first_ms is last_ms is None else UNDATED_MS + 1
    return Query(
        page=_whole(parameters, "page", default=1),
        per_page=_whole(parameters, "perPage", default=20, largest=_LARGEST_PAGE),
        actions=_items(parameters, "actions"),
        omit_actions=_items(parameters, "omitActions"),
        content_ids=_ids(parameters, "contentIds"),
        content_type=parameters.get("contentType", ""),
        first_ms=earliest_ms if first_ms is None else first_ms + 1,
        last_ms=END_OF_TIME_MS - 1 if last_ms is None else last_ms - 1,
    )


def _whole(parameters: Mapping[str, str], name: str, *, default: int, largest: int | None = None) -> int:
    text = parameters.get(name, str(default))
    number = int(text) if _WHOLE.fullmatch(text) else 0
    if number < 1 or (largest is not None and number > largest):
        upto = "" if largest is None else f" to {largest}"
        raise _InvalidQueryError(f"The parameter {name} is not a whole number from 1{upto}")
    return number


def _items(parameters: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(filter(None, parameters.get(name, "").split(",")))


def _ids(parameters: Mapping[str, str], name: str) -> frozenset[str]:
    if name not in parameters:
        return frozenset()
    if not _IDS.fullmatch(parameters[name]):
        raise _InvalidQueryError(
            f"The parameter {name} is not a comma-separated list of IDs with 24 hexadecimal digits"
        )
    return frozenset(parameters[name].lower().split(","))


def _timestamp(parameters: Mapping[str, str], name: str) -> int | None:
    """Return Unix milliseconds; None without the parameter."""
    text = parameters.get(name)
    if text is None:
        return None
    if _TIMESTAMP.fullmatch(text):
        try:
            return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000
        except ValueError:
            pass  # such as the 30th of February
    raise _InvalidQueryError(f"The parameter {name} is not a time such as 2020-01-31 23:59:59")


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
