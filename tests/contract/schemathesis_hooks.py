"""Read by Schemathesis: what it draws by a pattern becomes what the sandbox can find.

Of the IDs that are valid, every other one becomes that of a record. Without this, all 200s would be about the
contract's one example. Times become those that a calendar has, which a pattern cannot say.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis

from thrive_learning.sandbox.records import DEPARTING_IDS, seeded_records

_EPOCH = datetime(2010, 1, 1, tzinfo=UTC)
_IDS = sorted(seeded_records().keys() - DEPARTING_IDS)


@schemathesis.hook
def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Put the ID of a record in the place of a valid one whose last digit is even."""
    drawn = str((path_parameters or {}).get("id", ""))
    if re.fullmatch(r"[0-9a-fA-F]{24}", drawn) and int(drawn, 16) % 2 == 0:
        return {**(path_parameters or {}), "id": _IDS[int(drawn, 16) // 2 % len(_IDS)]}
    return path_parameters


@schemathesis.hook
def before_call(_context: Any, case: "schemathesis.Case[Any]", _kwargs: dict[str, Any]) -> None:
    """Put a time that exists in the place of digits in the form of a time."""
    case.query = {name: _existing_time(value) for name, value in (case.query or {}).items()}


def _existing_time(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", value)):
        return value
    seconds = int(re.sub(r"\D", "", value)) % (20 * 366 * 86_400)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"
