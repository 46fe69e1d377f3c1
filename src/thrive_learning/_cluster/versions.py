"""Checks that a Dask cluster has workers, and that its machines have the same versions."""

from typing import Any

from thrive_learning._log import fields, logger_of
from thrive_learning.errors import ConfigurationError, ConnectionFailedError

_logger = logger_of("cluster")

#: How long a cluster without workers may take to start one. A cluster that starts machines needs minutes.
FIRST_WORKER_S = 300.0


def check_cluster(client: Any) -> None:
    """Wait for a worker, and raise if none starts or a machine has other versions.

    Args:
        client: The connection, a `distributed.Client`.

    Raises:
        ConfigurationError: A machine has other versions.
        ConnectionFailedError: The cluster has no workers.
    """
    check_versions(client)
    if client.nthreads():
        return
    address = client.scheduler.address
    _logger.warning(
        "the Dask scheduler at %s has no workers. Waiting up to %.0f s for one",
        address,
        FIRST_WORKER_S,
        extra=fields("no_workers", scheduler=address),
    )
    try:  # a cluster that adapts starts a worker only if there is work
        client.submit(int, pure=False).result(timeout=FIRST_WORKER_S)
        has_workers = True
    except TimeoutError:
        has_workers = False
    if not has_workers:
        raise ConnectionFailedError(
            f"the Dask scheduler at {address} has no workers after {FIRST_WORKER_S:.0f} s. Start one with: "
            f"dask worker {address}"
        )
    check_versions(client)


def check_versions(client: Any) -> None:
    """Raise if the scheduler or a worker has other versions than this machine.

    Args:
        client: The connection, a `distributed.Client`.

    Raises:
        ConfigurationError: A machine has other versions.
    """
    versions: Any = client.get_versions(packages=["thrive_learning"])
    mine = _facts(versions["client"])
    # The scheduler unpickles the tasks, and keeps the token and the rate limit.
    others = {"the scheduler": versions["scheduler"]}
    others |= {f"the worker {name}": found for name, found in versions["workers"].items()}
    for name, theirs in ((name, _facts(found)) for name, found in others.items()):
        for package, version in mine.items():
            if theirs[package] != version:
                has = f"has {package} {theirs[package]}" if theirs[package] else f"does not have {package}"
                raise ConfigurationError(
                    f"{name} {has}, and this machine has {version}. Install the same version everywhere."
                )


def _facts(versions: Any) -> dict[str, str | None]:
    packages = versions["packages"]
    return {
        "Python": ".".join(packages["python"].split(".")[:2]),
        "thrive-learning": packages["thrive_learning"],
    }
