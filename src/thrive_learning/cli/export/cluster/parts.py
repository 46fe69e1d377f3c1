"""Write and verify the file of a part. Workers import this module, so it needs no extra but `dask`."""

import importlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from thrive_learning._cluster.clients import ClientSource, client_of
from thrive_learning._cluster.reading import LeftOut, Part, plan_parts, read_part
from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.paths import PLAN_NAME, WORK_FOLDER, OutputError, explained
from thrive_learning.cli.regular_files import create, is_there, open_to_read, replacing
from thrive_learning.errors import ThriveError

_KEY = b"thrive_export"  # in the metadata of a part
_TAIL_BYTES = 8  # the length of the footer, and the name of the format


class PartFacts(NamedTuple):
    """The metadata of a complete part.

    Attributes:
        rows: The number of records.
        unreadable: The number of items that were left out because they have no ID.
        missing: The number of records that the server counted, but that were on no page.
    """

    rows: int
    unreadable: int
    missing: int


class PartTask(NamedTuple):
    """The task of a worker that writes a part.

    Attributes:
        source: Where the client comes from.
        part: Which records to read.
        path: The file.
        plan: The first line of the plan's file.
        per_page: The number of records per request.
    """

    source: ClientSource
    part: Part
    path: Path
    plan: str
    per_page: int

    def run(self) -> None:
        """Write the part, unless it is already complete.

        The part appears whole or not at all, and only while the folder has the same plan.

        Raises:
            OutputError: The folder is not visible here, has another plan, or cannot be written.
            ThriveError: The records cannot be read.
        """
        path = self.path
        check_plan(path.parent, self.plan)
        if part_facts(path) is not None:  # of a worker that was killed afterwards
            return
        left_out: list[LeftOut] = []
        table: Any = read_part(
            client_of(self.source), self.part, per_page=self.per_page, on_left_out=left_out.append
        )
        [counts] = left_out
        facts = {"part": path.name, **PartFacts(table.num_rows, *counts)._asdict()}
        table = table.replace_schema_metadata({_KEY: json.dumps(facts)})
        with explained(path), replacing(path, folder=path.parent / WORK_FOLDER) as file:
            importlib.import_module("pyarrow.parquet").write_table(table, file, write_page_checksum=True)
            check_plan(path.parent, self.plan)
        try:  # another export may have begun, and removed the parts of this one, before this part appeared
            check_plan(path.parent, self.plan)
        except ThriveError:
            path.unlink(missing_ok=True)
            raise


class CountTask(NamedTuple):
    """The task of a worker that divides a period.

    Attributes:
        source: Where the client comes from.
        filters: Which records are exported.
        most: The maximum number of records per part.
        per_page: The number of records per request.
    """

    source: ClientSource
    filters: ActivityFilters
    most: int
    per_page: int

    def run(self) -> list[Part]:
        """Count the records, and return the parts.

        Raises:
            ThriveError: The records cannot be counted.
        """
        return plan_parts(client_of(self.source), self.filters, self.most, per_page=self.per_page)


def plan_path(folder: Path) -> Path:
    """Return the path of the plan of a folder."""
    return folder / WORK_FOLDER / PLAN_NAME


def check_plan(folder: Path, plan: str) -> None:
    """Check that the folder here has a plan.

    Args:
        folder: The folder.
        plan: The first line of the plan's file.

    Raises:
        ConfigurationError: The plan is not a regular file.
        OutputError: This machine has another folder, or another export has begun in it.
    """
    path = plan_path(folder)
    try:
        with open_to_read(path) as file:
            is_same = file.readline().rstrip() == plan.encode()
    except FileNotFoundError:
        problem = (
            f"a worker cannot see {path}. Choose a folder that this machine and all workers share, at the "
            "same path"
        )
    except OSError as error:
        problem = f"a worker cannot read {path}: {error.strerror}"
    else:
        if is_same:
            return
        problem = f"another export has begun in {folder}, so this one has stopped"
    raise OutputError(problem)


def part_facts(path: Path) -> PartFacts | None:
    """Return the metadata of a part; None if there is no complete part, or a copy of another one.

    Raises:
        ConfigurationError: Another kind of file is there.
        OutputError: The file cannot be read.
    """
    parquet: Any = importlib.import_module("pyarrow.parquet")
    with explained(path, "read"):
        if not is_there(path):
            return None
        with open_to_read(path) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                footer = parquet.read_metadata(file)
                metadata: dict[bytes, bytes] = footer.metadata or {}
                values = json.loads(metadata[_KEY])
                is_same = values.pop("part") == path.name
                facts = PartFacts(**values)
            except (ValueError, TypeError, KeyError, AttributeError):  # includes pyarrow's ArrowInvalid
                return None
            except OSError as error:
                if error.errno:
                    raise
                return None  # pyarrow found a footer that is not valid
    is_whole = _data_end(footer) + footer.serialized_size + _TAIL_BYTES <= size
    return facts if is_same and is_whole and footer.num_rows == facts.rows else None


def is_intact(path: Path) -> bool:
    """Return whether the data of a part is as it was written. This reads the whole file.

    Raises:
        OutputError: The file cannot be read.
    """
    pyarrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    with explained(path, "read"), open_to_read(path) as file:
        try:
            part = parquet.ParquetFile(file, page_checksum_verification=True)
            # No checksum covers a page's header, and pyarrow skips a page of a type that it does not know.
            return bool(sum(batch.num_rows for batch in part.iter_batches()) == part.metadata.num_rows)
        except pyarrow.ArrowException:
            return False
        except OSError as error:
            if error.errno:
                raise
            return False  # pyarrow found a wrong checksum, or something else than a page


def _data_end(footer: Any) -> int:
    """Return the offset at which the data of a part ends, according to its footer."""
    end = 0
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            begin: int = column.dictionary_page_offset or column.data_page_offset
            end = max(end, begin + column.total_compressed_size)
    return end


def meet(theirs: Path) -> Path:
    """Check that a file of another machine is visible here, and return a new one beside it.

    Raises:
        OutputError: The file is not visible, or none can be created.
    """
    if not theirs.exists():
        raise OutputError(
            f"it cannot see {theirs}. Choose a folder that this machine and all workers share, at the same "
            "path."
        )
    mine = theirs.with_name(f".thrive-{secrets.token_hex(8)}.tmp")
    with explained(mine):
        create(mine).close()
    return mine
