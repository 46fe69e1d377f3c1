"""Read activity records in Celery workers.

Run it with `celery -A tasks worker`. CELERY_BROKER_URL and CELERY_RESULT_BACKEND name the broker and the
result backend. The credentials come from the environment.
"""

import functools
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_shutdown
from celery.utils.time import get_exponential_backoff_interval

from thrive_learning import NotFoundError, ThriveClient, ThriveError

app = Celery("tasks")


@functools.cache
def thrive_client() -> ThriveClient:
    """Return the client of this worker process. Its first task creates it, after the fork."""
    return ThriveClient.from_env(timeout=30)


@worker_process_shutdown.connect
def close_client(**_details: object) -> None:
    """Close the client, if there is one."""
    if thrive_client.cache_info().currsize:
        thrive_client().close()


# Workers log so many characters of each result, which is a record here.
@app.task(bind=True, acks_late=True, max_retries=5, soft_time_limit=60, resultrepr_maxsize=0)
def read_activity(self: "Task[Any, Any]", activity_id: str) -> dict[str, Any] | None:
    """Return a record, or None if the API says that it does not exist.

    The client has already tried three times within 30 seconds. After a transient error, the task runs again
    later. Any other error, such as an invalid ID or rejected credentials, would only repeat.
    """
    try:
        return thrive_client().activities.get(activity_id).to_dict()
    except NotFoundError:
        return None
    except ThriveError as error:
        if not error.is_transient:
            raise
        backoff = get_exponential_backoff_interval(10, self.request.retries, 600, full_jitter=True)
        raise self.retry(exc=error, countdown=max(backoff, error.retry_after or 0)) from None
