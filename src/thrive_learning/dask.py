"""Reads activity records as Dask DataFrames, for the extra `dask`.

The workers send the requests. They share one access token and one rate limit: through the client's token
store, or else through the memory of the cluster's scheduler.
"""

import datetime as dt
import importlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from thrive_learning._cluster.clients import ClientSource, client_of
from thrive_learning._cluster.reading import ERROR_COLUMNS, Part, plan_parts, read_ids, read_part
from thrive_learning._cluster.versions import check_cluster
from thrive_learning._documented_types import report_undocumented_types
from thrive_learning._filters import ActivityFilters, page_size
from thrive_learning._formats import shown
from thrive_learning._id_files.lines import InputLines, open_input
from thrive_learning._id_files.sources import IdSource, Wording, format_of, ids_in
from thrive_learning._tables.rows import COLUMNS
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from dask.bag import Bag
    from dask.dataframe import DataFrame

    from thrive_learning.client import ThriveClient
    from thrive_learning.models import ActivityType
    from thrive_learning.rate_limits import RateLimit
    from thrive_learning.token_stores import TokenStore

__all__ = ["read_activities", "read_activities_by_id"]

#: The format of a file of IDs.
_IdFormat = Literal["text", "csv", "ndjson", "json"]
_FORMATS = get_args(_IdFormat)

_WORDING = Wording("file_format={!r}", "field=", "field=")


def read_activities(  # noqa: PLR0913 - the filters of the API
    since: dt.datetime | None,
    until: dt.datetime | None = None,
    *,
    types: "Iterable[ActivityType | str]" = (),
    omit_types: "Iterable[ActivityType | str]" = (),
    content_ids: Iterable[str] = (),
    content_type: str | None = None,
    client: "ThriveClient | None" = None,
    profile: str | None = None,
    token_store: "TokenStore | None" = None,
    rate_limit: "RateLimit | None" = None,
    rows_per_partition: int = 100_000,
    per_page: int = 1000,
) -> "DataFrame":
    """Return the activity records of a period as a Dask DataFrame, with one partition per window of time.

    The records are counted now, by one or two requests per partition, and read when the DataFrame is
    computed. If the cluster has no workers yet, this waits for one, however long that takes. The end of the
    period is fixed now. Each record is in one partition: that of its `date`. The columns are those of
    exports: `id`, `type`, `user`, `contextId`, `contextType`, `name`, and, as JSON text, `data`, `with`, and
    `extra` (everything else) are `string[pyarrow]`; `date` is `datetime64[us, UTC]`.

    Args:
        since: The beginning of the period, with a time zone; rounded down to whole seconds. None for no
            limit.
        until: The end of the period, with a time zone; rounded up to whole seconds. None for now.
        types: The types to include, as `ActivityType`s or other strings; empty for all.
        omit_types: The types to exclude; empty for none. Cannot be combined with `types`.
        content_ids: The IDs of the content that the activities relate to; empty for any. Every 100 IDs have
            partitions of their own.
        content_type: The type of that content, such as `content`; None for any.
        client: A client that workers copy without its secret, which they read from their environment; None
            to create it from the environment or a profile. `Secret(..., may_pickle=True)` sends the secret.
        profile: The profile that workers use, as in `ThriveClient.from_env`.
        token_store: The token store of the workers' clients; None for that of `client`, or for the memory of
            the cluster's scheduler.
        rate_limit: The `RateLimit` that all workers share; None for that of `client` or of the environment.
        rows_per_partition: The maximum number of records of a partition when it is counted. More than that
            within a few seconds stay together, with a warning.
        per_page: The number of records per request, from 1 to 1,000.

    Raises:
        ConfigurationError: The extra `dask` is not installed, an argument is not valid, or a machine of the
            cluster has other versions.
        InvalidIdError: A content ID is not valid.
        ThriveError: The records could not be counted. The same errors as those of `activities.iterate` are
            raised when the DataFrame is computed.

    Source: the reference page of `GET /activities`.
    """
    dask = _dask()
    filters = ActivityFilters.of(
        types=types,
        omit_types=omit_types,
        content_ids=content_ids,
        content_type=content_type,
        since=since,
        until=until,
    ).with_end()
    report_undocumented_types(filters)
    bound = _count("rows_per_partition", rows_per_partition)
    source = ClientSource.of(client, profile, token_store=token_store, rate_limit=rate_limit)
    size = page_size(per_page)
    reader = _PartReader(source, size)
    _check_cluster_of(dask)
    parts: list[Part] = dask.delayed(_Plan(source, filters, bound, size), pure=False)().compute()
    return cast(
        "DataFrame",
        dask.dataframe.from_map(reader, parts, meta=_meta(COLUMNS), label="read-activities"),
    )


