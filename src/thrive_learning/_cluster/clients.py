"""Creates the clients of workers, without a secret in a task.

A task holds a `ClientSource`: the name of a profile, or a client that was pickled without its secret. Each
worker process creates one client for it, which all its threads share, and closes it when the worker ends.
"""

import atexit
import hashlib
import os
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import attrs

from thrive_learning._log import fields, logger_of
from thrive_learning.client import ThriveClient
from thrive_learning.errors import ConfigurationError
from thrive_learning.token_stores import TokenStore

_logger = logger_of("cluster")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@attrs.frozen
class ClientSource:
    """The source of a worker's client. It has no secret, unless `Secret(may_pickle=True)` allows it."""

    _pickled: bytes = attrs.field(repr=False)
    _has_store: bool = attrs.field(repr=False)
    _process: int = attrs.field(factory=os.getpid, repr=False, eq=False)

    @classmethod
    def of(cls, client: object = None, profile: str | None = None, **options: Any) -> "ClientSource":
        """Return the source for the arguments of a function.

        Args:
            client: A client to create copies of; None to use the environment and a profile.
            profile: The profile to use; None for the one in the environment.
            **options: Options of the client to set or replace. None keeps an option.

        Raises:
            ConfigurationError: The client or an option cannot be sent to workers.
        """
        options = {name: value for name, value in options.items() if value is not None}
        if client is None:
            pickled = _pickled_of((None, (profile,), options), "The options of the client")
            return cls(pickled, "token_store" in options)
        if not isinstance(client, ThriveClient):
            raise ConfigurationError(
                f"client is of type {type(client).__name__}. Pass a ThriveClient, or None to create it from "
                "the environment."
            )
        if profile is not None:
            raise ConfigurationError(
                "client= and profile= exclude each other, because the client has its settings already. "
                "Pass one of the two."
            )
        revive, arguments = client.__reduce__()
        has_store = (arguments[-1] | options)["token_store"] is not None
        return cls(_pickled_of((revive, arguments, options), "The client"), has_store)

    @property
    def shares_nothing_here(self) -> bool:
        """Whether this is another process than that of the caller, and no token store connects the two."""
        return not self._has_store and self._process != os.getpid()

    def create(self, token_store: TokenStore | None) -> ThriveClient:
        """Create a client.

        Args:
            token_store: The token store for a client without one.

        Raises:
            ConfigurationError: A setting is missing or not valid here.
        """
        revive, arguments, options = _unpickled(self._pickled)
        if revive is None:
            defaults: dict[str, Any] = {} if token_store is None else {"token_store": token_store}
            return ThriveClient.from_env(profile=arguments[0], **defaults | options)
        *others, kept = arguments
        options = kept | options
        if options["token_store"] is None:
            options["token_store"] = token_store
        client: ThriveClient = revive(*others, options)
        return client


def _pickled_of(value: object, name: str) -> bytes:
    try:
        # Not cloudpickle, which would pickle a function with the secrets that it refers to.
        return pickle.dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        problem = f"{name} cannot be sent to workers: {error}"
    raise ConfigurationError(problem)


def _unpickled(pickled: bytes) -> Any:
    try:
        return pickle.loads(pickled)  # noqa: S301 - this process or the one that started the task wrote it
    except (ImportError, AttributeError) as error:
        problem = f"{error}"
    raise ConfigurationError(
        f"The client cannot be created in this process: {problem}. Install the same packages everywhere, and "
        "define functions in a module that workers can import."
    )


# Created clients, by worker, environment, and source. `None` stands for a process without a worker.
_clients: dict[tuple[str | None, bytes, ClientSource], ThriveClient] = {}
_lock = threading.Lock()


def client_of(source: ClientSource) -> ThriveClient:
    """Return the client of this worker for a source. All threads of the worker share it.

    Raises:
        ConfigurationError: A setting is missing or not valid here.
    """
    worker = _current_worker()
    key = (None if worker is None else worker.address, _environment(), source)
    with _lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = _created(source) if worker is None else _created_in(worker, source)
    return client


def _created(source: ClientSource) -> ThriveClient:
    client = source.create(None)  # first, because it may set up the log of this process
    if source.shares_nothing_here:  # with scheduler="processes"
        _logger.warning(
            "the processes of this scheduler share no memory, so each has its own token and rate limit. Pass "
            "token_store=, or use a distributed.Client",
            extra=fields("no_shared_store", error=None),
        )
    return client


def _created_in(worker: Any, source: ClientSource) -> ThriveClient:
    try:
        return source.create(_begin(worker))
    except ConfigurationError as error:
        problem = str(error).rstrip(".")
    # The user would otherwise look for the mistake in the environment of another process.
    raise ConfigurationError(
        f"the worker {worker.address} cannot create its client: {problem}. Check the environment in which "
        "this worker was started."
    )


def _environment() -> bytes:
    """Return a digest of the variables that settings come from."""
    names = (name for name in os.environ if name.startswith("THRIVE_") or name.upper() in _PROXIES)
    return hashlib.sha256(repr([(name, os.environ[name]) for name in sorted(names)]).encode()).digest()


def _current_worker() -> Any:
    """Return the worker of distributed that runs the current task; None outside of one."""
    distributed: Any = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None


def _begin(worker: Any) -> TokenStore | None:
    """Prepare a worker for its clients, and return the store that they share with other workers, if any."""
    from thrive_learning._cluster.scheduler_store import (  # noqa: PLC0415 - of an extra
        SchedulerTokenStore,
        run_at_end,
    )

    run_at_end(worker, close_clients)
    try:
        return SchedulerTokenStore(worker)
    except Exception as error:  # noqa: BLE001 - the scheduler raises what it likes
        reason = type(error).__name__
    _logger.warning(
        "the scheduler cannot keep tokens (%s), so each worker has its own token and rate limit. Look for "
        "the cause in the log of the scheduler, or pass token_store=",
        reason,
        extra=fields("no_shared_store", error=reason),
    )
    return None


def close_clients(worker: str | None) -> None:
    """Close the clients of a worker, or those without a worker."""
    with _lock:
        closing = [_clients.pop(key) for key in [*_clients] if key[0] == worker]
    for client in closing:
        client.close()


atexit.register(close_clients, None)


def _after_fork() -> None:
    """Replace the lock in a forked child, because a thread that it does not have may hold it."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


# Without fork there is nothing to register, and dict() accepts the keyword silently.
_register: Callable[..., object] = getattr(os, "register_at_fork", dict)
_register(after_in_child=_after_fork)
