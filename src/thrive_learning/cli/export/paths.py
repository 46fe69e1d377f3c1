"""Where the files of an export are, and the error when one of them cannot be written."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from thrive_learning.cli.regular_files import is_there
from thrive_learning.errors import ConfigurationError, ThriveError

_EXTENSIONS = {".ndjson", ".jsonl", ".json"}


class OutputError(ThriveError):
    """A file of the export cannot be written."""


class ExportPaths(NamedTuple):
    """Where the files of an export are: beside its output."""

    output: Path
    failures: Path
    journal: Path

    @classmethod
    def of(cls, output: Path) -> "ExportPaths":
        """Name them after the output."""
        stem = output.stem if output.suffix.lower() in _EXTENSIONS else output.name
        return cls(
            output, output.with_name(f"{stem}.failures.ndjson"), output.with_name(f"{output.name}.journal")
        )

    def check(self, *, resume: bool, force: bool) -> None:
        """Check whether an export can begin or go on there, before anything is created.

        Raises:
            ConfigurationError: It cannot.
            OutputError: The system does not tell.
        """
        with explained(self.output):
            if not self.output.parent.is_dir():
                raise ConfigurationError(
                    f"the folder {self.output.parent} does not exist. Create it, or name another output."
                )
            there = [path for path in self if is_there(path)]
        for path in (self.output, self.failures):
            if path in there and not (resume or force):
                raise ConfigurationError(
                    f"{path} already exists. Use --resume to continue or --force to overwrite."
                )


class ExportOrigin(NamedTuple):
    """Where records come from.

    Attributes:
        name: The region and the tenant. The records of two of them do not mix.
        url: The base URL of the API, which can be corrected; None for the embedded sandbox.
    """

    name: str
    url: str | None = None


@contextlib.contextmanager
def explained(path: Path) -> Generator[None, None, None]:
    """Turn an error of the system into one of ours."""
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        problem = f"{named} cannot be written: {error.strerror or error}"
    else:
        return
    raise OutputError(problem)
