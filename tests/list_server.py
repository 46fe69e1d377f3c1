"""An API that lists activity records, on loopback: newest first, and records may arrive while it is read."""

import bisect
import datetime as dt
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loopback_http import QuietHandler, serving_with, settings_for

#: The time of the first record.
BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TYPES = ("viewed", "completed", "loggedin")

# A page's answer: a status and a document, or None for what the server would say.
Hook = Callable[[int, dict[str, str]], "tuple[int, Any] | None"]


def record_of(number: int, milliseconds: int) -> dict[str, Any]:
    """A record: its number makes its ID and its type."""
    date = BEGIN + dt.timedelta(milliseconds=milliseconds)
    return {
        "id": f"{number:024x}",
        "type": TYPES[number % len(TYPES)],
        "user": f"{number % 97:024x}",
        "date": date.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "contextId": f"{number % 31:024x}",
        "contextType": "content",
        "data": {"n": number},
    }


class ListServer:
    """The records, and what was asked for.

    Attributes:
        count: How many records there are.
        requests: The query of each page that was asked for.
        changed: Is notified of each.
        hook: Is called before a page is answered.
    """

    def __init__(self, count: int, *, spacing_ms: int) -> None:
        # Oldest first: (milliseconds since BEGIN, number).
        self.records: list[tuple[int, int]] = [(number * spacing_ms, number) for number in range(count)]
        self.requests: list[dict[str, str]] = []
        self.changed = threading.Condition()
        self.hook: Hook | None = None
        self.environment: dict[str, str] = {}

    @property
    def count(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> set[str]:
        with self.changed:
            return {f"{number:024x}" for _, number in self.records}

    def add(self, at_ms: list[int]) -> None:
        """Let records arrive that are dated so."""
        with self.changed:
            for moment in at_ms:
                bisect.insort(self.records, (moment, len(self.records)))

    def arrive_late(self, draw: random.Random, count: int) -> None:
        """Let records arrive whose dates are among those of the others."""
        last = self.records[-1][0]
        self.add([draw.randint(0, last) for _ in range(count)])

    def wait_for(self, requests: int, timeout_s: float = 60) -> None:
        """Wait until so many pages were asked for."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= requests, timeout_s)

    def answer(self, query: dict[str, str]) -> tuple[int, Any]:
        page = int(query["page"])
        with self.changed:
            self.requests.append(query)
            self.changed.notify_all()
        if self.hook is not None and (found := self.hook(page, query)) is not None:
            return found
        return self.answered(query)

    def answered(self, query: dict[str, str]) -> tuple[int, Any]:
        """Return the status and the document for a query, without the hook."""
        page, per_page = int(query["page"]), int(query["perPage"])
        with self.changed:
            low = bisect.bisect_left(self.records, (_milliseconds(query.get("timestampFrom"), 0), -1))
            high = bisect.bisect_left(self.records, (_milliseconds(query.get("timestampTo"), 10**18), -1))
            begin = high - page * per_page
            if not {"actions", "omitActions", "contentIds"} & query.keys():
                wanted = self.records[max(begin, low) : max(begin + per_page, low)]
                wanted.reverse()
                total = high - low
            else:
                passing = [one for one in reversed(self.records[low:high]) if _passes(one[1], query)]
                wanted = passing[(page - 1) * per_page : page * per_page]
                total = len(passing)
        pagination = {
            "totalResults": total,
            "totalPages": -(-total // per_page),
            "page": page,
            "perPage": per_page,
        }
        return 200, {"pagination": pagination, "results": [record_of(number, at) for at, number in wanted]}


def _passes(number: int, query: dict[str, str]) -> bool:
    record = record_of(number, 0)
    return (
        ("actions" not in query or record["type"] in query["actions"].split(","))
        and ("omitActions" not in query or record["type"] not in query["omitActions"].split(","))
        and ("contentIds" not in query or record["contextId"] in query["contentIds"].split(","))
    )


def _milliseconds(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    at = dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC)
    return (at - BEGIN) // dt.timedelta(milliseconds=1)


@contextmanager
def listing(count: int, *, spacing_ms: int = 1000) -> Iterator[ListServer]:
    """Serve so many records on loopback."""
    served = ListServer(count, spacing_ms=spacing_ms)

    class Handler(QuietHandler):
        def get(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            status, document = served.answer(query)
            self.respond(status, json.dumps(document).encode())

    with serving_with(Handler) as url:
        served.environment = settings_for(url)
        yield served
