"""The failed IDs of an export: their lines in the file, which of them are final, and their counts. Pure."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from thrive_learning.cli.cells import visible_json
from thrive_learning.errors import ThriveError


class FailedId(NamedTuple):
    """The failure of an ID.

    Attributes:
        id: The ID as given.
        error: The class of the error.
        message: The message of the error.
        status: The HTTP status; None without a response.
        url: The URL that was requested; None if nothing was sent.
        retryable: Whether `--resume` fetches the ID again. It does not if the failure is final: the ID is not
            valid, or the API itself has no such record.
    """

    id: str
    error: str
    message: str
    status: int | None
    url: str | None
    retryable: bool

    @classmethod
    def of(cls, given: str, error: ThriveError) -> "FailedId":
        """Create the failure of an ID from its error."""
        return cls(
            given,
            type(error).__name__,
            str(error),
            getattr(error, "status_code", None),
            error.url,
            not error.is_final,
        )

    @classmethod
    def parsed(cls, line: bytes) -> "FailedId | None":
        """Parse a line; None if it is not valid, for example because it is incomplete."""
        if not line.endswith(b"\n"):
            return None
        try:
            failure = cls(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            return None
        kinds = (str, str, str, int | None, str | None, bool)
        is_valid = all(isinstance(field, kind) for field, kind in zip(failure, kinds, strict=True))
        return failure if is_valid else None

    def line(self) -> bytes:
        """Return the failure as one line of JSON."""
        return line_of(self._asdict())

    def is_final_at(self, base_url: str | None) -> bool:
        """Return whether the failure is final for an API.

        Args:
            base_url: The API's base URL. A response from another URL does not count.
        """
        return not self.retryable and (
            self.url is None or base_url is None or self.url.startswith(base_url.rstrip("/") + "/")
        )


def line_of(fields: dict[str, object]) -> bytes:
    """Return the facts about a failure as one line of JSON, in which nothing controls a terminal."""
    text = visible_json(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))
    return text.encode() + b"\n"


class FailureCounts:
    """How many IDs have failed, by the class of their error and the status.

    Attributes:
        total: The number of failures.
        retryable: How many of them `--resume` fetches again.
    """

    def __init__(self) -> None:
        self.total: int = 0
        self.retryable: int = 0
        self._kinds: dict[tuple[str, int | None, bool], tuple[int, FailedId]] = {}

    def add(self, failure: FailedId, count: int = 1) -> None:
        """Count a failure. The first of each kind is its example."""
        kind = failure.error, failure.status, failure.retryable
        before, example = self._kinds.get(kind, (0, failure))
        self._kinds[kind] = before + count, example
        self.total += count
        self.retryable += count * failure.retryable

    def update(self, others: "FailureCounts") -> None:
        """Add the counts of another run."""
        for count, example in others.kinds():
            self.add(example, count)

    def kinds(self) -> Iterator[tuple[int, FailedId]]:
        """Return the number of each kind with one example, the most frequent first."""
        return iter(sorted(self._kinds.values(), key=lambda kind: -kind[0]))
