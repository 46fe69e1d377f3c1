"""The destination of an export of a period: a file, a table, a folder of parts for each day, or a stream."""

import contextlib
import importlib
from pathlib import Path
from typing import Any, NamedTuple, cast

from thrive_learning.cli.export import tables
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.journal import head_of
from thrive_learning.cli.export.output import Output, output_of
from thrive_learning.cli.export.partitions import day_folders, folder_of, parts_of, publish, records_of
from thrive_learning.cli.export.paths import PLAN_NAME, WORK_FOLDER, ExportPaths, explained
from thrive_learning.cli.export.run import checked_paths
from thrive_learning.cli.regular_files import (
    is_folder,
    is_there,
    make_folder,
    open_to_read,
    remove,
    sync_folder,
)
from thrive_learning.errors import ConfigurationError


class Destination(NamedTuple):
    """The destination of an export.

    Attributes:
        output: The file of the records, and the table that they are converted to, if any.
        folder: The folder of the parts; None without parts.
    """

    output: Output
    folder: Path | None

    @classmethod
    def of(cls, name: str, form: str | None, *, by_day: bool) -> "Destination":
        """Return the destination for the value of `-o`.

        Raises:
            ConfigurationError: The destination cannot be written.
        """
        if not by_day:
            return cls(output_of(name, form), None)
        folder = folder_of(name)
        return cls(Output(records_of(folder), None, form or "parquet"), folder)

    @property
    def result(self) -> Path | None:
        """The table, or the folder of the parts; None if the records are the result."""
        return self.folder or self.output.table

    def check(self, *, resume: bool, force: bool, has_state: bool) -> ExportPaths | None:
        """Check whether an export can begin or continue there, and return its files; None for a stream.

        Raises:
            ConfigurationError: The export cannot begin or continue.
            click.UsageError: A stream cannot be resumed, or a table already exists.
        """
        if has_state and not (resume or force or self.folder):
            self._check_is_new()
        if self.folder is None:
            return checked_paths(self.output, resume=resume, force=force)
        if self.output.form != "ndjson":
            # A missing package must be reported before anything is fetched.
            importlib.import_module("pyarrow")
        paths = ExportPaths.of(records_of(self.folder))
        with explained(self.folder):
            is_folder(self.folder / WORK_FOLDER)
            has_journal = is_there(paths.journal)
            # A run with a state only adds parts, so folders of earlier days may be links.
            has_parts = not has_state and bool([*parts_of(self.folder)])
            has_other_plan = is_there(self.folder / WORK_FOLDER / PLAN_NAME)
        if has_other_plan:
            raise ConfigurationError(f"{self.folder} contains an export with --dask. Choose another folder.")
        if has_state:
            self._check_journal(paths, has_journal=has_journal)
        elif not force and (has_parts or has_journal) and not (resume and has_journal):
            to_continue = "" if resume else "--resume to continue or "
            raise ConfigurationError(
                f"{self.folder} already contains an export. Use {to_continue}--force to replace it."
            )
        return paths

    def _check_is_new(self) -> None:
        """Raise if the output exists: each run of a scheduled job must write a new file."""
        for path in (self.output.table, self.output.records):
            if isinstance(path, Path) and path.exists():
                raise ConfigurationError(
                    f"{path} already exists, but each run with --state needs a new output. Add {{until}} to "
                    "its name, as in -o 'records-{until}.ndjson', or use --force to overwrite."
                )

    def _check_journal(self, paths: ExportPaths, *, has_journal: bool) -> None:
        query = stored_query(paths) if has_journal else None
        if query is not None and not query.get("has_state"):
            raise ConfigurationError(
                f"{self.folder} contains an export without --state. Choose another folder."
            )

    def prepare(self) -> None:
        """Create the folder, if the destination is one."""
        if self.folder is not None:
            with explained(self.folder):
                make_folder(self.folder)
                make_folder(self.folder / WORK_FOLDER)

    def finish(
        self, tag: str, *, is_spreadsheet_safe: bool, has_state: bool
    ) -> tuple[int | None, int | None]:
        """Convert the records to the result, and return the number of rows and of parts, if any.

        This can be repeated: the same records give the same result.
        """
        form = self.output.form
        if self.folder is not None:
            return publish(
                self.folder, form, tag, is_spreadsheet_safe=is_spreadsheet_safe, keep_others=has_state
            )
        if self.output.table is None:
            return None, None
        records = cast("Path", self.output.records)  # a stream has no table
        return tables.convert(records, self.output.table, form, is_spreadsheet_safe=is_spreadsheet_safe), None

    def sync(self, paths: ExportPaths) -> None:
        """Flush the entries of the folders to disk."""
        sync_folder(paths.output.parent)
        if self.folder is not None:
            for folder in (*day_folders(self.folder), self.folder, self.folder.parent):
                sync_folder(folder)

    def remove_work(self, files: ExportFiles) -> None:
        """Remove files that only a resumed run needs, after the state was saved."""
        with contextlib.suppress(ConfigurationError, OSError):  # the next run removes it
            if self.result is not None:
                files.remove_output()
            remove(files.paths.journal)


def stored_query(paths: ExportPaths) -> dict[str, Any] | None:
    """Return the query that an export began with; None if it cannot be read."""
    with contextlib.suppress(ConfigurationError, OSError):
        if is_there(paths.journal):
            with open_to_read(paths.journal) as file:
                head = head_of(file)
            return None if head is None else head.query
    return None