def read_activities_by_id(  # noqa: PLR0913 - the options of a run
    ids: "Iterable[str] | os.PathLike[str] | Iterable[os.PathLike[str]] | Bag",
    *,
    file_format: _IdFormat | None = None,
    field: str = "id",
    on_error: Literal["raise", "keep"] = "raise",
    client: "ThriveClient | None" = None,
    profile: str | None = None,
    token_store: "TokenStore | None" = None,
    rate_limit: "RateLimit | None" = None,
    ids_per_partition: int = 10_000,
    concurrency: int = 32,
) -> "DataFrame":
    """Return the activity records with these IDs as a Dask DataFrame, with one row for each ID, in order.

    The columns are those of `read_activities`. The records are read when the DataFrame is computed.

    Args:
        ids: The IDs; a `pathlib.Path` or several, for files with IDs, which are read now; or a Dask bag of
            IDs, whose partitions are those of the result.
        file_format: The format of the files: `"text"` (one ID per line), `"csv"`, `"ndjson"`, or `"json"`;
            None to detect it by the extension.
        field: The field or column of the files that has the IDs.
        on_error: `"raise"` raises the first error when the DataFrame is computed. `"keep"` adds the columns
            `error_type` (the name of the class) and `error` (the message). A row whose ID failed has only
            these and the `id` as given.
        client: See `read_activities`.
        profile: See `read_activities`.
        token_store: See `read_activities`.
        rate_limit: See `read_activities`.
        ids_per_partition: The number of IDs in a partition.
        concurrency: The number of requests that each partition may have in flight, at most 1,000.

    Raises:
        ConfigurationError: The extra `dask` is not installed, or an argument is not valid.
        ThriveError: A file cannot be read, has no IDs, or is not valid. The same errors as those of
            `activities.get_many` are raised when the DataFrame is computed; those that would affect every ID
            also with `"keep"`.

    Source: the reference page of `GET /activity/{id}`.
    """
    dask = _dask()
    if on_error not in ("raise", "keep"):
        raise ConfigurationError(f"on_error is {shown(on_error)}. Choose 'raise' or 'keep'.")
    if file_format not in (None, *_FORMATS):
        raise ConfigurationError(
            f"file_format is {shown(file_format)}. Choose {', '.join(map(repr, _FORMATS[:-1]))}, or "
            f"{_FORMATS[-1]!r}."
        )
    keeps = on_error == "keep"
    size = _count("ids_per_partition", ids_per_partition)
    source = ClientSource.of(client, profile, token_store=token_store, rate_limit=rate_limit)
    reader = _IdReader(source, _count("concurrency", concurrency), keeps_errors=keeps)
    meta = _meta(COLUMNS | ERROR_COLUMNS if keeps else COLUMNS)
    label = "read-activities-by-id"
    to_delayed = getattr(ids, "to_delayed", None)
    if to_delayed is not None:
        read = dask.delayed(reader, pure=False)
        frames = [read(part) for part in to_delayed()]
        frame = dask.dataframe.from_delayed(frames, meta=meta, prefix=label, verify_meta=False)
    else:
        batches = [*_batches(_ids_of(ids, file_format, field), size)] or [[]]
        frame = dask.dataframe.from_map(reader, batches, meta=meta, label=label)
    return cast("DataFrame", frame)


def _dask() -> Any:
    """Import Dask with its parts that are needed here.

    Raises:
        ConfigurationError: A package is missing.
    """
    try:
        for part in ("distributed", "pyarrow", "dask.dataframe"):
            importlib.import_module(part)
        return importlib.import_module("dask")
    except ImportError as error:
        problem = f"Reading with Dask is not possible, because a package is missing ({error})"
    raise ConfigurationError(f"{problem}. Run python3 -m pip install 'thrive-learning[dask]'.")


