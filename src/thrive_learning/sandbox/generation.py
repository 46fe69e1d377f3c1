"""Activity records that are generated from their numbers, so that a million take no memory. Pure.

They look like real records: dates with milliseconds, an undocumented `contentType`, no `name` or `with`, and
members of `data` whose JSON types differ between records. All fields that the list can filter by repeat after
`CYCLE` numbers, so that a filter need not examine every record.
"""

import functools
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

#: The number of records after which types and content repeat.
CYCLE = 1000
#: The largest number that fits into an ID after its prefix: ten decimal digits.
LARGEST_NUMBER = 9_999_999_999
#: Generated records are dated from the first moment of this window to its last one, in Unix milliseconds.
FIRST_MS = int(datetime(2025, 7, 1, tzinfo=UTC).timestamp()) * 1000
END_MS = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp()) * 1000
_WINDOW_MS = END_MS - FIRST_MS
_SHARE = 1 << 32

# How many of `CYCLE` records have each type. Like some real types, the vendor does not list the last two.
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
_STRIDE = 389  # coprime with `CYCLE`, so that types are mixed and each keeps its frequency
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


@dataclass(frozen=True, slots=True)
class GeneratedSeries:
    """Records with numbers from 1, spread over one year, from July 2025 to June 2026.

    Args:
        count: The number of records.
        prefix: The first 14 digits of their IDs.
    """

    count: int
    prefix: str = "67748a80b60b4b"

    def date_ms(self, number: int) -> int:
        """Return the date of a record in Unix milliseconds."""
        # The year is divided into equal shares, and each record is dated within its share.
        moment = (number - 1) * _SHARE + _mixed(number) % _SHARE
        return FIRST_MS + moment * _WINDOW_MS // (self.count * _SHARE)

    def first_since(self, date_ms: int) -> int:
        """Return the first number dated at or after a moment; `count` + 1 if all are earlier."""
        number = (date_ms - FIRST_MS) * self.count // _WINDOW_MS + 1  # whose share contains the moment
        if not 1 <= number <= self.count:
            return 1 if number < 1 else self.count + 1
        return number if self.date_ms(number) >= date_ms else number + 1


@dataclass(frozen=True, slots=True)
class ArrivedSeries:
    """Records that arrived while the sandbox was in use, dated at that time. See `GeneratedSeries`.

    Args:
        dates_ms: The dates, in ascending order.
        prefix: The first 14 digits of their IDs.
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
        """Return the first number dated at or after a moment; `count` + 1 if all are earlier."""
        return bisect_left(self.dates_ms, date_ms) + 1


#: Records with numbers from 1, in ascending order of date.
Series: TypeAlias = GeneratedSeries | ArrivedSeries

#: The first 14 digits of the IDs of records that arrived with a date in the past.
LATE_PREFIX = "67748a80b60b4d"


def late_date_ms(number: int) -> int:
    """Return the date of a late record, which is in the same year as generated ones."""
    return FIRST_MS + _mixed(number) % _WINDOW_MS


def numbered_id(prefix: str, number: int) -> str:
    """Return the ID of a record, which has its number in decimal digits for readability."""
    return f"{prefix}{number:010}"


def number_in(record_id: str, prefix: str, count: int) -> int | None:
    """Return the number in an ID, from 1 to `count`; None for any other ID."""
    digits = record_id.removeprefix(prefix)
    if len(digits) != 24 - len(prefix) or not (digits.isascii() and digits.isdecimal()):
        return None
    return int(digits) if 1 <= int(digits) <= count else None


@functools.cache
def templates() -> tuple[Mapping[str, Any], ...]:
    """Return the fields that the list can filter by, for each remainder of (number - 1) by `CYCLE`."""
    types = [name for name, count in _FREQUENCIES.items() for _ in range(count)]
    return tuple(
        {"type": types[index * _STRIDE % CYCLE], **_context(types[index * _STRIDE % CYCLE], _mixed(index))}
        for index in range(CYCLE)
    )


def made_record(record_id: str, number: int, date_ms: int) -> dict[str, Any]:
    """Return a generated record.

    Args:
        record_id: The ID.
        number: The number, which determines all fields except the ID and the date.
        date_ms: The date in Unix milliseconds.
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
    # The smaller of two numbers, so that some content is far more popular than the rest.
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
    """Return `data` for a type. A member can be a string in one record and a number in another."""
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
    """Return 64 pseudorandom bits that depend only on the number.

    Source:
        SplitMix64: https://prng.di.unimi.it/splitmix64.c
    """
    bits = number * 0x9E3779B97F4A7C15 & _MASK
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
    return bits ^ bits >> 31
