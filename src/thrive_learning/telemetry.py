"""The setting that reports the calls of a client to OpenTelemetry."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


@attrs.frozen
class OpenTelemetry:
    """Report the calls of a client as spans and metrics. Pass it as `telemetry=`.

    It needs the extra `otel`, which is OpenTelemetry's API alone. The application chooses the SDK and the
    exporter. Spans and metrics contain neither a URL, a secret, nor the tenant ID.

    Args:
        tracer_provider: Where spans go; None for the global provider.
        meter_provider: Where metrics go; None for the global provider.

    Source: https://opentelemetry.io/docs/specs/otel/library-guidelines/
    """

    tracer_provider: "TracerProvider | None" = None
    meter_provider: "MeterProvider | None" = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.tracer_provider is not None or self.meter_provider is not None:
            raise TypeError(
                "an OpenTelemetry with a provider cannot be pickled. "
                "Use the global providers, or create it where it is needed."
            )
        return type(self), ()

    # It is immutable, and a copy would need copies of the providers.
    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self
