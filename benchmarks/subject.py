"""The record that every contender fetches: the example of the vendor's reference page, and its URL."""

import base64
import datetime as dt
import json
from typing import Any

ACTIVITY_ID = "60d5ec49b60b4b3a2c8f9a10"
RECORD: dict[str, Any] = {
    "id": ACTIVITY_ID,
    "user": "60d5ec49b60b4b3a2c8f9a11",
    "type": "viewed",
    "date": "2020-02-12T14:58:23.621Z",
    "contextId": "64b6f4a8c2e4a1b9d3f2c4a0",
    "contextType": "content",
    "data": {"source": {"source": "feed"}, "duration": "3600"},
    "with": None,
}
#: The record's JSON in two parts, before and after the requested ID.
BEFORE_ID, AFTER_ID = json.dumps(RECORD, separators=(",", ":")).split(ACTIVITY_ID, 1)
API_PATH = "/rest/v1"
TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
TOKEN_ANSWER = json.dumps(
    {"access_token": "made-up", "token_type": "Bearer", "expires_in": 86400, "scope": "api/read"},
    separators=(",", ":"),
)
#: Counts connections, in the form of nginx's stub_status.
STATUS_PATH = "/status"
TENANT, SECRET = "eu-west-2_AbcdEfghI", "made-up-secret"
#: The HTTP Basic header of both. Contenders without credentials send it as a fixed header.
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(f"{TENANT}:{SECRET}".encode()).decode(),
    "Accept": "application/json",
}


#: The list that every contender walks through, and its number of records per page.
PAGES, PER_PAGE = 5, 1000


def page_text(number: int) -> str:
    """Return the JSON of a page. The last record of the last page is the record itself."""
    total = PAGES * PER_PAGE
    numbers = range(PER_PAGE * (number - 1), PER_PAGE * number)
    ids = [ACTIVITY_ID if index == total - 1 else f"{index:024x}" for index in numbers]
    page = {
        "pagination": {"totalResults": total, "totalPages": PAGES, "page": number, "perPage": PER_PAGE},
        "results": [{**RECORD, "id": activity_id} for activity_id in ids],
    }
    return json.dumps(page, separators=(",", ":"))


def many_ids(count: int) -> "map[str]":
    """Yield distinct IDs. A list of a million IDs would count as memory of the contender."""
    return map("{:024x}".format, range(count))


def mismatch(result: object) -> str | None:
    """Return how a contender's result differs from the record, or None.

    A result may lack fields that are null, and may have the date in another form.
    """
    found: Any = result if isinstance(result, dict) else getattr(result, "to_dict", dict)()
    expected = {name: value for name, value in RECORD.items() if value is not None}
    present = {name: value for name, value in found.items() if value is not None}
    for record in (expected, present):
        if isinstance(record.get("date"), str):
            record["date"] = dt.datetime.fromisoformat(record["date"])
    return None if present == expected else f"gave {found!r} instead of the record"
