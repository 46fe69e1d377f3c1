"""Check where the records of an export go: a file, a table beside it, or a stream. Nothing is opened."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from thrive_learning.cli.regular_files import is_there, kind_of
from thrive_learning.errors import ConfigurationError

#: The formats by file extension. A name without an extension is NDJSON.
EXTENSIONS = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".csv": "csv",
}

_STREAMS = {"a device", "a FIFO"}
_STANDARD_OUTPUT = 1

# The names of this process's own descriptors. Opening such a name again would begin at the start of the file.
_DESCRIPTOR = re.compile(rf"/(?:dev|proc/(?:self|thread-self|{os.getpid()}))/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40  # the limit of Linux


class StreamTarget(NamedTuple):
    """A stream of records, which cannot be resumed.

    Attributes:
        name: The name in messages.
        descriptor: The open descriptor; None if `name` is a path to open.
    """

    name: str
    descriptor: int | None

    @property
    def is_stdout(self) -> bool:
        """Whether the stream is stdout."""
        return self.descriptor == _STANDARD_OUTPUT


class Output(NamedTuple):
    """Where the records go.

    Attributes:
        records: The NDJSON file, or the stream.
        table: The table that the file is converted to; None without a table.
        form: "ndjson", or the format of the table.
    """

    records: Path | StreamTarget
    table: Path | None
    form: str


def output_of(name: str, form: str | None) -> Output:
    """Return where the records go, by the values of `-o` and `--to`.

    Raises:
        ConfigurationError: The two contradict each other, or the output cannot be written.
    """
    if not name or "\0" in name:
        raise ConfigurationError(f"-o is {name!r}. Use the path of a file, or - for stdout.")
    try:
        return _output_of(name, form)
    except OSError as error:
        problem = error.strerror or str(error)
    raise ConfigurationError(f"cannot write {name}: {problem}. Choose another output.")


def _output_of(name: str, form: str | None) -> Output:
    stream = _stream_of(name)
    if stream is not None:
        if form not in (None, "ndjson"):
            raise ConfigurationError(
                f"--to {form} needs a file, but {stream.name} is a stream. Remove --to, or choose a file."
            )
        return Output(stream, None, "ndjson")
    path = Path(name)
    kind = kind_of(path, follow=True)
    if kind not in (None, "a regular file") or name.endswith(os.sep):
        raise ConfigurationError(f"cannot write {name}: it is {kind or 'a folder'}. Choose a file.")
    form = _form_of(name, form)
    if path.is_symlink():  # so that all files are beside the target
        path = Path(os.path.realpath(path))
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"the folder {path.parent} is not writable. Choose another output.")
    if form == "ndjson":
        return Output(path, None, form)
    stem = path.stem if path.suffix.lower() in EXTENSIONS else path.name
    extension = EXTENSIONS.get(Path(name).suffix.lower())
    table = path if extension == form else path.with_name(f"{stem}.{form}")
    records = path if extension == "ndjson" else path.with_name(f"{stem}.ndjson")
    if table == records:
        raise ConfigurationError(
            f"{name} links to {path}, which is also the file for the records. Choose another output."
        )
    for file in (table, records):
        is_there(file)
    return Output(records, table, form)


def _form_of(name: str, asked: str | None) -> str:
    extension = Path(name).suffix.lower()
    implied = EXTENSIONS.get(extension)
    if extension and implied is None and asked is None:
        known = ", ".join(EXTENSIONS)
        raise ConfigurationError(
            f"unknown extension {extension} in -o {name}. Use one of {known}, or set the format with --to."
        )
    if asked is not None and implied not in (None, "ndjson", asked):
        raise ConfigurationError(f"--to {asked} does not match -o {name}. Change one of them.")
    return asked or implied or "ndjson"


def _stream_of(name: str) -> StreamTarget | None:
    """Return the stream with a name; None if the name is not that of a stream."""
    if name == "-":
        return StreamTarget("stdout", _STANDARD_OUTPUT)
    path = name
    for _ in range(_MOST_LINKS):
        path = os.path.normpath(os.path.join(os.getcwd(), path))  # noqa: PTH109, PTH118 - as text
        found = _DESCRIPTOR.fullmatch(path)
        if found or path in _STANDARD:
            descriptor = int(found[1]) if found else _STANDARD[path]
            return StreamTarget("stdout" if descriptor == _STANDARD_OUTPUT else name, descriptor)
        if not os.path.islink(path):  # noqa: PTH114 - as text
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120 - as text
    return StreamTarget(name, None) if kind_of(Path(name), follow=True) in _STREAMS else None
