"""Reports types in filters that the contract does not document, because a typo would match no record."""

import functools

from thrive_learning._filters import ActivityFilters
from thrive_learning._log import fields, logger_of
from thrive_learning.models import ActivityType

_logger = logger_of("filters")

_MOST_REMEMBERED = 256


def report_undocumented_types(filters: ActivityFilters) -> None:
    """Log each type that is not documented, once for each process.

    Such types are allowed, because the API may have more of them than its documentation.
    """
    for name in (*filters.types, *filters.omit_types):
        _report(name)


@functools.lru_cache(_MOST_REMEMBERED)
def _report(name: str) -> None:
    documented = [str(known) for known in ActivityType]
    if name in documented:
        return
    import difflib  # noqa: PLC0415 - for undocumented types only

    near = difflib.get_close_matches(name[:40].lower(), documented, n=1)
    advice = f"Did you mean {near[0]!r}?" if near else "Check its spelling if no records match."
    _logger.warning(
        "%r is not a documented type. %s", name, advice, extra=fields("undocumented_type", type=name)
    )
