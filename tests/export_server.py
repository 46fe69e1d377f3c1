"""An API on loopback for tests of exports, with a record for every ID and a count of requests."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from loopback_http import QuietHandler, serving_with, settings_for

#: The server's response for an ID: a status, and a JSON object.
Answer = Callable[[str], tuple[int, dict[str, Any]]]


def record_of(activity_id: str) -> dict[str, Any]:
    """A record, with another ID than was asked for where that ends in 7: the vendor's example does that."""
    number = int(activity_id[-6:], 16)
    return {
        "id": "f" * 24 if activity_id.endswith("7") else activity_id.lower(),
        "type": "viewed",
        "date": "2020-02-12T14:58:23.621Z",
        "data": {"asked": activity_id, "filling": "é" * (number * 37 % 3000)},
        "unknownField": number,
    }


class ExportServer(NamedTuple):
    """The server.

    Attributes:
        environment: The settings with which the command asks it.
        counts: How often each ID was asked for.
        changed: Is notified of each.
    """

    environment: dict[str, str]
    counts: Counter[str]
    changed: threading.Condition

    def wait_for(self, total: int, timeout_s: float = 60) -> None:
        """Wait until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.counts.total() >= total, timeout_s)


@contextmanager
def serving(answer: Answer | None = None) -> Iterator[ExportServer]:
    """Serve on loopback."""
    counts: Counter[str] = Counter()
    changed = threading.Condition()

    class Handler(QuietHandler):
        def get(self) -> None:
            activity_id = self.path.rpartition("/")[2]
            status, document = answer(activity_id) if answer else (200, record_of(activity_id))
            with changed:
                counts[activity_id] += 1
                changed.notify_all()
            self.respond(status, json.dumps(document).encode())

    with serving_with(Handler) as url:
        yield ExportServer(settings_for(url), counts, changed)
