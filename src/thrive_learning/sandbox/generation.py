"""Activity records made from their numbers alone, so that a million take no memory. Pure.

They look like real ones: dates with milliseconds, a `contentType` that no page lists, neither `name` nor
`with`, and members of `data` whose JSON types differ from record to record. Whatever the list can be filtered
by repeats after `CYCLE` numbers, so that no filter has to look at every record.
"""

import functools
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

#: After how many numbers types and content repeat.
CYCLE = 1000
#: What an ID has room for after its prefix: ten decimal digits.
LARGEST_NUMBER = 9_999_999_999
#: Generated records are dated from the first moment of this window to its last one, in Unix milliseconds.
FIRST_MS = int(datetime(2025, 7, 1, tzinfo=UTC).timestamp()) * 1000
END_MS = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp()) * 1000
_WINDOW_MS = END_MS - FIRST_MS
_SHARE = 1 << 32

# How many of `CYCLE` records have a type. The vendor does not list the last two, as with some real records.
_FREQUENCIES = {
    "viewed": 452,
    "loggedin": 110,
    "searched": 90,
    "completed": 80,
    "started": 60,
    "progressed": 55,
    "found": 45,
    "passed": 15,
    "liked": 14,
    "resumed": 10,
    "loggedout": 8,
    "commented": 6,
    "registered": 6,
    "shared": 5,
    "followed": 5,
    "pinned": 4,
    "unpinned": 3,
    "unliked": 3,
    "unfollowed": 2,
    "commentdeleted": 1,
    "answered": 25,
    "attempted": 1,
}
_STRIDE = 389  # has no divisor in common with `CYCLE`, so that types are mixed and each keeps its frequency
_WITHOUT_CONTEXT = {"loggedin", "loggedout", "searched"}
_OTHER_CONTEXTS = {"registered": "event", "followed": "tag", "unfollowed": "tag"}
_CONTENT_TYPES = ("video", "article", "elearning", "quiz", "podcast", "document", "link")
_CONTENTS = 120
_USERS = 5000

_SOURCES = ("feed", "search", "email", "campaign", "profile")
_WORDS = ("comets", "fire safety", "feedback", "time dilation", "onboarding", "Très clair", "安全")
_COMPLETIONS = ("automatic", "manual", "scorm")
_QUESTIONS = (
    {"en-GB": "What is close to the Sun?", "fr-FR": "Qu'est-ce qui est près du Soleil ?"},
    {"en-GB": "Which exit is the nearest?"},
    {"en-GB": "Who may open the valve?", "de-DE": "Wer darf das Ventil öffnen?"},
)
_CHOICES = (
    {"id": "a", "description": {"en-GB": "The first"}},
    {"id": "b", "description": {"en-GB": "The second", "de-DE": "Das zweite"}},
    {"id": "c", "description": {"en-GB": "The third"}},
)

_MASK = (1 << 64) - 1


class Series(Protocol):
    """Records with numbers from 1 on, whose dates never go down."""

    @property
    def prefix(self) -> str:
        """The first 14 digits of their IDs."""
        ...

    @property
    def count(self) -> int:
        """The largest number."""
        ...

    def date_ms(self, number: int) -> int:
        """Return the date of a record in Unix milliseconds."""
        ...

    def first_since(self, date_ms: int) -> int:
        """Return the first number dated at or after a moment; `count` + 1 if it is after all of them."""
        ...


@dataclass(frozen=True, slots=True)
class GeneratedSeries:
    """So many records, spread over one year: July 2025 to June 2026.

    Args:
        count: How many.
    """

    count: int
    prefix: str = "67748a80b60b4b"

    def date_ms(self, number: int) -> int:
        """Return the date of a record in Unix milliseconds."""
        # Each record has a share of the year of its own, and a moment within it.
        moment = (number - 1) * _SHARE + _mixed(number) % _SHARE
        return FIRST_MS + moment * _WINDOW_MS // (self.count * _SHARE)

    def first_since(self, date_ms: int) -> int:
        """Return the first number dated at or after a moment; `count` + 1 if it is after all of them."""
        number = (date_ms - FIRST_MS) * self.count // _WINDOW_MS + 1  # whose share holds the moment
        if not 1 <= number <= self.count:
            return 1 if number < 1 else self.count + 1
        return number if self.date_ms(number) >= date_ms else number + 1


@dataclass(frozen=True, slots=True)
class ArrivedSeries:
    """Records that arrived while the sandbox was in use, dated when they arrived.

    Args:
        dates_ms: The moments, which never go down.
    """

    dates_ms: tuple[int, ...]
    prefix: str = "67748a80b60b4c"

    @property
    def count(self) -> int:
        """The largest number."""
        return len(self.dates_ms)

    def date_ms(self, number: int) -> int:
        """Return the date of a record in Unix milliseconds."""
        return self.dates_ms[number - 1]

    def first_since(self, date_ms: int) -> int:
        """Return the first number dated at or after a moment; `count` + 1 if it is after all of them."""
        return bisect_left(self.dates_ms, date_ms) + 1


