"""Read by Schemathesis: of the IDs that it draws, those that are valid name a record every other time.

Without this, all 200s would be about the contract's one example.
"""

import re
from typing import Any

import schemathesis

from thrive_learning.sandbox.records import DEPARTING_IDS, seeded_records

_IDS = sorted(seeded_records().keys() - DEPARTING_IDS)


@schemathesis.hook
def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Put the ID of a record in the place of a valid one whose last digit is even."""
    drawn = str((path_parameters or {}).get("id", ""))
    if re.fullmatch(r"[0-9a-fA-F]{24}", drawn) and int(drawn, 16) % 2 == 0:
        return {**(path_parameters or {}), "id": _IDS[int(drawn, 16) // 2 % len(_IDS)]}
    return path_parameters
