"""Write pickles of errors and records with one version of the package, and read them with another.

    python tools/pickle_exchange.py write FOLDER            uses the package that is installed
    python tools/pickle_exchange.py read FOLDER             fails if a pickle means something else now
    python tools/pickle_exchange.py read FOLDER --older     attributes may be missing

`nox -s release-check` does both between the version of the last tag and this one. The file runs with either
version, so it uses public names only. `tests/pickles/` keeps those of each release.
"""

import argparse
import datetime as dt
import enum
import inspect
import json
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import thrive_learning as thrive
from thrive_learning import webhooks

ACTIVITY = "60d5ec49b60b4b3a2c8f9a10"
#: For arguments that an error requires by keyword.
ARGUMENTS: dict[str, object] = {
    "status_code": 404,
    "value": "not an ID",
    "service": "api",
    "reason": "refused",
}
DELIVERY = b"""{
  "eventType": "user.updated", "tenantId": "acme", "createdAt": "2026-01-02T03:04:05Z",
  "dispatchedAt": "2026-01-02T03:04:06Z", "user": {"id": "1", "email": "a@b.example"}
}"""
PLAIN = (str, int, float, bool, type(None))


def samples() -> Iterator[tuple[str, object]]:
    """Yield each object that users may pickle, by a name for its file."""
    for name in thrive.__all__:
        value: Any = getattr(thrive, name)
        if isinstance(value, type) and issubclass(value, thrive.ThriveError):
            yield name, _error(value)
    with thrive.ThriveClient.sandbox() as client:
        yield "Activity", client.activities.get(ACTIVITY)
        page = client.activities.list(per_page=2)
        yield "ActivityPage", page
        yield "Pagination", page.pagination
        yield "ActivityResult", next(iter(client.activities.get_many([ACTIVITY])))
    yield "Region", thrive.Region.parse("staging")
    yield "Timeout", thrive.Timeout(total=5)
    yield "RetryPolicy", thrive.RetryPolicy(attempts=2)
    secret = thrive.Secret("a secret that a pickle may hold", may_pickle=True)
    yield "BasicCredentials", thrive.BasicCredentials("tenant", secret)
    yield "ThriveClient", thrive.ThriveClient("staging", thrive.BasicCredentials("tenant", secret))
    yield "WebhookEvent", webhooks.parse(DELIVERY)


def _error(kind: type[thrive.ThriveError]) -> thrive.ThriveError:
    parameters = inspect.signature(kind).parameters.values()
    required = [
        item.name for item in parameters if item.kind is item.KEYWORD_ONLY and item.default is item.empty
    ]
    # language: allow what-as-subject (the argument `message` of an error, as its docstring says)
    error = cast("Any", kind)("What happened.", **{name: ARGUMENTS[name] for name in required})
    error.history = (
        thrive.Attempt(1, 503, "status 503", None, 0.25, "request-1", "activities.get", ACTIVITY),
    )
    error.url, error.operation, error.retry_after = "https://api.example/x", "activities.get", 2.5
    return cast("thrive.ThriveError", error)


def describe(value: Any) -> Any:
    """Return what an object means as JSON: plain values, and the public attributes of anything else."""
    if isinstance(value, enum.Enum):
        return describe(value.value)
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): describe(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(cast("object", value), "_fields"):
        return [describe(inner) for inner in cast("list[Any]", value)]
    described: dict[str, Any] = {"class": type(value).__name__}
    if isinstance(value, BaseException):
        described["text"] = str(value)
    for name in sorted(_attributes(type(value))):
        inner = getattr(value, name)
        if not callable(inner):
            described[name] = describe(inner)
    return described


def _attributes(kind: type) -> set[str]:
    own = [base for base in kind.__mro__ if base.__module__.lstrip("_").startswith("thrive_learning")]
    names = {name for base in own for name in (*vars(base), *inspect.get_annotations(base))}
    constants = {name for name in names if name.isupper()}  # such as `Region.PRODUCTION`, which is a region
    return {name for name in names if not name.startswith("_")} - constants - {"activities", "tokens"}


def differences(name: str, then: Any, now: Any, *, older: bool) -> Iterator[str]:
    """Yield how the meaning of an object differs from the meaning that it had for its writer.

    Args:
        name: The object, or the attribute.
        then: How the writer describes it.
        now: How this version describes it.
        older: Leave out attributes that this version does not have.
    """
    if isinstance(then, dict) and isinstance(now, dict):
        for key, value in then.items():
            if key in now:
                yield from differences(f"{name}.{key}", value, now[key], older=older)
            elif not older:
                yield f"{name}.{key} is missing"
    elif isinstance(then, list) and isinstance(now, list) and len(then) <= len(now):
        for index, value in enumerate(then):
            yield from differences(f"{name}[{index}]", value, now[index], older=older)
    elif then != now:
        yield f"{name} is {now!r} instead of {then!r}"


def write(folder: Path) -> None:
    """Write a pickle of each sample, and what each of them means."""
    folder.mkdir(parents=True, exist_ok=True)
    meanings: dict[str, Any] = {}
    for name, value in samples():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(value, protocol=4))
        meanings[name] = describe(value)
    text = json.dumps(meanings, indent=1, sort_keys=True) + "\n"
    (folder / "meanings.json").write_text(text, encoding="utf-8")


def read(folder: Path, *, older: bool = False) -> list[str]:
    """Return a sentence for each pickle that cannot be read, or means something else now."""
    meanings = json.loads((folder / "meanings.json").read_text(encoding="utf-8"))
    found: list[str] = []
    for name, then in meanings.items():
        try:
            now = describe(pickle.loads((folder / f"{name}.pickle").read_bytes()))
        except Exception as error:  # noqa: BLE001 - unpickling calls anything
            found.append(f"{name} cannot be read: {type(error).__name__}: {error}")
            continue
        found += differences(name, then, now, older=older)
    return found


def main() -> None:
    """Write or read, and exit with what differs."""
    parser = argparse.ArgumentParser(description="Exchange pickles between versions of the package.")
    parser.add_argument("action", choices=["write", "read"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--older", action="store_true", help="this version is older than the writer's")
    options = parser.parse_args()
    if options.action == "write":
        write(options.folder)
    elif found := read(options.folder, older=options.older):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
