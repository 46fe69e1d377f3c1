"""Post a delivery of a webhook to a receiver, once and without following redirects."""

import re
import urllib.parse
from typing import TYPE_CHECKING

from thrive_learning._hosts import is_valid_host
from thrive_learning.errors import ConfigurationError, ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thrive_learning._exchange.reply import Reply

_NETLOC = re.compile(r"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)


def _problem_of_url(url: str) -> str | None:  # noqa: PLR0911 - one for each problem
    """Return why deliveries cannot be posted to a URL, and what to do; None if the URL is valid."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "contains a space or characters that are not printable ASCII. Percent-encode them"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a valid URL ({error}). Write it as https://host/path"
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return "does not begin with http:// or https:// and a host. Write it as https://host/path"
    if "@" in parts.netloc:
        return "contains a user name. Remove it"
    if "\\" in url:
        return "contains a backslash. Write / instead"
    found = _NETLOC.fullmatch(parts.netloc)
    if found is None or not is_valid_host(found[1]) or port == 0:
        return "has an invalid host or port. Write it as https://host/path"
    return None


def post(url: str, headers: "Mapping[str, str]", body: bytes, limit_s: float) -> "Reply":
    """Post a delivery once.

    Args:
        url: A URL that `require_url` accepts.
        headers: The headers of the delivery.
        body: Its body.
        limit_s: The time limit in seconds.

    Raises:
        ConnectionFailedError: There is no response.
    """
    # Imported here because --help does not need them.
    from thrive_learning._budget import Budget  # noqa: PLC0415
    from thrive_learning._exchange.attempts import SyncAttempts  # noqa: PLC0415
    from thrive_learning._exchange.engines import sync_engines  # noqa: PLC0415
    from thrive_learning._exchange.messages import Purpose  # noqa: PLC0415
    from thrive_learning._http.port import Request, parse_url  # noqa: PLC0415
    from thrive_learning._http.routes import Routes  # noqa: PLC0415
    from thrive_learning._version import __version__  # noqa: PLC0415
    from thrive_learning.policies import RetryPolicy, Timeout  # noqa: PLC0415

    origin, host, target = parse_url(url)
    lines = {
        "user-agent": f"thrive-learning/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
        **headers,
    }
    encoded = [(b"host", host), *((name.encode(), value.encode("latin-1")) for name, value in lines.items())]
    routes = Routes(
        build=sync_engines("httpx"), is_async=False, urls=[url], transport=None, proxy=None, verify=True
    )
    budget = Budget(Timeout(*[limit_s] * 5), RetryPolicy(attempts=1))
    attempts = SyncAttempts("webhook", routes, lambda _request: (), None)
    try:
        return attempts.exchange(
            Request("POST", origin, target, encoded, body),
            budget,
            Purpose("webhook send", "webhook", url.partition("?")[0]),
        )
    except ConnectionFailedError as error:
        # The original advice refers to the region's URL.
        message = re.sub(r"the region's URLs?", "the URL", str(error))
        failure = type(error)(message.replace("with timeout=", "with --timeout"))
    finally:
        for engine in routes.take_those_to_close():
            engine.close()
    raise failure


def require_url(url: str) -> None:
    """Check that deliveries can be posted to a URL.

    Raises:
        ConfigurationError: The URL is not valid.
    """
    problem = _problem_of_url(url)
    if problem is not None:
        shown = "the URL" if "@" in url else repr(url)
        raise ConfigurationError(f"{shown} {problem}.")
