"""How a client uses a shared token store, and what the store's failures mean."""

import logging
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, Clock, Flavour, Kept, page_response, token_response
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S, growing_limits, wait_in_task_until, wait_until
from token_servers import redis_server

from thrive_learning import (
    AsyncThriveClient,
    ClientCredentials,
    ConfigurationError,
    DeadlineExceededError,
    FileTokenStore,
    MemoryTokenStore,
    RedisTokenStore,
    Region,
    RetryPolicy,
    Scope,
    Service,
    StoredToken,
    ThriveClient,
    TokenError,
    UnauthorizedError,
    _budget,
    _store_reports,
)
from thrive_learning._auth import authorizer, sharing
from thrive_learning._auth.outcomes import Key
from thrive_learning._auth.sharing import LEFT_ALONE_S, SharedTokens, Turn, store_key
from thrive_learning._auth.single_flight import SingleFlight
from thrive_learning._store_reports import ANSWER_S

KEY = Key(Service.API, frozenset({Scope.READ}))


@pytest.fixture(autouse=True)
def _cheap_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_ITERATIONS", 1)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no store seem to hang because the machine is slow."""
    for module in (authorizer, sharing):
        monkeypatch.setattr(module, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(authorizer, "_SAVING_S", PATIENCE_S)


class Api:
    """Issues numbered tokens, rejects the chosen ones, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.refused: set[str] = set()
        self.calls: list[str] = []
        self.token_status = 200
        self.lifetime_s = 3600.0
        self.on_token_request: Callable[[], object] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.count += 1
            self.on_token_request()
            if self.token_status != 200:
                return httpx.Response(self.token_status, json={"error": "invalid_client"})
            return token_response(f"canary-token-{self.count}", expires_in=self.lifetime_s)
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.calls.append(token)
        return httpx.Response(401) if token in self.refused else page_response()


class Store(MemoryTokenStore):
    """A store that fails on request, and records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: dict[str, Exception] = {}
        self.asked: list[str] = []

    def _ask(self, method: str) -> None:
        self.asked.append(method)
        if method in self.fails:
            raise self.fails[method]

    def load(self, key: str) -> StoredToken | None:
        self._ask("load")
        return super().load(key)

    def save(self, key: str, token: StoredToken) -> None:
        self._ask("save")
        super().save(key, token)

    def forget(self, key: str, value: str) -> None:
        self._ask("forget")
        super().forget(key, value)

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        self._ask("try_lock")
        release = super().try_lock(key, lease_s)
        if release is None:
            return None

        def checked_release() -> None:
            release()
            self._ask("release")

        return checked_release

    @property
    def only(self) -> StoredToken:
        [token] = self._tokens.values()
        return token

    def change(self, **changes: Any) -> None:
        """Change the one token, as another process or another clock would have written it."""
        [(name, token)] = self._tokens.items()
        self._tokens[name] = attrs.evolve(token, **changes)


class Clocks:
    """The clock of a client's cache and that of the wall, which the test moves."""

    def __init__(self, client: Any) -> None:
        authorizer = client._http.authorizer
        self.now = self.wall = 0.0
        authorizer.cache.clock = lambda: time.monotonic() + self.now
        authorizer.cache.draw = lambda: 0.0
        authorizer.shared.wall_clock = lambda: time.time() + self.wall

    def move(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def store() -> Store:
    return Store()


def get(client: Any) -> None:
    assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_clients_share_a_token(flavour: Flavour, api: Api, store: Store) -> None:
    for _ in range(3):
        with flavour.answering(api, OAUTH, token_store=store) as client:
            get(client)
            get(client)
    assert (api.count, api.calls) == (1, ["canary-token-1"] * 6)
    # One that is warm asks no store.
    assert store.asked == ["load", "try_lock", "load", "save", "release", "load", "load"]


def test_a_stored_token_is_as_the_minted_one_was(flavour: Flavour, api: Api, store: Store) -> None:
    tokens = []
    for _ in range(2):
        with flavour.answering(api, OAUTH, token_store=store) as client:
            tokens.append(client.tokens.get())
    first, second = tokens
    assert first is not second
    assert (first.value, first.scopes) == (second.value, second.scopes) == ("canary-token-1", (Scope.READ,))
    assert abs((first.expires_at - second.expires_at).total_seconds()) < PATIENCE_S


def test_a_token_that_lives_forever_is_stored(flavour: Flavour, api: Api, store: Store) -> None:
    api.lifetime_s = 1e300
    for _ in range(2):
        with flavour.answering(api, OAUTH, token_store=store) as client:
            get(client)
    assert api.count == 1


def test_with_basic_credentials_there_is_nothing_to_store(flavour: Flavour, api: Api, store: Store) -> None:
    with flavour.answering(api, BASIC, token_store=store) as client:
        get(client)
    assert not store.asked


@pytest.mark.parametrize("wrong", ["redis://canary", 5, FileTokenStore, object()])
@pytest.mark.parametrize("credentials", [BASIC, OAUTH], ids=["Basic", "OAuth"])
def test_an_invalid_token_store_is_rejected(flavour: Flavour, wrong: Any, credentials: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"token_store is .+\. Pass FileTokenStore") as caught:
        flavour.client_class(Region.STAGING, credentials, token_store=wrong)
    assert "canary" not in str(caught.value)


# The key

PARTS = st.fixed_dictionaries(
    {
        "region": st.sampled_from(["one", "two"]),
        "api": st.sampled_from(["a", "b"]),
        "tenant": st.sampled_from(["t", "t2", "t,2"]),
        "client": st.sampled_from(["c", "c2", '"c"']),
        "secret": st.sampled_from(["s", "s2", "ß"]),
        "scopes": st.frozensets(st.sampled_from([Scope.ALL, Scope.READ, Scope.WRITE])),
        "service": st.sampled_from(Service),
    }
)


def name_of(parts: dict[str, Any]) -> str:
    token_url = f"https://{parts['region']}.example/{{tenant_id}}"
    region = Region.custom(
        "any",
        api_url=f"https://{parts['api']}.example",
        token_url=token_url,
        webhooks_token_url=f"{token_url}/webhooks",
    )
    credentials = ClientCredentials(parts["tenant"], parts["client"], parts["secret"])
    return store_key(region, credentials, parts["service"], parts["scopes"])


@given(PARTS, PARTS)
def test_tokens_have_one_name_only_if_all_that_they_depend_on_is_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("part", "another"),
    [
        *(("region", "two"), ("api", "b"), ("tenant", "t2"), ("client", "c2"), ("secret", "s2")),
        *(("scopes", frozenset({Scope.ALL})), ("service", Service.WEBHOOKS)),
    ],
)
def test_each_part_makes_another_name(part: str, another: Any) -> None:
    parts = {
        "region": "one",
        "api": "a",
        "tenant": "t",
        "client": "c",
        "secret": "canary-secret",
        "scopes": frozenset({Scope.READ}),
        "service": Service.API,
    }
    assert name_of(parts) != name_of(parts | {part: another})
    assert len(name_of(parts)) == 32
    int(name_of(parts), 16)


def test_a_guess_at_the_secret_costs_as_much_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert sharing._ITERATIONS >= 200_000


def test_a_secret_that_changes_has_another_token(flavour: Flavour, api: Api, store: Store) -> None:
    secrets = ["one"]
    credentials = ClientCredentials("tenant", "client", lambda: secrets[-1])
    for expected in (1, 1, 2):
        if expected == 2:
            secrets.append("two")
        with flavour.answering(api, credentials, token_store=store) as client:
            get(client)
        assert api.count == expected
    with flavour.answering(api, credentials, token_store=store) as client:
        get(client)
        secrets.append("three")
        Clocks(client).move(3600)
        get(client)
    assert (api.count, len(store._tokens)) == (3, 3)


def test_a_function_that_gives_no_secret_is_an_error_of_the_call(
    flavour: Flavour, api: Api, store: Store
) -> None:
    credentials = ClientCredentials("tenant", "client", lambda: "")
    with flavour.answering(api, credentials, token_store=store) as client:
        with pytest.raises(ConfigurationError, match="the function that returns a secret"):
            client.activities.get(ACTIVITY_ID)
    assert not store.asked


# Renewal


def test_a_renewal_finds_the_token_that_another_process_has_renewed(
    flavour: Flavour, api: Api, store: Store
) -> None:
    with (
        flavour.answering(api, OAUTH, token_store=store) as client,
        flavour.answering(api, OAUTH, token_store=store) as other,
    ):
        clocks = Clocks(client), Clocks(other)
        get(client)
        get(other)
        for clock in clocks:
            clock.move(3310)
        get(client)  # renews
        get(other)
        get(other)
    assert api.calls == ["canary-token-1"] * 2 + ["canary-token-2"] * 3
    assert api.count == 2


def test_a_caller_keeps_its_token_while_another_process_renews(
    flavour: Flavour, api: Api, store: Store
) -> None:
    with flavour.answering(api, OAUTH, token_store=store) as client:
        clocks = Clocks(client)
        get(client)
        clocks.move(3310)
        [name] = store._tokens
        release = MemoryTokenStore.try_lock(store, name, 60)
        assert release is not None
        store.asked.clear()
        for _ in range(5):
            get(client)
        assert (api.count, store.asked) == (1, ["load", "try_lock"])
        release()
        clocks.move(31)
        get(client)
    assert api.count == 2


def test_a_token_request_that_hangs_leaves_time_for_the_call_with_the_token_of_the_store(
    flavour: Flavour, api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_budget, "_RENEWAL_S", 0.1)
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    store.change(expires_at=time.time() + 200)

    class Hanging(httpx.BaseTransport, httpx.AsyncBaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                raise httpx.ReadTimeout("slow")
            return api(request)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                await anyio.sleep_forever()
            return api(request)

    with flavour.open("production", OAUTH, token_store=store, transport=Hanging()) as client:
        get(client)
    assert (api.count, api.calls[-1]) == (1, "canary-token-1")


def test_a_process_that_starts_late_in_a_tokens_life_renews_or_uses_it(
    flavour: Flavour, api: Api, store: Store
) -> None:
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    store.change(expires_at=time.time() + 200)
    [name] = store._tokens
    release = MemoryTokenStore.try_lock(store, name, 60)
    assert release is not None
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
        assert api.count == 1  # another process renews it
        release()
    api.token_status = 503
    with flavour.answering(api, OAUTH, token_store=store, retry=RetryPolicy(first_delay=0)) as client:
        get(client)  # its own renewal fails, and is not tried again
        assert (api.count, api.calls[-1]) == (2, "canary-token-1")
    api.token_status = 200
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
        assert (api.count, api.calls[-1]) == (3, "canary-token-3")
    assert store.only.value == "canary-token-3"


def test_a_refusal_is_raised_and_the_lock_given_back(flavour: Flavour, api: Api, store: Store) -> None:
    api.token_status = 401
    with flavour.answering(api, OAUTH, token_store=store) as client:
        for _ in range(2):
            with pytest.raises(TokenError, match="invalid_client"):
                client.activities.get(ACTIVITY_ID)
    assert (api.count, store._locks, store._tokens) == (2, {}, {})  # form fields, HTTP Basic


# Waiting for another process


def test_a_caller_that_waits_for_another_process_takes_its_token(
    flavour: Flavour, api: Api, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "LOOK_AGAIN_AFTER_S", 0.001)
    name = store_key(Region.PRODUCTION, OAUTH, *KEY)
    release = MemoryTokenStore.try_lock(store, name, 60)
    assert release is not None
    looks = iter(range(5))
    plain = store._ask

    def ask(method: str) -> None:
        plain(method)
        if method == "try_lock" and next(looks) == 3:
            store._tokens[name] = StoredToken(
                value="of-another", expires_at=time.time() + 3600, lifetime_s=3600, scopes=()
            )

    store._ask = ask  # type: ignore[method-assign]
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    assert (api.count, api.calls) == (0, ["of-another"])
    assert store.asked == ["load", "try_lock"] * 4 + ["load"]


def test_a_token_that_comes_between_the_look_and_the_lock_is_taken(
    flavour: Flavour, api: Api, store: Store
) -> None:
    name = store_key(Region.PRODUCTION, OAUTH, *KEY)
    plain = store._ask

    def ask(method: str) -> None:
        plain(method)
        if method == "try_lock":
            store._tokens[name] = StoredToken(
                value="of-another", expires_at=time.time() + 3600, lifetime_s=3600, scopes=()
            )

    store._ask = ask  # type: ignore[method-assign]
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    assert (api.count, api.calls, store._locks) == (0, ["of-another"], {})


def test_patience_ends_at_half_of_what_is_left_of_the_call(flavour: Flavour, api: Api, store: Store) -> None:
    """A process that hangs with a lock, of which the store knows no end, holds nobody."""
    name = store_key(Region.PRODUCTION, OAUTH, *KEY)
    held = MemoryTokenStore.try_lock(store, name, 600)
    assert held is not None
    moves, plain = iter([0, 16]), store._ask
    with flavour.answering(api, OAUTH, token_store=store, timeout=30) as client:
        clocks = Clocks(client)

        def ask(method: str) -> None:
            plain(method)
            if method == "try_lock":
                clocks.move(next(moves))

        store._ask = ask  # type: ignore[method-assign]
        get(client)
    assert (api.count, store.only.value) == (1, "canary-token-1")
    assert name in store._locks


def test_patience_is_longer_than_a_lease_and_has_its_limit() -> None:
    assert sharing.PATIENCE_S > sharing.LEASE_S
    cache = SingleFlight(lambda: 1000.0)
    shared = SharedTokens(Store(), Region.STAGING, OAUTH, cache)
    assert shared.turn(KEY, 60, renews=False)._patience_ends == 1000 + sharing.PATIENCE_S
    assert shared.turn(KEY, 6, renews=False)._patience_ends == 1003


# A token that the API refuses


def test_a_refused_token_is_not_taken_from_the_store_again(flavour: Flavour, api: Api, store: Store) -> None:
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    api.refused.add("canary-token-1")
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    assert (api.count, api.calls) == (2, ["canary-token-1", "canary-token-1", "canary-token-2"])
    assert "forget" in store.asked
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    assert api.calls[-1] == "canary-token-2"


def test_a_refused_token_is_gone_even_if_there_is_no_other(flavour: Flavour, api: Api, store: Store) -> None:
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
        api.refused.add("canary-token-1")
        api.token_status = 503
        with pytest.raises(TokenError):
            client.activities.get(ACTIVITY_ID)
    assert not store._tokens


def test_a_refused_token_that_another_process_replaced_costs_no_request(
    flavour: Flavour, api: Api, store: Store
) -> None:
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
        api.refused.add("canary-token-1")
        store.change(value="of-another")
        get(client)
    assert (api.count, api.calls[-1]) == (1, "of-another")
    assert store.only.value == "of-another"


def test_a_store_that_cannot_forget_does_not_serve_a_refused_token(
    flavour: Flavour, api: Api, store: Store
) -> None:
    store.fails = {"forget": OSError(30, "read-only"), "save": OSError(30, "read-only")}
    name = store_key(Region.PRODUCTION, OAUTH, *KEY)
    store._tokens[name] = StoredToken(value="old", expires_at=time.time() + 3600, lifetime_s=3600, scopes=())
    api.refused.add("old")
    with flavour.answering(api, OAUTH, token_store=store) as client:
        clocks = Clocks(client)
        get(client)
        clocks.move(3310)
        get(client)
    assert Counter(api.calls) == {"old": 1, "canary-token-1": 1, "canary-token-2": 1}


# Clocks


@pytest.mark.parametrize(
    ("jump_s", "requests"),
    [(0, 1), (-59, 1), (-30 * 60, 2), (-10 * 3600, 2), (50 * 60, 1), (56 * 60, 2), (2 * 3600, 2)],
)
def test_a_jump_of_the_wall_clock(
    flavour: Flavour, api: Api, store: Store, jump_s: float, requests: int
) -> None:
    """Far back, the store's token claims a life that it never had; ahead, it has expired."""
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    with flavour.answering(api, OAUTH, token_store=store) as client:
        clocks = Clocks(client)
        clocks.wall += jump_s
        get(client)
        # Once it is in memory, the clock that never goes back decides.
        clocks.wall += 1e6
        get(client)
        clocks.move(3600)
        get(client)
    assert api.count == requests + 1


def test_an_expired_token_that_a_jump_makes_look_valid_costs_one_401(
    flavour: Flavour, api: Api, store: Store
) -> None:
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    api.refused.add("canary-token-1")
    store.change(expires_at=time.time() - 600)
    with flavour.answering(api, OAUTH, token_store=store) as client:
        Clocks(client).wall -= 1800
        get(client)
    assert api.calls == ["canary-token-1", "canary-token-1", "canary-token-2"]


# Trouble


def lines(kept: Kept) -> list[str]:
    """Log records for operators, without attempts."""
    return [
        f"{record.levelname} {record.getMessage()} {record.args} {record.exc_info}"
        for record in kept.records
        if record.name.startswith("thrive_learning")
        and record.levelno >= logging.INFO
        and "attempt" not in record.getMessage()
    ]


@pytest.mark.parametrize("method", ["load", "save", "try_lock", "release"])
@pytest.mark.parametrize(
    "error", [OSError(28, "canary"), RuntimeError("canary"), TypeError("canary")], ids=repr
)
def test_a_store_that_fails_breaks_no_call_and_is_reported_once(
    flavour: Flavour, api: Api, store: Store, kept: Kept, method: str, error: Exception
) -> None:
    store.fails[method] = error
    with flavour.answering(api, OAUTH, token_store=store) as client:
        clocks = Clocks(client)
        for _ in range(3):
            get(client)
            clocks.move(3600)
        assert api.count == 3
        [line] = lines(kept)
        assert "canary" not in line
        assert line.startswith(f"WARNING the token store Store: {type(error).__name__}")
        assert ("No space left on device" in line) == isinstance(error, OSError)
        store.fails.clear()
        get(client)
        assert [line.partition(" ")[0] for line in lines(kept)] == ["WARNING", "INFO"]
        clocks.move(3600)
        get(client)
        assert store.only.value == f"canary-token-{api.count}"
        store.fails[method] = error  # another outage
        clocks.move(3600)
        get(client)
    assert [line.partition(" ")[0] for line in lines(kept)] == ["WARNING", "INFO", "WARNING"]


def test_a_store_works_again_when_all_of_it_does(
    flavour: Flavour, api: Api, store: Store, kept: Kept
) -> None:
    store.fails = dict.fromkeys(("save", "release"), OSError(5, "canary"))
    with flavour.answering(api, OAUTH, token_store=store) as client:
        clocks = Clocks(client)
        for works in ("nothing", "save", "release", "anything"):
            store.fails.pop(works, None)
            store._locks.clear()
            get(client)
            clocks.move(3600)
            assert len(lines(kept)) == (2 if works in {"release", "anything"} else 1)


def test_a_store_that_fails_is_left_alone_for_a_while(flavour: Flavour, api: Api, store: Store) -> None:
    store.fails["load"] = ConnectionError("down")
    api.lifetime_s = 20
    with flavour.answering(api, OAUTH, token_store=store) as client:
        clocks = Clocks(client)
        get(client)
        clocks.move(20)
        get(client)
        assert (api.count, store.asked) == (2, ["load"])
        clocks.move(20)
        get(client)
        assert store.asked == ["load", "load"]


def test_an_invalid_entry_is_replaced(flavour: Flavour, api: Api, store: Store, kept: Kept) -> None:
    store.fails["load"] = ValueError("canary")
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    assert store.only.value == "canary-token-1"
    [line] = lines(kept)
    assert line.startswith("WARNING the token store Store: ValueError; it is replaced")
    assert "canary" not in line


def test_a_store_that_gives_something_else(flavour: Flavour, api: Api, store: Store, kept: Kept) -> None:
    store.load = lambda _key: "canary"  # type: ignore[method-assign,assignment,return-value]
    with flavour.answering(api, OAUTH, token_store=store) as client:
        get(client)
    assert lines(kept)
    assert "canary" not in "".join(lines(kept))


def test_a_corrupt_file_is_replaced(flavour: Flavour, api: Api, tmp_path: Path, kept: Kept) -> None:
    files = FileTokenStore(tmp_path / "tokens")
    for _ in range(2):
        with flavour.answering(api, OAUTH, token_store=files) as client:
            get(client)
        [path] = files.folder.glob("*.json")
        path.write_text("canary")
    assert api.count == 2
    [line] = lines(kept)
    assert "its entry was not written by this package; it is replaced" in line
    assert "canary" not in line


def test_a_folder_that_is_open_to_others_is_not_used(
    flavour: Flavour, api: Api, tmp_path: Path, kept: Kept
) -> None:
    tmp_path.chmod(0o755)
    with flavour.answering(api, OAUTH, token_store=FileTokenStore(tmp_path)) as client:
        get(client)
        get(client)
    assert api.count == 1
    [line] = lines(kept)
    assert "its folder is open to other users (mode 0755). Run chmod go= on it" in line
    assert not list(tmp_path.iterdir())


def test_an_outage_of_redis_and_its_end(flavour: Flavour, api: Api, kept: Kept) -> None:
    with redis_server(password="canary-password") as server:
        cache = RedisTokenStore(server.url)
        server.stop()
        with flavour.answering(api, OAUTH, token_store=cache) as client:
            clocks = Clocks(client)
            get(client)
            assert api.count == 1
            [line] = lines(kept)
            assert line.startswith(
                f"WARNING <RedisTokenStore redis://127.0.0.1:{server.port}/0>: ConnectionError; "
            )
            server.start()
            clocks.now += 3600
            get(client)
            assert (api.count, len(lines(kept))) == (2, 2)
        with flavour.answering(api, OAUTH, token_store=cache) as client:
            get(client)
        assert api.count == 2
        wrong = RedisTokenStore(server.url.replace("password", "wrong"))
        with flavour.answering(api, OAUTH, token_store=wrong) as client:
            get(client)
        assert (api.count, len(lines(kept))) == (3, 3)
        for opened in (cache, wrong):
            opened._client().close()
    assert "canary" not in "".join(lines(kept))


# Cancellation and interrupts


def test_an_interrupt_gives_the_lock_back(api: Api, store: Store) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    api.on_token_request = interrupt
    with ThriveClient(
        Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(api), token_store=store
    ) as client:
        with pytest.raises(KeyboardInterrupt):
            client.activities.get(ACTIVITY_ID)
        wait_until(lambda: not store._locks)
        api.on_token_request = lambda: None
        get(client)


class Slow(Store):
    """A store with one method that waits until it is released."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self._method = method
        self.arrived, self.go_on = threading.Event(), threading.Event()
        self.is_waiting = False

    def _ask(self, method: str) -> None:
        super()._ask(method)
        if method == self._method and not self.go_on.is_set():
            self.arrived.set()
            self.is_waiting = True
            try:
                assert self.go_on.wait(PATIENCE_S)
            finally:
                self.is_waiting = False


class AsyncTransport(httpx.AsyncBaseTransport):
    """Like `Api`; optionally, the first token request never gets a response."""

    def __init__(self, api: Api, *, hangs: bool = False) -> None:
        self.api = api
        self.hangs = hangs
        self.hanging = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self.hangs and not self.hanging.is_set():
            self.hanging.set()
            await anyio.sleep_forever()
        return self.api(request)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (authorizer, sharing, _store_reports):
        monkeypatch.setattr(module, "ANSWER_S", 0.3)


@pytest.mark.parametrize("method", ["load", "try_lock"])
def test_the_deadline_of_a_call_holds_while_a_store_hangs(flavour: Flavour, api: Api, method: str) -> None:
    store = Slow(method)
    with flavour.answering(api, OAUTH, token_store=store) as client:
        for limit_s in growing_limits(0.3):
            with pytest.raises(DeadlineExceededError):
                client.activities.get(ACTIVITY_ID, timeout=limit_s)
            if store.is_waiting:
                break
        assert store.is_waiting
        assert api.count == 0
        store.go_on.set()
        wait_until(lambda: not store._locks)
        get(client)
    assert api.count == 1


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("method", ["load", "try_lock"])
def test_a_store_that_hangs_has_failed(flavour: Flavour, api: Api, kept: Kept, method: str) -> None:
    store = Slow(method)
    with flavour.answering(api, OAUTH, token_store=store) as client:
        for _ in range(2):
            get(client)
        assert api.count == 1
        [line] = lines(kept)
        assert line.startswith(
            "WARNING the token store Slow: no answer within 0.3 s; this process continues with its own "
            "tokens and tries again later"
        )
        store.go_on.set()
        wait_until(lambda: not store._locks)


@pytest.mark.parametrize(
    ("look_s", "has_failed"),
    [(None, True), (0.0, False), (ANSWER_S, True)],
    ids=["no answer", "an answer", "a late answer"],
)
def test_the_waits_of_calls_with_short_time_limits_add_up(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, look_s: float | None, *, has_failed: bool
) -> None:
    monkeypatch.setattr(sharing, "ANSWER_S", ANSWER_S)
    clock = Clock()

    class Late(Store):
        def _ask(self, method: str) -> None:
            super()._ask(method)
            clock.now += look_s or 0.0

    shared = SharedTokens(Late(), Region.STAGING, OAUTH, SingleFlight(clock))

    def turn() -> Turn:
        return shared.turn(KEY, 60, renews=False)

    for _ in range(2):
        clock.now += 2
        turn().late(2)
    assert not lines(kept)
    if look_s is not None:
        turn().look()
    clock.now += 2
    turn().late(2)
    assert [("no answer within 5 s" in line) for line in lines(kept)] == [True] * has_failed
    # A look that does not ask the store does not end its silence either.
    turn().look()
    clock.now += LEFT_ALONE_S
    turn().late(0.1)
    assert (clock.now < shared._left_alone_until) is has_failed


def test_an_interruption_is_not_taken_for_a_failure_of_the_store(
    flavour: Flavour, api: Api, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_key: str) -> None:
        raise TimeoutError("of a signal handler")

    monkeypatch.setattr(sharing, "interruption", lambda error: error)
    store = Store()
    with flavour.answering(api, OAUTH, token_store=store) as client:
        monkeypatch.setattr(store, "load", fail)
        with pytest.raises(TimeoutError, match="of a signal handler"):
            get(client)
    assert not lines(kept)


def test_a_call_does_not_wait_for_a_store_that_hangs_while_it_saves(
    flavour: Flavour, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Slow("save")
    for limit_s in growing_limits(0.05):
        monkeypatch.setattr(authorizer, "_SAVING_S", limit_s)
        with flavour.answering(api, OAUTH, token_store=store) as client:
            get(client)
        if store.is_waiting:
            break
    assert store.is_waiting
    store.go_on.set()
    wait_until(lambda: not store._locks)


@pytest.mark.anyio
async def test_the_event_loop_is_not_blocked_and_the_deadline_holds(api: Api) -> None:
    store = Slow("load")
    async with AsyncThriveClient(
        Region.PRODUCTION, OAUTH, transport=AsyncTransport(api), token_store=store
    ) as client:
        for limit_s in growing_limits(0.05):
            with pytest.raises(DeadlineExceededError):
                await client.activities.get(ACTIVITY_ID, timeout=limit_s)
            if store.arrived.is_set():
                break
        assert store.arrived.is_set()
        store.go_on.set()
        get_ = await client.activities.get(ACTIVITY_ID)
        assert get_.id == ACTIVITY_ID
    assert api.count == 1


@pytest.mark.anyio
async def test_a_lock_acquired_after_its_caller_was_canceled_is_released(api: Api) -> None:
    store = Slow("try_lock")
    async with AsyncThriveClient(
        Region.PRODUCTION, OAUTH, transport=AsyncTransport(api), token_store=store
    ) as client:
        for limit_s in growing_limits(0.05):
            with pytest.raises(DeadlineExceededError):
                await client.activities.get(ACTIVITY_ID, timeout=limit_s)
            if store.arrived.is_set():
                break
        store.go_on.set()
        await wait_in_task_until(lambda: "release" in store.asked and not store._locks)


@pytest.mark.anyio
async def test_a_canceled_token_request_releases_the_lock(api: Api, store: Store) -> None:
    transport = AsyncTransport(api, hangs=True)
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport, token_store=store) as client:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.activities.get, ACTIVITY_ID)
                await transport.hanging.wait()
                assert store._locks
                tasks.cancel_scope.cancel()
            await wait_in_task_until(lambda: not store._locks)
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID
    assert api.count == 1


@pytest.mark.anyio
async def test_a_token_that_comes_at_the_last_moment_is_saved(api: Api, store: Store) -> None:
    """Else the next process would request another."""
    async with AsyncThriveClient(
        Region.PRODUCTION, OAUTH, transport=AsyncTransport(api), token_store=store
    ) as client:
        with anyio.CancelScope() as scope:
            api.on_token_request = scope.cancel
            await client.activities.get(ACTIVITY_ID)
        assert scope.cancel_called
    assert (store.only.value, store._locks) == ("canary-token-1", {})


@pytest.mark.anyio
async def test_a_store_that_hangs_does_not_hold_a_call_that_has_its_token(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Slow("save")
    for limit_s in growing_limits(0.05):
        monkeypatch.setattr(authorizer, "_SAVING_S", limit_s)
        async with AsyncThriveClient(
            Region.PRODUCTION, OAUTH, transport=AsyncTransport(api), token_store=store
        ) as client:
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID
        if store.arrived.is_set():
            break
    store.go_on.set()
    # The call has left the store's thread, which saves the token while another thread releases the lock.
    await wait_in_task_until(lambda: "release" in store.asked and store._tokens)
    assert store.only.value == f"canary-token-{api.count}"


def test_a_task_that_asyncio_cancels_while_it_saves_gives_the_lock_back(api: Api) -> None:
    import asyncio  # noqa: PLC0415 - its own way to cancel is what this is about

    store = Slow("save")

    async def main() -> None:
        async with AsyncThriveClient(
            Region.PRODUCTION, OAUTH, transport=AsyncTransport(api), token_store=store
        ) as client:
            task = asyncio.create_task(client.tokens.get())
            await wait_in_task_until(store.arrived.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await wait_in_task_until(lambda: "release" in store.asked)
            store.go_on.set()

    asyncio.run(main())
    assert not store._locks


def test_a_lock_is_given_back_although_no_thread_can_be_started(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = SharedTokens(store, Region.STAGING, OAUTH, SingleFlight()).turn(KEY, 60, renews=False)
    assert turn.look() == 0
    assert turn.leads

    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    turn.abandon()
    assert not store._locks


def test_a_turn_gives_its_lock_back_once(store: Store) -> None:
    turn = Turn(SharedTokens(store, Region.STAGING, OAUTH, SingleFlight()), KEY, 60, renews=False)
    turn.look()
    turn.end(None)
    turn.end(None)
    turn.abandon()
    assert store.asked.count("release") == 1


# Secrets


def test_nothing_shows(flavour: Flavour, api: Api, store: Store, kept: Kept, tmp_path: Path) -> None:
    credentials = ClientCredentials("tenant", "client", "canary-secret")
    shown: list[str] = []
    for cache in (store, FileTokenStore(tmp_path / "tokens")):
        api.refused.clear()
        with flavour.answering(api, credentials, token_store=cache) as client:
            get(client)
            api.refused.add(f"canary-token-{api.count}")
            get(client)
            api.refused |= {f"canary-token-{number}" for number in range(100)}
            with pytest.raises(UnauthorizedError) as caught:
                client.activities.get(ACTIVITY_ID)
            shared = client._http.authorizer.shared
            shown += [repr(client), repr(client._options), repr(cache), repr(shared), repr(shared._names)]
            shown += [str(caught.value), repr(vars(caught.value)), repr(pickle.dumps(caught.value))]
    shown += [*store._tokens, *(path.name for path in (tmp_path / "tokens").iterdir()), *lines(kept)]
    assert not [text for text in shown if "canary" in text]
