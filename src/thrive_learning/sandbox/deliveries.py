"""Post webhooks for new records from a separate thread, as the platform does."""

import http.client
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from thrive_learning.sandbox.webhooks import delivery

#: The events by type of record. The platform documents no events for other types.
EVENTS = {"completed": "content.completed", "passed": "content.passed"}
_LIMIT_S = 30.0  # the time limit of the platform

#: Called with the event and the result of its delivery, which is a status or an error.
OnDelivery = Callable[[str, str], object]


def _ignore(_event_type: str, _outcome: str) -> None:
    pass


class Deliveries:
    """Sends deliveries one at a time. A delivery that fails is not repeated.

    Args:
        url: The receiver's URL, which begins with http:// or https://.
        secret: The secret that signs deliveries; None to send them unsigned.
        on_delivery: Called in the thread after each delivery.
        clock: Returns the time in Unix seconds.

    Raises:
        ValueError: The URL is not valid.

    Source:
        https://docs.thrivelearning.com/apidocs/webhooks
    """

    def __init__(
        self,
        url: str,
        secret: str | None,
        *,
        on_delivery: OnDelivery = _ignore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._is_tls, self._host, self._port, self._target = _destination(url)
        self._secret = secret
        self._on_delivery = on_delivery
        self._clock = clock
        self._waiting: queue.SimpleQueue[tuple[int, Mapping[str, Any]] | None] = queue.SimpleQueue()
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="thrive-webhooks", daemon=True)
        self._thread.start()

    def announce(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Queue deliveries for the new records about which the platform sends a webhook."""
        for record in records:
            if record["type"] in EVENTS:
                self._waiting.put((self._count, record))
                self._count += 1

    def close(self) -> None:
        """Wait until all deliveries are sent."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            number, record = item
            event_type = EVENTS[record["type"]]
            changes = {
                "createdAt": record["date"],
                "user": {"id": record["user"]},
                "content": {"id": record["contextId"], "type": record["contentType"]},
            }
            headers, body = delivery(event_type, self._secret, self._clock(), number=number, changes=changes)
            self._on_delivery(event_type, self._post(headers, body))

    def _post(self, headers: Mapping[str, str], body: bytes) -> str:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_LIMIT_S)
        try:
            connection.request("POST", self._target, body, dict(headers))
            return str(connection.getresponse().status)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"failed: {type(error).__name__}: {error}"
        finally:
            connection.close()


def _destination(url: str) -> tuple[bool, str, int | None, str]:
    """Return whether a URL uses TLS, and its host, port, and target."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        pass  # such as a port that is not a number
    else:
        written_well = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
        if host and parts.scheme in {"http", "https"} and written_well:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return parts.scheme == "https", host, port, target
    # The message does not include the URL, which may contain a password.
    raise ValueError("not a valid URL for webhooks. Write it as http://host:port/path")
