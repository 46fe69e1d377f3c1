"""What the project has promised itself, measure by measure."""

from benchmarks import bulk
from benchmarks.contenders import OURS, OURS_FAST
from benchmarks.figures import Target

WARM_SYNC, WARM_ASYNC = "warm get, sync", "warm get, async"
TOKEN_SYNC, TOKEN_ASYNC = "OAuth / Basic, warm get, sync", "OAuth / Basic, warm get, async"
COLD_START, IMPORT, VERSION = "cold start to first record", "import", "thrive --version"
FIRST_CLIENT, SECOND_CLIENT = "first client construction", "second client construction"
RSS = "RSS after import"
_BULK_50_MS, _BULK, _RISE, _FAILURES, _CONNECTIONS, _MEMORY, _COST = bulk.MEASURES

TARGETS: list[Target] = [
    Target("warm sync `get`", WARM_SYNC, OURS, 0.70, limit="prebuilt request on httpx.HTTPTransport"),
    Target("warm sync `get`", WARM_SYNC, OURS_FAST, 0.30, limit="pyreqwest"),
    Target(
        "warm async `get`, one at a time",
        WARM_ASYNC,
        OURS,
        0.70,
        limit="prebuilt request on httpx.AsyncHTTPTransport",
    ),
    Target(_BULK_50_MS, _BULK_50_MS, OURS, 0.80, at_least=True, limit=bulk.RAW),
    Target(_BULK_50_MS, _BULK_50_MS, OURS_FAST, 0.90, at_least=True, limit=bulk.RAW),
    Target(_BULK, _BULK, OURS, 3.5, at_least=True, limit=bulk.RAW),
    Target(_BULK, _BULK, OURS_FAST, 14, at_least=True, limit=bulk.RAW),
    Target(_RISE, _RISE, OURS, 1.0, at_least=True, limit=bulk.RAW),
    Target(f"{_FAILURES}, failures", _FAILURES, OURS, 0, limit=bulk.RAW),
    Target(_CONNECTIONS, _CONNECTIONS, OURS, 1.0, limit=bulk.RAW),
    Target(f"{_MEMORY}, MB", _MEMORY, OURS, 5),
    Target(_COST, _COST, OURS, 1.05),
    Target("second client / `httpx.Client()`", SECOND_CLIENT, OURS, 0.03),
    Target("cold start to first record / by hand with httpx", COLD_START, OURS, 1.10),
    Target("`from thrive_learning import ThriveClient` / `import httpx`", IMPORT, "ours", 1.05),
    Target("`thrive --version` above bare Python, s of CPU", VERSION, "ours", 0.10),
]
