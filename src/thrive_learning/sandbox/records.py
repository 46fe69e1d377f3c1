"""The activity records that a sandbox holds: those that it has from the start, and those of a file."""

import copy
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, cast

# The example of the vendor's page, exactly, under its own id.
_REFERENCE_PAGE: dict[str, Any] = {
    "id": "60d5ec49b60b4b3a2c8f9a10",
    "user": "60d5ec49b60b4b3a2c8f9a11",
    "type": "viewed",
    "date": "2020-02-12T14:58:23.621Z",
    "contextId": "64b6f4a8c2e4a1b9d3f2c4a0",
    "contextType": "content",
    "data": {"source": {"source": "feed"}, "duration": "3600"},
    "with": None,
}

_ADA, _GRACE, _KATHERINE = (f"64b6f4a8c2e4a1b9d3f2c50{number}" for number in (1, 2, 3))


def _about(name: str, context_id: str, context_type: str) -> dict[str, Any]:
    return {"name": name, "contextId": context_id, "contextType": context_type}


_GUIDE = _about("Relative Time Dilation - Practical Guide", "64b6f4a8c2e4a1b9d3f2c401", "content")
_COURSE = _about("Fire Safety at Work", "64b6f4a8c2e4a1b9d3f2c402", "course")
_EVENT = _about("Night of the Comets", "64b6f4a8c2e4a1b9d3f2c403", "event")
_TAG = _about("Astronomy", "64b6f4a8c2e4a1b9d3f2c404", "tag")
_FILE = _about("orbits.csv", "64b6f4a8c2e4a1b9d3f2c405", "content")
_COMMENT = "64b6f4a8c2e4a1b9d3f2c601"
_NOTHING: dict[str, Any] = {}

# Type, user, what it was about, `data`, and the fields that not every record has. `with` is an object, null
# or absent, since a client will meet all three.
_ROWS: tuple[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]], ...] = (
    ("viewed", _ADA, _GUIDE, {"duration": "742", "source": {"source": "search"}}, {"with": None}),
    ("completed", _ADA, _COURSE, {"score": 92, "maxScore": 100, "duration": "2710"}, {"with": None}),
    ("passed", _ADA, _COURSE, {"score": 92, "passMark": 80, "attempt": 1}, {}),
    ("pinned", _GRACE, _GUIDE, {}, {"with": None}),
    ("unpinned", _GRACE, _GUIDE, {}, {"with": None}),
    ("liked", _GRACE, _GUIDE, {"source": {"source": "feed"}}, {}),
    ("unliked", _GRACE, _GUIDE, {"source": {"source": "feed"}}, {}),
    ("commented", _ADA, _GUIDE, {"commentId": _COMMENT, "comment": "Très clair, merci! 👍"}, {}),
    ("commentdeleted", _ADA, _GUIDE, {"commentId": _COMMENT}, {"with": None}),
    ("shared", _ADA, _GUIDE, {"message": "Worth it"}, {"with": {"users": [_GRACE, _KATHERINE]}}),
    ("progressed", _KATHERINE, _COURSE, {"progress": 0.5, "step": 3, "steps": 6}, {}),
    ("registered", _KATHERINE, _EVENT, {"status": "confirmed"}, {"with": {"session": "2024-07-01"}}),
    ("followed", _GRACE, _TAG, {"source": {"source": "profile"}}, {"with": None}),
    ("unfollowed", _GRACE, _TAG, {}, {"with": None}),
    ("started", _KATHERINE, _COURSE, {"attempt": 1}, {}),
    ("resumed", _KATHERINE, _COURSE, {"attempt": 1, "position": "312"}, {}),
    ("searched", _ADA, _NOTHING, {"keyword": "time dilation", "filters": ["content"]}, {}),
    ("found", _ADA, _NOTHING, {"keyword": "time dilation", "results": 14}, {"with": {"position": 2}}),
    ("loggedin", _ADA, _NOTHING, {"method": "sso"}, {"with": None}),
    ("loggedout", _ADA, _NOTHING, {"reason": "timeout"}, {}),
    # The vendor's page gives `file` as its example of a type, and does not list it.
    ("file", _GRACE, _FILE, {"bytes": 52114}, {"with": None, "visibility": "team"}),
)
_FIRST_DATE = datetime(2024, 6, 3, 8, 30, tzinfo=UTC)


def _numbered_id(number: int) -> str:
    # In decimal digits, so that people can count them; that makes hexadecimal digits too.
    return f"665d7d88b60b4b3a2c{number:06}"


def _numbered_records() -> list[dict[str, Any]]:
    return [
        {
            "id": _numbered_id(number),
            "user": user,
            "type": activity_type,
            **about,
            "date": f"{_FIRST_DATE + number * timedelta(minutes=17):%Y-%m-%dT%H:%M:%S}.250Z",
            "data": data,
            **more,
        }
        for number, (activity_type, user, about, data, more) in enumerate(_ROWS, start=1)
    ]


def seeded_records() -> dict[str, dict[str, Any]]:
    """The records of a fresh sandbox by id, as a copy of one's own.

    - `60d5ec49b60b4b3a2c8f9a10`: the example of the reference page
    - `665d7d88b60b4b3a2c000001` to `665d7d88b60b4b3a2c000020`: the twenty types, in the page's order
    - `665d7d88b60b4b3a2c000021`: a type and a field that the page does not list
    - `665d7d88b60b4b3a2c000022`: nothing but its id

    Source:
        https://docs.thrivelearning.com/apidocs/get-a-single-activity-record
    """
    only_an_id = {"id": _numbered_id(len(_ROWS) + 1)}
    records = [_REFERENCE_PAGE, *_numbered_records(), only_an_id]
    return {record["id"]: copy.deepcopy(record) for record in records}


#: What the ID of a record is.
ACTIVITY_ID = re.compile(r"[0-9a-fA-F]{24}")


def records_from_ndjson(lines: Iterable[bytes], name: str) -> dict[str, dict[str, Any]]:
    """Read records as `thrive activity export` writes them: one JSON object a line. Empty lines are skipped.

    Args:
        lines: What stands in the file, in UTF-8.
        name: What the file is called, for messages.

    Returns:
        The records by ID, in the order of the file.

    Raises:
        ValueError: A line is no record; the message names file and line.

    Source:
        https://github.com/ndjson/ndjson-spec
    """
    records: dict[str, dict[str, Any]] = {}
    places: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(line, f"{name}, line {number}")
        record_id: str = record["id"]
        first = places.setdefault(record_id.lower(), number)
        if first != number:
            raise ValueError(f"{name}, line {number}: the id {record_id} stands in line {first} already")
        records[record_id] = record
    return records


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record: Any = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        problem = f"this is not JSON: {error}"
    else:
        problem = _problem(record)
        if not problem:
            return cast("dict[str, Any]", record)
    raise ValueError(f"{place}: {problem}")


def _problem(record: Any) -> str:
    if not isinstance(record, dict):
        return "this is no JSON object, which a record is"
    if "id" not in record:
        return "the record has no 'id'"
    record_id: object = cast("dict[str, Any]", record)["id"]
    if not (isinstance(record_id, str) and ACTIVITY_ID.fullmatch(record_id)):
        return f"the id {str(record_id)[:64]!r} is not 24 hexadecimal digits"
    return ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