def _check_cluster_of(dask: Any) -> None:
    """Check the cluster that Dask uses now, unless it computes in this process."""
    owner = getattr(dask.base.get_scheduler(), "__self__", None)  # of the method of a client
    if isinstance(owner, importlib.import_module("distributed").Client):
        check_cluster(owner)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 10**9:
        raise ConfigurationError(f"{name} is {shown(value)}. Pass a whole number of at least 1.")
    return value


def _ids_of(ids: object, form: _IdFormat | None, field: str) -> Iterator[str]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, (os.PathLike, Iterable)):
        raise ConfigurationError(
            f"ids is of type {type(ids).__name__}. Pass a list of IDs, pathlib.Path(...) for a file, or a "
            "Dask bag."
        )
    if isinstance(ids, os.PathLike):
        ids = [cast("os.PathLike[str]", ids)]
    rest = iter(cast("Iterable[object]", ids))
    for first in rest:
        both = chain([first], rest)
        if isinstance(first, os.PathLike):
            return _ids_in_files(both, form, field)
        return _only_ids(both)
    return iter(())


def _only_ids(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, os.PathLike):
            raise ConfigurationError("ids has a path among IDs. Pass only IDs, or only paths.")
        yield cast("str", value)


def _ids_in_files(paths: Iterable[object], form: _IdFormat | None, field: str) -> Iterator[str]:
    for path in paths:
        if not isinstance(path, os.PathLike):
            raise ConfigurationError(
                f"ids has a value of type {type(path).__name__} among paths. Pass only IDs, or only paths."
            )
        name = os.fsdecode(cast("os.PathLike[str]", path))
        source = IdSource(name, form or format_of(name), field, None, _WORDING)
        with open_input(Path(name), name) as file:
            yield from ids_in(InputLines(file, name), source)


def _batches(ids: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := [*islice(ids, size)]:
        yield batch


def _meta(columns: dict[str, str]) -> Any:
    """Return an empty partition."""
    from thrive_learning._tables.arrow import TableBuilder  # noqa: PLC0415 - needs pyarrow

    return _frame(TableBuilder(columns).table())


def _frame(table: Any) -> Any:
    """Convert an Arrow table to a pandas DataFrame with the documented types."""
    import pandas as pd  # noqa: PLC0415 - Dask's DataFrames consist of those of pandas

    pa: Any = importlib.import_module("pyarrow")
    types: dict[Any, Any] = {pa.string(): pd.StringDtype("pyarrow")}
    return table.to_pandas(types_mapper=types.get)


class _Plan:
    """Plans the parts, in a worker. Dask must not look into the arguments."""

    def __init__(self, source: ClientSource, filters: ActivityFilters, bound: int, per_page: int) -> None:
        self._source = source
        self._arguments = filters, bound
        self._per_page = per_page

    def __call__(self) -> list[Part]:
        return plan_parts(client_of(self._source), *self._arguments, per_page=self._per_page)


class _Reader:
    """A function of a task. Its name in keys is random, because two reads may find different records."""

    def __init__(self, source: ClientSource) -> None:
        self._source = source
        self._token = uuid.uuid4().hex

    def __dask_tokenize__(self) -> str:
        return self._token


class _PartReader(_Reader):
    def __init__(self, source: ClientSource, per_page: int) -> None:
        super().__init__(source)
        self._per_page = per_page

    def __call__(self, part: Part, columns: Sequence[str] | None = None) -> Any:
        table = read_part(client_of(self._source), part, per_page=self._per_page)
        return _frame(table if columns is None else table.select(columns))


class _IdReader(_Reader):
    def __init__(self, source: ClientSource, concurrency: int, *, keeps_errors: bool) -> None:
        super().__init__(source)
        self._concurrency = concurrency
        self._keeps_errors = keeps_errors

    def __call__(self, ids: Iterable[str], columns: Sequence[str] | None = None) -> Any:
        table = read_ids(
            client_of(self._source), ids, keep_errors=self._keeps_errors, concurrency=self._concurrency
        )
        return _frame(table if columns is None else table.select(columns))
