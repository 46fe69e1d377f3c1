"""The activity records of a sandbox: its examples, and records from a file."""

import copy
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, cast

# The exact example of the vendor's page, with the same ID.
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

# The type, the user, the context, `data`, and fields that not every record has.
_Row = tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]

# `with` is an object, null, or absent, because clients must handle all three.
_ROWS: tuple[_Row, ...] = (
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
    # The vendor's page has `file` as an example of a type, but does not list it.
    ("file", _GRACE, _FILE, {"bytes": 52114}, {"with": None, "visibility": "team"}),
)

_QUIZ = {"contextId": "64b6f4a8c2e4a1b9d3f2c406", "contextType": "content", "contentType": "quiz"}
_VIDEO = {"contextId": "64b6f4a8c2e4a1b9d3f2c407", "contextType": "content", "contentType": "video"}

# Records like real ones: an undocumented field, no `name`, types that differ between records, and texts in
# several languages. The contract allows all of this.
_REAL_ROWS: tuple[_Row, ...] = (
    ("viewed", _ADA, _VIDEO, {"duration": "742", "source": "feed", "tagName": "Astronomy"}, {}),
    ("progressed", _KATHERINE, _VIDEO, {"progresspercentage": "45", "completion": False}, {}),
    ("progressed", _KATHERINE, _VIDEO, {"progresspercentage": 62.5, "completion": False}, {}),
    (
        "completed",
        _KATHERINE,
        _VIDEO,
        {
            "completiontype": "automatic",
            "completedDate": "2024-06-03T15:51:00.000Z",
            "version": 3,
            "skillBoosts": [{"skill": "Astronomy", "level": 1}],
        },
        {},
    ),
    ("searched", _ADA, _NOTHING, {"search": "comets", "discover": "all", "searchresults": "14"}, {}),
    (
        "answered",
        _GRACE,
        _QUIZ,
        {
            "name": {
                "en-GB": "What is close to the Sun?",
                "fr-FR": "Qui est près du Soleil ?",
            },
            "description": {"en-GB": "One answer is right."},
            "interactionType": "choice",
            "choices": [
                {"id": "a", "description": {"en-GB": "Mercury"}},
                {"id": "b", "description": {"en-GB": "Neptune"}},
            ],
            "correctResponsesPattern": ["a"],
            "response": "a",
            "success": True,
            "score": 1,
            "scaled": 1.0,
            "minScore": 0,
            "maxScore": 1,
            "registration": "d5f0b7c2-6a8e-4a0c-9d4b-1f2e3d4c5b6a",
        },
        {},
    ),
)

# One record for each departure from the contract that the reader tolerates.
_DEPARTURES: tuple[dict[str, Any], ...] = (
    {"name": None, "contextId": None, "data": None},
    {"name": {"en-GB": "Night of the Comets", "fr-FR": "Nuit des comètes"}},
    {"data": []},
    {"contextId": 4711, "contextType": ["content"]},
    {"date": "2024-06-02 18:25:00"},
    {"date": "2024-06-02T18:42:00+0000"},
)
_FIRST_DATE = datetime(2024, 6, 3, 8, 30, tzinfo=UTC)
# A day before the others, so that a list, which begins with the newest record, does not begin with these.
_FIRST_DATE_OF_DEPARTURES = _FIRST_DATE - timedelta(days=1)


def _numbered_record(number: int, row: _Row | None, first_date: datetime = _FIRST_DATE) -> dict[str, Any]:
    # Decimal digits are valid hexadecimal digits, and easier to count.
    numbered_id = f"665d7d88b60b4b3a2c{number:06}"
    if row is None:
        return {"id": numbered_id}
    activity_type, user, about, data, more = row
    return {
        "id": numbered_id,
        "user": user,
        "type": activity_type,
        **about,
        "date": f"{first_date + number * timedelta(minutes=17):%Y-%m-%dT%H:%M:%S}.250Z",
        "data": data,
        **more,
    }


def seeded_records() -> dict[str, dict[str, Any]]:
    """Return a new copy of the records of a fresh sandbox, by ID.

    - `60d5ec49b60b4b3a2c8f9a10`: the example of the reference page
    - `665d7d88b60b4b3a2c000001` to `665d7d88b60b4b3a2c000020`: the twenty types, in the order of the page
    - `665d7d88b60b4b3a2c000021`: a type and a field that the page does not list
    - `665d7d88b60b4b3a2c000022`: only an ID
    - `665d7d88b60b4b3a2c000023` to `665d7d88b60b4b3a2c000028`: records like real ones
    - `665d7d88b60b4b3a2c000029` to `665d7d88b60b4b3a2c000034`: records that break the contract, with null, a
      language map as `name`, an array as `data`, other types of `contextId` and `contextType`, and two wrong
      forms of `date`

    Source:
        https://docs.thrivelearning.com/apidocs/get-a-single-activity-record
    """
    departures: list[_Row] = [("viewed", _ADA, _VIDEO, {"duration": "742"}, one) for one in _DEPARTURES]
    rows = [*_ROWS, None, *_REAL_ROWS]
    records = [
        _REFERENCE_PAGE,
        *(_numbered_record(number, row) for number, row in enumerate(rows, start=1)),
        *(
            _numbered_record(number, row, _FIRST_DATE_OF_DEPARTURES)
            for number, row in enumerate(departures, start=len(rows) + 1)
        ),
    ]
    return {record["id"]: copy.deepcopy(record) for record in records}


#: The IDs of the records that break the contract.
DEPARTING_IDS = frozenset([*seeded_records()][-len(_DEPARTURES) :])

#: The form of the ID of a record.
ACTIVITY_ID = re.compile(r"[0-9a-fA-F]{24}")


def records_from_ndjson(lines: Iterable[bytes], name: str) -> dict[str, dict[str, Any]]:
    """Read records as `thrive activity export` writes them, one JSON object per line. Skip empty lines.

    Args:
        lines: The lines of the file, in UTF-8.
        name: The name of the file in messages.

    Returns:
        The records by ID, in the order of the file.

    Raises:
        ValueError: A line is not a record. The message has the file and the line.

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
            raise ValueError(f"{name}, line {number}: the ID {record_id} is already in line {first}")
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
        return "this is not a JSON object"
    if "id" not in record:
        return "the record has no 'id'"
    record_id: object = cast("dict[str, Any]", record)["id"]
    if not (isinstance(record_id, str) and ACTIVITY_ID.fullmatch(record_id)):
        return f"the ID {str(record_id)[:64]!r} is not 24 hexadecimal digits"
    return ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid in JSON")
