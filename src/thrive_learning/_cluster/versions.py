"""Checks that the machines of a Dask cluster have the same versions, and waits for the first worker."""

import sys
from typing import Any

from thrive_learning._log import fields, logger_of
from thrive_learning._version import __version__
from thrive_learning.errors import ConfigurationError

_logger = logger_of("cluster")

_PACKAGE = "thrive_learning"

#: An expression for the versions of Python and of the package that a machine imports, which may be installed
#: without metadata, or not at all. It is text, because a machine without the package could not unpickle a
#: function of it, and one with another Python could not run a pickled function.
_VERSIONS = (
    "('{}.{}'.format(*__import__('sys').version_info), __import__('%(name)s').__version__ "
    "if __import__('importlib.util').util.find_spec('%(name)s') else None)"
)


def check_cluster(client: Any) -> None:
    """Wait for a worker, however long it takes, and raise if a machine has other versions.

    Args:
        client: The connection, a `distributed.Client`.

    Raises:
        ConfigurationError: A machine has other versions.
    """
    check_versions(client)
    if client.nthreads():
        return
    address = client.scheduler.address
    _logger.warning(
        "the Dask scheduler at %s has no workers. Waiting for one",
        address,
        extra=fields("no_workers", scheduler=address),
    )
    client.submit(int, pure=False).result()  # a cluster that adapts starts a worker only if there is work
    check_versions(client)


def check_versions(client: Any) -> None:
    """Raise if the scheduler or a worker has other versions than this machine.

    Args:
        client: The connection, a `distributed.Client`.

    Raises:
        ConfigurationError: A machine has other versions, or cannot import the package.
    """
    question = _VERSIONS % {"name": _PACKAGE}
    try:  # it unpickles the tasks, and keeps the token and the rate limit
        scheduler = client.run_on_scheduler(eval, question)
    except Exception as error:  # noqa: BLE001 - an import can raise anything
        scheduler = error
    workers: dict[str, Any] = client.run(eval, question, on_error="return")
    _compare("the scheduler", scheduler)
    for name, answer in workers.items():
        _compare(f"the worker {name}", answer)


def _compare(name: str, answer: Any) -> None:
    """Raise if the answer of a machine differs from that of this one.

    Args:
        name: The name of the machine.
        answer: Its versions, or the exception that it raised.

    Raises:
        ConfigurationError: It differs.
    """
    if isinstance(answer, OSError):  # a worker has just left; another call notices a lost scheduler
        return
    if isinstance(answer, Exception):
        raise ConfigurationError(
            f"{name} cannot import thrive-learning ({type(answer).__name__}: {answer}). Install the same "
            "packages everywhere."
        )
    mine = ("{}.{}".format(*sys.version_info), __version__)
    for package, version, theirs in zip(("Python", "thrive-learning"), mine, answer, strict=True):
        if theirs != version:
            has = f"has {package} {theirs}" if theirs else f"does not have {package}"
            raise ConfigurationError(
                f"{name} {has}, and this machine has {version}. Install the same version everywhere."
            )