#: The first 14 digits of the IDs of records that arrived with a date in the past.
LATE_PREFIX = "67748a80b60b4d"


def late_date_ms(number: int) -> int:
    """Return the date of a record that arrived late: anywhere in the year of the generated ones."""
    return FIRST_MS + _mixed(number) % _WINDOW_MS


def numbered_id(prefix: str, number: int) -> str:
    """Return the ID of a record, in decimal digits, so that people can read its number."""
    return f"{prefix}{number:010}"


def number_in(record_id: str, prefix: str, count: int) -> int | None:
    """Return the number that an ID stands for, from 1 to `count`; None for any other ID."""
    digits = record_id.removeprefix(prefix)
    if len(digits) != 24 - len(prefix) or not (digits.isascii() and digits.isdecimal()):
        return None
    return int(digits) if 1 <= int(digits) <= count else None


@functools.cache
def templates() -> tuple[Mapping[str, Any], ...]:
    """Return what the list can be filtered by, for each remainder of a number after 1 divided by `CYCLE`."""
    types = [name for name, count in _FREQUENCIES.items() for _ in range(count)]
    return tuple(
        {"type": types[index * _STRIDE % CYCLE], **_context(types[index * _STRIDE % CYCLE], _mixed(index))}
        for index in range(CYCLE)
    )


def made_record(record_id: str, number: int, date_ms: int) -> dict[str, Any]:
    """Make a record.

    Args:
        record_id: Its ID.
        number: Decides on everything but the ID and the date.
        date_ms: Its date in Unix milliseconds.
    """
    bits = _mixed(number)
    template = templates()[(number - 1) % CYCLE]
    date = _date(date_ms)
    return {
        "id": record_id,
        "user": f"64b6f4a8c2e4a1{bits % _USERS:010}",
        **template,
        "date": date,
        "data": _data(template["type"], bits >> 13, date),
    }


def _context(activity_type: str, bits: int) -> dict[str, Any]:
    if activity_type in _WITHOUT_CONTEXT:
        return {}
    # The smaller of two numbers, so that some content is far more popular than other.
    index = min(bits % _CONTENTS, (bits >> 20) % _CONTENTS)
    if activity_type == "answered":
        index -= index % len(_CONTENT_TYPES) - _CONTENT_TYPES.index("quiz")
    other = _OTHER_CONTEXTS.get(activity_type)
    return {
        "contextId": f"64c10000b60b4b3a{_CONTENT_KINDS[other]}{index:06}",
        "contextType": other or "content",
        "contentType": other or _CONTENT_TYPES[index % len(_CONTENT_TYPES)],
    }


_CONTENT_KINDS = {None: "2c", "event": "2d", "tag": "2e"}


def _data(activity_type: str, bits: int, date: str) -> dict[str, Any]:
    """Return `data` of a type. The same member is text in one record and a number in another."""
    data: dict[str, Any]
    match activity_type:
        case "viewed" | "started" | "resumed":
            data = {"duration": str(bits % 3600), "source": _SOURCES[bits % len(_SOURCES)]}
            if bits % 4 == 0:
                data["tagName"] = _WORDS[bits % len(_WORDS)]
        case "progressed":
            percentage = bits % 1000 / 10
            data = {"progresspercentage": str(percentage) if bits & 1 else percentage, "completion": False}
        case "completed":
            data = {
                "completiontype": _COMPLETIONS[bits % len(_COMPLETIONS)],
                "completedDate": date,
                "completion": True,
                "version": bits % 7 + 1,
                "skillBoosts": [{"skill": _WORDS[bits % len(_WORDS)], "level": bits % 5}][: bits % 2],
            }
        case "passed":
            score = bits % 51 + 50
            data = {"score": score, "scaled": score / 100, "minScore": 0, "maxScore": 100, "success": True}
        case "searched" | "found":
            word = _WORDS[bits % len(_WORDS)]
            data = {"search": word, "discover": "all", "searchresults": str(bits % 90)}
        case "answered" | "attempted":
            answer = _CHOICES[bits % len(_CHOICES)]["id"]
            data = {
                "name": _QUESTIONS[bits % len(_QUESTIONS)],
                "description": {"en-GB": "One answer is right."},
                "interactionType": "choice",
                "choices": _CHOICES,
                "correctResponsesPattern": ["a"],
                "response": answer,
                "success": answer == "a",
                "score": int(answer == "a"),
                "registration": f"{bits & 0xFFFFFFFF:08x}-6a8e-4a0c-9d4b-1f2e3d4c5b6a",
            }
        case _:
            data = {"source": _SOURCES[bits % len(_SOURCES)]} if bits & 1 else {}
    return data


def _date(date_ms: int) -> str:
    seconds, milliseconds = divmod(date_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{milliseconds:03}Z"


def _mixed(number: int) -> int:
    """Return 64 bits that look random and depend on the number alone.

    Source:
        SplitMix64: https://prng.di.unimi.it/splitmix64.c
    """
    bits = number * 0x9E3779B97F4A7C15 & _MASK
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
    return bits ^ bits >> 31
