"""A change of what users rely on, and how much it means for the version."""

import enum
from typing import NamedTuple


class Impact(enum.IntEnum):
    """The importance of a change for callers. A higher one needs a higher version."""

    HARMLESS = 0
    ADDITION = 1
    BREAKING = 2


class Change(NamedTuple):
    """One change.

    Attributes:
        where: What changed, such as `ThriveClient.check` or `GET /activity/{id}, status 200`.
        what: How it changed, which completes a sentence that begins with `where`.
        impact: What it means for callers.
    """

    where: str
    what: str
    impact: Impact

    def __str__(self) -> str:
        return f"{self.impact.name.lower():8}  {self.where} {self.what}"
