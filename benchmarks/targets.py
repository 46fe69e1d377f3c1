"""The targets of the project, measure by measure."""

from benchmarks import bulk, cluster, path, shared_limit
from benchmarks.contenders import OURS, OURS_FAST
from benchmarks.figures import Target

WARM_SYNC, WARM_ASYNC = "warm get, sync", "warm get, async"
TOKEN_SYNC, TOKEN_ASYNC = "OAuth / Basic, warm get, sync", "OAuth / Basic, warm get, async"
WALK = "iterate over 5,000 records, 1,000 per page"
COLD_START, IMPORT, VERSION = "cold start to first record", "import", "thrive --version"
FIRST_CLIENT, SECOND_CLIENT = "first client construction", "second client construction"
RSS = "RSS after import"
_BULK_50_MS, _BULK, _FAILURES = bulk.MEASURES[0], bulk.MEASURES[1], bulk.MEASURES[3]
_BY_TIME, _, _REQUESTS, _TOKENS = cluster.MEASURES

_PREBUILT, _PREBUILT_ASYNC = (
    "prebuilt request on httpx.HTTPTransport",
    "prebuilt request on httpx.AsyncHTTPTransport",
)
_COLD_START_BY_HAND = "cold start to first record / by hand with httpx"

TARGETS: list[Target] = [
    Target("warm sync `get`", WARM_SYNC, OURS, 0.80, limit=_PREBUILT),
    Target("warm sync `get`", WARM_SYNC, OURS_FAST, 0.20, limit="raw socket"),
    Target("warm async `get`", WARM_ASYNC, OURS, 0.88, limit=_PREBUILT_ASYNC),
    Target("warm async `get`", WARM_ASYNC, OURS_FAST, 0.17, limit="asyncio streams"),
    Target("CPU time per record of `iterate`", WALK, OURS, 3.0),
    Target("CPU time per record of `iterate`", WALK, OURS_FAST, 2.5),
    Target(_BULK_50_MS, _BULK_50_MS, OURS, 0.60, at_least=True, limit=bulk.RAW),
    Target(_BULK_50_MS, _BULK_50_MS, OURS_FAST, 0.92, at_least=True, limit=bulk.RAW),
    Target(_BULK, _BULK, OURS, 2.0, at_least=True, limit=bulk.RAW),
    Target(_BULK, _BULK, OURS_FAST, 12, at_least=True, limit=bulk.RAW),
    Target(f"{_FAILURES}, failures", _FAILURES, OURS, 0, limit=bulk.RAW),
    Target(f"{_FAILURES}, failures", _FAILURES, OURS_FAST, 0, limit=bulk.RAW),
    Target(_COLD_START_BY_HAND, COLD_START, OURS, 1.20),
    Target(_COLD_START_BY_HAND, COLD_START, OURS_FAST, 1.20),
    *(
        Target(shared_limit.BUSIEST, shared_limit.BUSIEST, store, 1.05)
        for store in (shared_limit.FILE, shared_limit.REDIS)
    ),
    *(
        Target(shared_limit.QUIETEST, shared_limit.QUIETEST, store, 0.9, at_least=True)
        for store in (shared_limit.FILE, shared_limit.REDIS)
    ),
    *(Target(path.FILES, path.FILES, path.contender("httpx", flavor), 14) for flavor in path.GETS),
    Target(_BY_TIME, _BY_TIME, cluster.CLUSTER, 1.6, at_least=True, limit=cluster.HALVES),
    Target(_BY_TIME, _BY_TIME, cluster.DASK_COMMAND, 1.6, at_least=True, limit=cluster.COMMAND),
    Target(_REQUESTS, _REQUESTS, cluster.CLUSTER, 1.05, limit=cluster.ONE),
    Target(_TOKENS, _TOKENS, cluster.CLUSTER, 1, limit=cluster.ONE),
    *(Target(path.PRIVATE, path.PRIVATE, path.contender("httpx", flavor), 2) for flavor in path.GETS),
]
