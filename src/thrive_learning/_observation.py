"""Turns calls and bulk runs into spans and metrics. It is loaded by the first client with `telemetry=`."""

import os
import re
import threading
from contextlib import AbstractContextManager
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self

from thrive_learning._clock import monotonic
from thrive_learning._interruptions import interruption
from thrive_learning._log import fields, logger_of
from thrive_learning._version import __version__
from thrive_learning.errors import Attempt, ConfigurationError
from thrive_learning.telemetry import OpenTelemetry

#: How many events one span has at most. Beyond 128, SDKs drop the earliest ones by default.
MAX_EVENTS: Final = 100

#: Bounds of the buckets of durations, in seconds: those of HTTP requests, and up to a minute for retries.
#: Source: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)

logger = logger_of("telemetry")

_NAME = "thrive_learning"
_TOKEN_REQUEST = "tokens.get"  # noqa: S105 - the name of an operation
_TOO_MANY_REQUESTS = 429


class Observer:
    """Reports what one client does.

    Args:
        telemetry: The client's `telemetry=`.
        region: The region's name.
        tenant_id: The tenant ID, which is masked in the region and in request IDs; "" for none.

    Raises:
        ConfigurationError: It is not an OpenTelemetry, has something else as a provider, or the extra `otel`
            is not installed.
    """

    def __init__(self, telemetry: object, region: str, tenant_id: str = "") -> None:
        if not isinstance(telemetry, OpenTelemetry):
            raise ConfigurationError(f"telemetry is {telemetry!r}. Pass OpenTelemetry() or None.")
        for name in ("tracer", "meter"):
            provider = getattr(telemetry, f"{name}_provider")
            if provider is not None and not callable(getattr(provider, f"get_{name}", None)):
                kind = f"{name.title()}Provider"
                raise ConfigurationError(f"{name}_provider is {provider!r}. Pass a {kind} or None.")
        self.api: Any = _api()
        named = rf"(?<![A-Za-z0-9]){re.escape(tenant_id)}(?![A-Za-z0-9])" if tenant_id else "(?!)"
        self._tenant_id = re.compile(named, re.IGNORECASE)
        self.region: str = self._tenant_id.sub("{tenant_id}", region)
        self.guard: _Guard = _Guard(region)
        self.key: str = self.api.context.create_key(_NAME)
        self.tracer: Any = self.api.trace.get_tracer(_NAME, __version__, telemetry.tracer_provider)
        meter = self.api.metrics.get_meter(_NAME, __version__, telemetry.meter_provider)
        self.duration: Any = meter.create_histogram(
            "thrive.client.call.duration",
            "s",
            "Duration of calls and bulk runs",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self.records: Any = meter.create_histogram(
            "thrive.client.run.records", "{record}", "Records that a bulk run returned"
        )
        self._attempts = meter.create_counter("thrive.client.attempts", "{attempt}", "HTTP requests")
        self._token_requests = meter.create_counter(
            "thrive.client.token_requests", "{request}", "HTTP requests to a token endpoint"
        )
        self._waits = meter.create_histogram(
            "thrive.client.rate_limit.wait",
            "s",
            "Waits for the client's rate limit",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self._throttles = meter.create_counter(
            "thrive.client.throttles", "{response}", "Responses with status 429"
        )

    def call(self, operation: str, subject: str | None = None) -> "Observation":
        """Return the observation of a call, a context manager whose block is the call."""
        return Observation(self, operation, subject)

    def run(self, operation: str) -> "Observation":
        """Begin to observe a bulk run. Its `end` ends the span."""
        return Observation(self, operation, is_run=True)

    def attempted(self, attempt: Attempt) -> None:
        """Report an attempt, and add it to the span of its call or run."""
        operation = {"thrive.operation": attempt.operation, "thrive.region": self.region}
        outcome = operation | _outcome(attempt)
        with self.guard:
            self._attempts.add(1, outcome)
            if attempt.operation == _TOKEN_REQUEST:
                self._token_requests.add(1, outcome)
            if attempt.status_code == _TOO_MANY_REQUESTS:
                self._throttles.add(1, operation)
            if attempt.waited:
                self._waits.record(attempt.waited, operation)
        observation = self.api.context.get_value(self.key)
        if isinstance(observation, Observation):
            request_id = attempt.request_id
            if request_id is not None:  # a gateway may build it from the tenant ID
                attempt = attempt._replace(request_id=self._tenant_id.sub("{tenant_id}", request_id))
            observation.attempted(attempt)


class Observation:
    """One call or bulk run, and its span. As a context manager, it is a call, and ends with its block.

    Args:
        observer: The client's.
        operation: The method, such as `activities.get`.
        subject: What it is about, such as the ID of a record.
        is_run: Whether it is a bulk run, which has any number of attempts, in any number of threads or tasks.
    """

    def __init__(
        self, observer: Observer, operation: str, subject: str | None = None, *, is_run: bool = False
    ) -> None:
        self._observer = observer
        self._operation = operation
        self._is_run = is_run
        self._attributes = {"thrive.operation": operation, "thrive.region": observer.region}
        known = {"thrive.subject": subject} if subject else {}
        self._began = monotonic()
        self._process = os.getpid()
        self._span: Any = observer.api.trace.INVALID_SPAN
        with observer.guard:
            self._span = observer.tracer.start_span(
                f"thrive.{operation}", attributes=self._attributes | known
            )
        context = observer.api.trace.set_span_in_context(self._span)
        self._context = observer.api.context.set_value(observer.key, self, context)
        self._lock = threading.RLock()  # the garbage collector may end a run at any moment
        self._ended = False
        self._events = self._resends = self._records = self._failures = 0
        self._status: int | None = None

    def attached(self) -> AbstractContextManager[object]:
        """Let this thread or task belong to the call or run within a block, and so what it starts."""
        return _Attached(self._observer.api.context, self._context, self._observer.key)

    def __enter__(self) -> Self:
        self._attached = self.attached()
        self._attached.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._attached.__exit__(kind, error, traceback)
        self.end(kind)

    def attempted(self, attempt: Attempt) -> None:
        """Add an attempt. Of a bulk run, only failed attempts become events."""
        resend = attempt.number - 1
        with self._lock:
            if self._ended:
                return
            self._status = attempt.status_code
            if resend and (attempt.operation != _TOKEN_REQUEST or self._operation == _TOKEN_REQUEST):
                self._resends += 1
            if self._is_run and attempt.error is None:
                return
            self._events += 1
            with self._observer.guard:
                if self._events <= MAX_EVENTS and self._span.is_recording():
                    self._span.add_event("thrive.attempt", _described(attempt, resend))

    def took(self, records: int, failures: int) -> None:
        """Count what a bulk run has returned."""
        with self._lock:
            self._records += records
            self._failures += failures

    def end(self, failure: type[BaseException] | None = None, *, is_complete: bool = False) -> None:
        """End the span, once.

        Args:
            failure: The class of the exception that ended the call or run; None for a success, and for a run
                that was abandoned.
            is_complete: Whether a run came to its end.
        """
        with self._lock:
            if self._ended or os.getpid() != self._process:  # a forked child has a copy of the span
                return
            self._ended = True
        failed = {} if failure is None else {"error.type": _error_type(failure)}
        metered = self._attributes | failed
        context = self._context  # so that measurements can be exemplars of the span
        guard = self._observer.guard
        with guard:
            self._observer.duration.record(monotonic() - self._began, metered, context)
        found: dict[str, Any] = {"http.request.resend_count": self._resends} if self._resends else {}
        if self._is_run:
            with guard:
                self._observer.records.record(self._records, self._attributes, context)
            found["thrive.run.records"], found["thrive.run.failures"] = self._records, self._failures
            found["thrive.run.is_complete"] = is_complete
        elif self._status is not None:
            found["http.response.status_code"] = self._status
        with guard:
            self._span.set_attributes(found | failed)
            if failed:
                self._span.set_status(self._observer.api.trace.StatusCode.ERROR)
            self._span.end()


class _Guard:
    """Keeps a failure of telemetry, such as of a span processor, from the call. It logs the first one.

    Args:
        region: The region's name.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._has_failed = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or interruption(error) is not None:
            return False
        if not self._has_failed:
            self._has_failed = True
            extra = fields("telemetry_failed", region=self._region)
            logger.error("telemetry= failed; the call continues", exc_info=error, extra=extra)
        return True


class _Attached:
    """Makes a context of OpenTelemetry, which has a value of ours, the current one within a block."""

    def __init__(self, api: Any, context: Any, key: str) -> None:
        self._api = api
        self._context = context
        self._key = key

    def __enter__(self) -> None:
        self._token = self._api.attach(self._context)

    def __exit__(self, *_error: object) -> None:
        # A coroutine that is dropped ends in another context, where the API would log a failure.
        if self._api.get_value(self._key) is self._api.get_value(self._key, self._context):
            self._api.detach(self._token)


def _api() -> Any:
    try:
        from opentelemetry import context, metrics, trace  # noqa: PLC0415 - an extra
    except ImportError as error:
        missing = str(error)
    else:
        return SimpleNamespace(context=context, metrics=metrics, trace=trace)
    raise ConfigurationError(
        f"telemetry= needs OpenTelemetry's API, which cannot be imported ({missing}). "
        "Run python3 -m pip install 'thrive-learning[otel]'."
    )


def _outcome(attempt: Attempt) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if attempt.status_code is not None:
        found["http.response.status_code"] = attempt.status_code
    if attempt.error is not None:
        # `status 503` becomes `503`, as for the spans of HTTP.
        found["error.type"] = attempt.error.removeprefix("status ")
    return found


def _described(attempt: Attempt, resend: int) -> dict[str, Any]:
    found: dict[str, Any] = {"thrive.operation": attempt.operation, "thrive.subject": attempt.subject}
    found |= {"thrive.attempt.duration": attempt.elapsed, "thrive.attempt.delay": attempt.delay}
    found |= {"thrive.attempt.waited": attempt.waited or None}
    found |= {"thrive.request_id": attempt.request_id, "http.request.resend_count": resend or None}
    return {name: value for name, value in found.items() if value is not None} | _outcome(attempt)


def _error_type(failure: type[BaseException]) -> str:
    name = failure.__name__
    # Cancellations of asyncio and of trio have different names.
    return "cancelled" if name in {"CancelledError", "Cancelled"} else name
