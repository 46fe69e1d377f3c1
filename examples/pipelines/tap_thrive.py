#!/usr/bin/env python3
"""A Singer tap for activity records, without a framework.

    tap_thrive.py --discover > catalog.json
    tap_thrive.py --config config.json [--catalog catalog.json] [--state state.json] | target-…

Put this file and `activity_rows.py` into one folder. The config has `start_date`, and optionally `profile`
and `overlap_days` (2), which is how late records may arrive or be corrected. Credentials come from the
environment or the profile, so no file or argument here has a secret.
"""

import argparse
import datetime as dt
import json
import logging
import sys
from pathlib import Path
from typing import Any

from activity_rows import COLUMNS, row_of

from thrive_learning import ThriveClient, ThriveError

STREAM = "activities"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": ["null", "string"]} for name in COLUMNS}
    | {"id": {"type": "string"}, "date": {"type": ["null", "string"], "format": "date-time"}},
    "required": ["id"],
}


def catalog() -> dict[str, Any]:
    """Return the catalog: one stream, whose columns cannot be left out."""
    of_stream = {
        "inclusion": "available",
        "selected-by-default": True,
        "table-key-properties": ["id"],
        "forced-replication-method": "INCREMENTAL",
        "valid-replication-keys": ["date"],
    }
    columns: list[dict[str, Any]] = [
        {"breadcrumb": ["properties", name], "metadata": {"inclusion": "automatic"}} for name in COLUMNS
    ]
    stream = {
        "tap_stream_id": STREAM,
        "stream": STREAM,
        "schema": SCHEMA,
        "key_properties": ["id"],
        "replication_method": "INCREMENTAL",
        "replication_key": "date",
        "metadata": [{"breadcrumb": [], "metadata": of_stream}, *columns],
    }
    return {"streams": [stream]}


def is_selected(chosen: dict[str, Any]) -> bool:
    """Return whether a catalog selects the stream."""
    if "streams" not in chosen:
        sys.exit("The catalog has no streams. Write it with --discover.")
    for stream in chosen["streams"]:
        if stream["tap_stream_id"] == STREAM:
            [options] = [entry["metadata"] for entry in stream["metadata"] if not entry["breadcrumb"]]
            return bool(options.get("selected", options.get("selected-by-default", False)))
    return False


def sync(config: dict[str, Any], state: dict[str, Any]) -> None:
    """Write the records since the state, minus the overlap, and then the new state."""
    newest = state.get("bookmarks", {}).get(STREAM, {}).get("date")
    since = _moment(config.get("start_date"), "start_date")
    if newest is not None:
        since = max(since, _moment(newest, "date in the state") - _overlap(config.get("overlap_days", 2)))
    _write("SCHEMA", stream=STREAM, schema=SCHEMA, key_properties=["id"], bookmark_properties=["date"])
    with (
        ThriveClient.from_env(profile=config.get("profile")) as client,
        client.activities.iterate(since=since) as records,
    ):
        for record in map(row_of, records):
            if isinstance(date := record["date"], dt.datetime):
                record["date"] = date.isoformat().replace("+00:00", "Z")
                if newest is None or date > dt.datetime.fromisoformat(newest):
                    newest = record["date"]
            _write("RECORD", stream=STREAM, record=record)
        if records.unreadable:
            logging.warning("left out items without an ID: %d", records.unreadable)  # noqa: LOG015
    # Only now, because the API does not document the order of the records.
    if newest is not None:
        state = {**state, "bookmarks": {**state.get("bookmarks", {}), STREAM: {"date": newest}}}
    _write("STATE", value=state)


def _moment(text: Any, name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        sys.exit(f'{name} is {json.dumps(text)}. Write a date such as "2026-01-01".')
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _overlap(days: Any) -> dt.timedelta:
    try:
        return dt.timedelta(days=float(days))
    except (TypeError, ValueError, OverflowError):
        sys.exit(f"overlap_days is {json.dumps(days)}. Write a number such as 2.")


def _write(kind: str, **members: Any) -> None:
    sys.stdout.write(json.dumps({"type": kind, **members}) + "\n")


def _read(path: Path | None) -> dict[str, Any]:
    try:
        document: Any = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {path}: {error}")
    if not isinstance(document, dict):
        sys.exit(f"{path} is not a JSON object")
    return document


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--discover", action="store_true")
    for name in ("--config", "--catalog", "--state"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    if options.discover:
        print(json.dumps(catalog(), indent=2))
    elif options.config is None:
        parser.error("--config is needed to read records")
    elif options.catalog is None or is_selected(_read(options.catalog)):
        try:
            sync(_read(options.config), _read(options.state))
        except ThriveError as error:
            sys.exit(f"{type(error).__name__}: {error}")
