"""The folder of an export by a cluster: its plan, its parts, and its lock.

The parts are in the folder itself. Everything else is in `_thrive`, which DuckDB, pandas, and Spark ignore.
"""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from thrive_learning.cli.export.cluster.parts import PartFacts, is_intact, part_facts, plan_path
from thrive_learning.cli.export.cluster.plan import PART_NAME, PartsPlan, PlannedPart
from thrive_learning.cli.export.failures import line_of
from thrive_learning.cli.export.journal import Head, difference
from thrive_learning.cli.export.paths import WORK_FOLDER, explained
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.cli.regular_files import (
    create,
    is_at,
    is_folder,
    is_there,
    make_folder,
    open_regular,
    open_to_read,
    remove,
    remove_incomplete,
    replacing,
)
from thrive_learning.errors import ConfigurationError

_LOCK_NAME = "lock"


class PartFailure(NamedTuple):
    """A part that could not be written.

    Attributes:
        period: The period of its window.
        error: The class of the error.
        message: The message of the error.
        status: The HTTP status; None without a response.
        url: The URL that was requested; None if nothing was sent.
    """

    period: str
    error: str
    message: str
    status: int | None
    url: str | None

    @classmethod
    def of(cls, period: str, error: BaseException) -> "PartFailure":
        """Create the failure of a part from its error."""
        return cls(
            period,
            type(error).__name__,
            str(error),
            getattr(error, "status_code", None),
            getattr(error, "url", None),
        )


class PartFolder:
    """The folder of an export.

    Args:
        path: The folder, which need not exist.

    Attributes:
        name: The folder as the user wrote it, for messages.
        path: The folder, as an absolute path, because workers have another current folder.
        work: The folder inside it for everything but the parts.
        failures: The file of the parts that failed.
    """

    def __init__(self, path: Path) -> None:
        self.name: Path = path
        self.path: Path = path.absolute()
        self.work: Path = self.path / WORK_FOLDER
        self._plan = plan_path(self.path)
        self._shown_plan = plan_path(path)
        self.failures: Path = path / WORK_FOLDER / "failures.ndjson"

    def check(self, *, resume: bool, force: bool) -> None:
        """Check whether an export can begin or continue there, without creating anything.

        Raises:
            ConfigurationError: The export cannot begin or continue.
            OutputError: The folder cannot be examined.
        """
        with explained(self.path):
            is_folder(self.work)
            others = next(self._others(), None)
            if others is not None:
                raise ConfigurationError(
                    f"{self.name} contains {others}, which programs would read with the export. Choose an "
                    "empty folder."
                )
            has_plan, has_parts = is_there(self._plan), bool(self._parts())
        if resume and has_parts and not has_plan:
            raise ConfigurationError(
                f"cannot resume {self.name}: its plan ({self._shown_plan}) is missing. Use --force to "
                "replace the export, or choose another folder."
            )
        if (has_plan or has_parts) and not (resume or force):
            raise ConfigurationError(
                f"{self.name} already contains an export. Use --resume to continue or --force to replace it."
            )

    def _others(self) -> Iterator[str]:
        """Yield the names of files that are not part of an export by a cluster."""
        if (self.work / "records").exists() or (self.work / "records.journal").exists():
            yield "an export with --partition-by"
        for path in self.path.iterdir() if self.path.exists() else ():
            if not path.name.startswith((".", "_")) and not PART_NAME.fullmatch(path.name):
                yield path.name

    def _parts(self) -> list[Path]:
        return [path for path in self.path.glob("part-*.parquet") if PART_NAME.fullmatch(path.name)]

    @contextlib.contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Create the folder, and lock it against other commands within a block.

        Raises:
            ConfigurationError: Another command is writing the folder.
            OutputError: The folder cannot be created.
        """
        from filelock import lock_descriptor  # noqa: PLC0415 - of the extra `cli`, needed only for exports

        path = self.work / _LOCK_NAME
        with contextlib.ExitStack() as opened:
            with explained(path):
                created = [folder for folder in (self.path, self.work) if make_folder(folder)]
                try:
                    lock = create(path)
                    created.append(path)
                except FileExistsError:
                    lock = open_regular(path)
                opened.enter_context(lock)
                # Another command may have removed it between the two.
                is_locked = lock_descriptor(lock.fileno(), blocking=False) and is_at(lock, path)
            if not is_locked:
                raise ConfigurationError(
                    f"another export is writing {self.name}. Wait for it to finish, or choose another folder."
                )
            try:
                yield
            finally:
                self._remove_if_unused(created)

    def _remove_if_unused(self, created: list[Path]) -> None:
        """Remove what an export has created that ended before its plan."""
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            if not self._plan.exists():
                for path in reversed(created):
                    path.unlink() if path.name == _LOCK_NAME else path.rmdir()

    def load(self) -> PartsPlan | None:
        """Return the plan; None before the first export.

        Raises:
            ConfigurationError: The file is not a plan of this version.
            OutputError: The file cannot be read.
        """
        with explained(self._plan, "read"):
            if not is_there(self._plan):
                return None
            with open_to_read(self._plan) as file:
                text = file.read().decode(errors="replace")
        try:
            return PartsPlan.parsed(text)
        except ConfigurationError as error:
            problem = str(error)
        raise self._cannot_resume(problem)

    def _cannot_resume(self, problem: str) -> ConfigurationError:
        return ConfigurationError(
            f"cannot resume {self.name}: {problem} (see {self._shown_plan}). Repeat the original command "
            "with --resume, choose another folder, or use --force to replace the export."
        )

    def resumed(self, origin: str, query: PeriodQuery) -> PartsPlan | None:
        """Return the plan that a command continues; None before the first export.

        Args:
            origin: Where the records of the command come from.
            query: The query of the command. The period of `--since 7d` is still that of the plan.

        Raises:
            ConfigurationError: The plan is that of another export.
            OutputError: The plan cannot be read.
        """
        plan = self.load()
        if plan is None:
            return None
        wanted = Head(origin, query.resuming(plan.query.document()).document())
        if wanted != plan.head:
            raise self._cannot_resume(difference(plan.head, wanted))
        return plan

    def begin(self, plan: PartsPlan, *, is_new: bool) -> None:
        """Save a new plan, and remove files of other plans and of workers that were killed.

        Raises:
            OutputError: The folder cannot be written.
        """
        with explained(self.path):
            if is_new:  # first, because workers of another plan stop when they see it
                with replacing(self._plan) as file:
                    file.write(plan.text().encode())
            remove(self.failures)
            remove_incomplete(self.work)
            for path in self._parts():
                if not path.name.endswith(f"-{plan.id}.parquet"):
                    remove(path)

    def tidy(self) -> None:
        """Remove the incomplete files of workers that were killed.

        Raises:
            OutputError: A file cannot be removed.
        """
        with explained(self.work):
            remove_incomplete(self.work)

    def complete(self, plan: PartsPlan) -> dict[PlannedPart, PartFacts]:
        """Return the parts that are complete. The file of an incomplete or damaged part is removed.

        Raises:
            OutputError: A part cannot be read.
        """
        found: dict[PlannedPart, PartFacts] = {}
        with explained(self.path):
            for part in plan.parts:
                path = self.path / plan.part_name(part)
                facts = part_facts(path)
                if facts is None or not is_intact(path):
                    remove(path)
                else:
                    found[part] = facts
        return found

    def write_failures(self, failures: list[PartFailure]) -> None:
        """Write the failures of a run to their file.

        Raises:
            OutputError: The file cannot be written.
        """
        with explained(self.failures), replacing(self.failures) as file:
            for failure in failures:
                file.write(line_of(failure._asdict()))
