"""The plan of an export by a cluster: its query, and the window of time of each part."""

import datetime as dt
import json
import re
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from thrive_learning._cluster.reading import Part
from thrive_learning._cluster.windows import SECOND, Window
from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.journal import Head
from thrive_learning.cli.export.query import PeriodQuery, parse_stored_time, stamp
from thrive_learning.errors import ConfigurationError

_VERSION = 1

_MOST_OVERLAP = 1_000_000  # in seconds

#: The names of parts, of this and other plans.
PART_NAME = re.compile(r"part-\d{5,}-\d{8}T\d{6}Z-\d{8}T\d{6}Z-([0-9a-f]{8})\.parquet", re.ASCII)


class PlannedPart(NamedTuple):
    """One part of an export.

    Attributes:
        number: Its number, counted from 0.
        walk: Which of `ActivityFilters.walks` it belongs to.
        window: Its time.
    """

    number: int
    walk: int
    window: Window

    @property
    def period(self) -> str:
        """The period for messages."""
        return f"from {self.since:%Y-%m-%d %H:%M:%S} to {self.window.until:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def since(self) -> dt.datetime:
        """The beginning of the window, which has one because the period of an export has one."""
        return cast("dt.datetime", self.window.since)


class PartsPlan(NamedTuple):
    """The plan of an export.

    Attributes:
        id: 8 random hexadecimal digits, which the names of all its parts contain.
        origin: Where the records come from.
        query: Which records are exported.
        parts: The parts, in the order of time for each walk.
        most: The maximum number of records of a part when they were counted.
    """

    id: str
    origin: str
    query: PeriodQuery
    parts: tuple[PlannedPart, ...]
    most: int

    @classmethod
    def new(cls, origin: str, query: PeriodQuery, parts: Sequence[Part], most: int) -> "PartsPlan":
        """Create a plan.

        Args:
            origin: Where the records come from.
            query: Which records are exported, in the form that `stored_form` returns.
            parts: The parts of the period.
            most: The maximum number of records of a part when they were counted.
        """
        walks = query.filters.walks
        numbers = {walk._replace(since=None, until=None): number for number, walk in enumerate(walks)}
        planned = (
            PlannedPart(number, numbers[part.filters._replace(since=None, until=None)], part.window)
            for number, part in enumerate(parts)
        )
        return cls(secrets.token_hex(4), origin, query, tuple(planned), most)

    @property
    def head(self) -> Head:
        """The origin and the query as a journal stores them."""
        return Head(self.origin, self.query.document())

    @property
    def first_line(self) -> str:
        """The first line of the file, by which a worker recognizes the plan."""
        return f'{{"thrive_export_plan": {_VERSION}, "id": "{self.id}",'

    def part_name(self, part: PlannedPart) -> str:
        """Return the name of a part's file. A repeated part replaces its own file."""
        since, until = stamp(part.since), stamp(part.window.until)
        return f"part-{part.number:05}-{since}-{until}-{self.id}.parquet"

    def wanted(self, part: PlannedPart) -> Part:
        """Return which records a worker reads for a part."""
        return Part(self.query.filters.walks[part.walk], part.window)

    def text(self) -> str:
        """Return the text of the file."""
        parts = ",\n".join(json.dumps(_stored(part)) for part in self.parts)
        return (
            f"{self.first_line}\n"
            f'"origin": {json.dumps(self.origin)},\n'
            f'"query": {json.dumps(self.query.document())},\n'
            f'"records_per_part": {self.most},\n'
            f'"parts": [\n{parts}\n]}}\n'
        )

    @classmethod
    def parsed(cls, text: str) -> "PartsPlan":
        """Parse the text of a file.

        Raises:
            ConfigurationError: The text is not a plan of this version.
        """
        try:
            return cls._parsed(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise ConfigurationError("its plan cannot be read by this version")

    @classmethod
    def _parsed(cls, document: dict[str, Any]) -> "PartsPlan":
        if document["thrive_export_plan"] != _VERSION:
            raise ValueError("another version")
        query = _query(document["query"])
        parts = tuple(_planned(number, values, query) for number, values in enumerate(document["parts"]))
        plan = cls(
            str(document["id"]), str(document["origin"]), query, parts, int(document["records_per_part"])
        )
        if not all(PART_NAME.fullmatch(plan.part_name(part)) for part in parts):
            raise ValueError("an ID that is not valid")
        return plan


def _stored(part: PlannedPart) -> tuple[object, ...]:
    window = part.window
    overlap = window.overlap // SECOND
    return part.walk, part.since.isoformat(), window.until.isoformat(), window.records, overlap


def _planned(number: int, values: list[Any], query: PeriodQuery) -> PlannedPart:
    walk, since_text, until_text, records, overlap = values
    since, until = parse_stored_time(since_text), parse_stored_time(until_text)
    if (
        not 0 <= walk < len(query.filters.walks)
        or not isinstance(records, int | None)
        or not 1 <= overlap <= _MOST_OVERLAP
    ):
        raise ValueError("a part that is not valid")
    return PlannedPart(
        number,
        walk,
        Window(since, until, since == query.since, until == query.until, records, overlap=overlap * SECOND),
    )


def stored_form(query: PeriodQuery) -> PeriodQuery:
    """Return a query in the form in which a plan stores it, with its content IDs in order."""
    return _query(query.document())


def _query(document: dict[str, Any]) -> PeriodQuery:
    filters = ActivityFilters(
        types=tuple(document["types"]),
        omit_types=tuple(document["omit_types"]),
        content_ids=tuple(document["content_ids"]),
        content_type=cast("str | None", document["content_type"]),
        since=parse_stored_time(document["since"]),
        until=parse_stored_time(document["until"]),
    )
    return PeriodQuery(filters, document["since_asked"], document["until_asked"], int(document["per_page"]))
