"""The paths of the files of an export, and the error if one of them cannot be written."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from thrive_learning.cli.regular_files import is_there
from thrive_learning.errors import ConfigurationError, ThriveError

#: The folder inside an output folder for files that are not part of the result.
WORK_FOLDER = "_thrive"

#: The plan of an export by a cluster, in that folder.
PLAN_NAME = "plan.json"

_EXTENSIONS = {".ndjson", ".jsonl", ".json"}


class OutputError(ThriveError):
    """A file of the export cannot be read or written."""


class ExportPaths(NamedTuple):
    """The paths of the files of an export, which are beside its output."""

    output: Path
    failures: Path
    journal: Path

    @classmethod
    def of(cls, output: Path) -> "ExportPaths":
        """Return the paths for an output."""
        stem = output.stem if output.suffix.lower() in _EXTENSIONS else output.name
        return cls(
            output, output.with_name(f"{stem}.failures.ndjson"), output.with_name(f"{output.name}.journal")
        )

    def check(self, *, resume: bool, force: bool) -> None:
        """Check whether an export can begin or continue there, before anything is created.

        Raises:
            ConfigurationError: The export cannot begin or continue.
            OutputError: The files cannot be examined.
        """
        with explained(self.output):
            if not self.output.parent.is_dir():
                raise ConfigurationError(
                    f"the folder {self.output.parent} does not exist. Create it, or choose another output."
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
        name: The region and the tenant. One export has records of only one tenant in one region.
        url: The base URL of the API; None for the embedded sandbox.
    """

    name: str
    url: str | None = None


@contextlib.contextmanager
def explained(path: Path, action: str = "write") -> Generator[None, None, None]:
    """Convert an `OSError` to an `OutputError`.

    Args:
        path: The path for the message, if the error has no path.
        action: What failed, as a verb for the message.
    """
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        problem = f"cannot {action} {named}: {error.strerror or error}"
    else:
        return
    raise OutputError(problem)
