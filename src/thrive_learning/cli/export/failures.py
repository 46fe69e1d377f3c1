"""IDs of an export that failed: what is written of each, which are final, how many of each kind. Pure."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from thrive_learning.cli.cells import visible_json
from thrive_learning.errors import ThriveError


class FailedId(NamedTuple):
    """What is known of an ID that failed.

    Attributes:
        id: The ID as given.
        error: The class of the error.
        message: What happened and what to do next.
        status: The HTTP status; None without a response.
        url: The URL that was requested; None if nothing was sent.
        retryable: Whether `--resume` fetches the ID again. It does unless the failure is about this ID, and
            no later request would change it: the ID is not valid, or the API itself has no such record.
    """

    id: str
    error: str
    message: str
    status: int | None
    url: str | None
    retryable: bool

    @classmethod
    def of(cls, given: str, error: ThriveError) -> "FailedId":
        """Describe the failure of an ID."""
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
        """Parse a line; None if it is not valid, such as a torn one."""
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
        """Return it as one line of JSON."""
        fields = self._asdict()
        text = visible_json(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))
        return text.encode() + b"\n"

    def is_final_at(self, base_url: str | None) -> bool:
        """Return whether no request to an API would change it.

        Args:
            base_url: The API's base URL. What another URL says of an ID says nothing about this one.
        """
        return not self.retryable and (
            self.url is None or base_url is None or self.url.startswith(base_url.rstrip("/") + "/")
        )


class FailureCounts:
    """How many IDs have failed, by the class of their error and the status.

    Attributes:
        total: How many there are.
        retryable: How many of them `--resume` fetches again.
    """

    def __init__(self) -> None:
        self.total: int = 0
        self.retryable: int = 0
        self._kinds: dict[tuple[str, int | None, bool], tuple[int, FailedId]] = {}

    def add(self, failure: FailedId, count: int = 1) -> None:
        """Count a failure, which is the example of its kind if it is the first."""
        kind = failure.error, failure.status, failure.retryable
        before, example = self._kinds.get(kind, (0, failure))
        self._kinds[kind] = before + count, example
        self.total += count
        self.retryable += count * failure.retryable

    def update(self, others: "FailureCounts") -> None:
        """Count those of another run as well."""
        for count, example in others.kinds():
            self.add(example, count)

    def kinds(self) -> Iterator[tuple[int, FailedId]]:
        """Return the number of each kind with one example, the most frequent first."""
        return iter(sorted(self._kinds.values(), key=lambda kind: -kind[0]))
