"""Feed responses of every kind to the real client, on both engines, in sync code, asyncio, and trio.

    python -m tools.fuzz --seconds 600          what `nox -s fuzz` does for a minute

There is no socket: connections of our own answer each request with given bytes, in pieces of any size.
Whatever the bytes are, a call returns a record or raises a ThriveError: the same class on both engines in all
three, and for pieces of another size. Its message is one printable line, it links to no other exception, it
can be pickled, nothing is left behind that warns, and no secret shows in it or in our log, although the
server repeats what it was sent wherever it can. After it, a call for another record gets that record.
"""

import argparse
import collections
import json
import logging
import pickle
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, seed, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import ACTIVITY_ID, PAGE_EXAMPLE, Flavour

from thrive_learning import Activity, Region, RetryPolicy, ThriveError
from tools.fuzz_connections import install, wire
from tools.fuzz_responses import (
    BASIC_CREDENTIALS,
    OAUTH_CREDENTIALS,
    TOKEN_RESPONSE,
    Exchange,
    exchanges,
    success,
)

OTHER_ID = "60d5ec49b60b4b3a2c8f9a12"
REGION = Region.custom(
    "fuzz", api_url="http://localhost/rest/v1", token_url="http://localhost/token/{tenant_id}"
)
BATCH = 50  # between two looks at the clock


class Kept(logging.Handler):
    """Keeps what the SDK logs, and what Python says about objects that were left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.left_behind: list[str] = []

    def unraisable(self, args: Any) -> None:
        """Keep what `sys.unraisablehook` is called with."""
        self.left_behind.append(f"{args.err_msg} {args.object!r}: {args.exc_value}")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a log record as text."""
        self.lines.append(self.format(record))


def call(flavour: Flavour, exchange: Exchange, size: int, kept: Kept) -> str:
    """Make a call that gets this response, and return what it came to, or raise AssertionError."""
    wire.set(exchange, size)
    kept.lines.clear()
    credentials = BASIC_CREDENTIALS if exchange.basic else OAUTH_CREDENTIALS
    with flavour.open(REGION, credentials, retry=RetryPolicy(attempts=1), timeout=30) as client:
        try:
            activity = client.activities.get(ACTIVITY_ID)
        except ThriveError as error:
            inspect_error(error)
            outcome = type(error).__name__
            texts = [repr(error), *traceback.format_exception(error), *shown_in(vars(error))]
        else:
            inspect_record(activity)
            outcome, texts = "Activity", []
        wire.set(None)
        # A failed request for a token, and a rejected token, are remembered for a while.
        if exchange.source == "API" and (exchange.basic or outcome != "UnauthorizedError"):
            assert client.activities.get(OTHER_ID).id == OTHER_ID, f"{flavour.name}: another record"
    left_behind, kept.left_behind = kept.left_behind, []
    assert not left_behind, f"{flavour.name}: {left_behind}"
    for line in [*texts, *kept.lines]:
        for secret in exchange.secrets:
            for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
                assert form not in line, f"a secret shows: {line}"
    return outcome


def inspect_record(activity: Activity) -> None:
    """Make sure that a record is sound."""
    assert isinstance(activity, Activity)
    assert json.loads(json.dumps(activity.to_dict())) == activity.to_dict()
    assert pickle.loads(pickle.dumps(activity)) == activity


def shown_in(attributes: dict[str, Any]) -> list[str]:
    """Return the attributes of an error as text."""
    return [f"{name}: {value}" for name, value in attributes.items()]


def inspect_error(error: ThriveError) -> None:
    """Check that an error has its message and attributes, and holds plain data."""
    assert str(error).isprintable(), f"not printable: {error!s:.500}"
    assert len(str(error)) < 2000, "a message without end"
    assert error.__cause__ is None
    assert error.__context__ is None
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def main() -> int:
    """Fuzz until the time is up, or until a counterexample, which is made as small as possible."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    warnings.simplefilter("error")
    install()
    wire.sound = {
        b"POST ": TOKEN_RESPONSE,
        b"GET /rest/v1/activity/" + OTHER_ID.encode(): success(PAGE_EXAMPLE | {"id": OTHER_ID}),
        b"GET /rest/v1/activity/" + ACTIVITY_ID.encode(): success(PAGE_EXAMPLE),
    }
    kept = Kept()
    logger = logging.getLogger("thrive_learning")
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    sys.unraisablehook = kept.unraisable
    outcomes: collections.Counter[str] = collections.Counter()
    ends = time.monotonic() + options.seconds
    print(f"seed {options.seed}, for {options.seconds:g} s")
    with start_blocking_portal("asyncio") as on_asyncio, start_blocking_portal("trio") as on_trio:
        portals = {"sync": None, "asyncio": on_asyncio, "trio": on_trio}
        flavours = [
            Flavour(f"{name}, {engine}", portal, engine)
            for name, portal in portals.items()
            for engine in ("httpx", "fast")
        ]

        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.large_base_example,
            ],
            print_blob=False,
        )
        @given(exchanges())
        def check(exchange: Exchange) -> None:
            runs = [(flavour, exchange.size) for flavour in flavours]
            runs += [(flavour, exchange.other_size) for flavour in flavours[:2]]
            came_to = {(each.name, size): call(each, exchange, size, kept) for each, size in runs}
            assert len({*came_to.values()}) == 1, f"they differ: {came_to}"
            outcomes.update({*came_to.values()})

        batch = 0
        while batch == 0 or time.monotonic() < ends:
            seed(options.seed + batch)(check)()
            batch += 1
    print(f"{outcomes.total()} responses, each to sync, asyncio and trio on both engines")
    for name, number in outcomes.most_common():
        print(f"  {name}: {number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
