"""Export the records of a period to stdout as NDJSON.

All copies of this program share one token and one rate limit through Redis, wherever they run.
`docs/how-to/run-the-sandbox.md` shows how to run it in a container.
"""

import datetime as dt
import os
import sys

from thrive_learning import RedisTokenStore, ThriveClient, ThriveError

SINCE = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
UNTIL = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)


def main() -> None:
    """Write each record of the period as one line of JSON, and their number to stderr."""
    count = 0
    if "REDIS_URL" not in os.environ:
        sys.exit("REDIS_URL is not set")
    store = RedisTokenStore(os.environ["REDIS_URL"])  # for the token, and for THRIVE_RATE_LIMIT
    with ThriveClient.from_env(token_store=store) as client:
        for record in client.activities.iterate(since=SINCE, until=UNTIL):
            sys.stdout.write(f"{record.to_json()}\n")
            count += 1
    sys.stderr.write(f"exported {count} records\n")


if __name__ == "__main__":
    try:
        main()
    except ThriveError as error:
        sys.exit(f"{type(error).__name__}: {error}")
