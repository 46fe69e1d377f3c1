"""Reports departures of responses from the contract, once per kind and client."""

import logging
import re
from collections.abc import Callable, Iterable
from typing import Final

from thrive_learning._exchange.server_text import show
from thrive_learning._interruptions import interruption
from thrive_learning._log import fields, logger_of
from thrive_learning.drift import Drift

logger = logger_of("drift")

#: The number of kinds that one client reports, because a server may use any number of field names.
MAX_KINDS: Final = 500

_INDEX = re.compile(r"\[\d+\]")

_LONGEST_NAME = 64  # the longest name that a report repeats, in characters


class DriftReports:
    """Remembers the kinds of drift that a client has reported.

    Args:
        on_drift: Called with each kind; None to log only.
    """

    def __init__(self, on_drift: Callable[[Drift], object] | None) -> None:
        self._on_drift = on_drift
        self._disclosed: dict[tuple[str, Drift], Drift] = {}
        self._reported: dict[tuple[str, ...], object] = {}

    def report(
        self, problems: Iterable[Drift], region: str, operation: str, secrets: Callable[[], tuple[str, ...]]
    ) -> tuple[Drift, ...]:
        """Report new kinds.

        Args:
            problems: The departures in one response, with the server's text.
            region: The region's name.
            operation: The method that was called.
            secrets: Returns the secrets to mask in the server's text.

        Returns:
            The same problems, masked and shortened.
        """
        disclosed = tuple(self._disclose(drift, operation, secrets) for drift in problems)
        for drift in disclosed:
            kind = (
                drift.kind,
                _INDEX.sub("", drift.field),  # all items of an array are of one kind
                "" if drift.kind == "unknown_field" else drift.found,
            )
            token = object()
            # Atomic, so that only one of two threads reports a new kind.
            if len(self._reported) <= MAX_KINDS and self._reported.setdefault(kind, token) is token:
                self._report(drift, region, is_last=len(self._reported) > MAX_KINDS)
        return disclosed

    def _disclose(self, drift: Drift, operation: str, secrets: Callable[[], tuple[str, ...]]) -> Drift:
        # Real records repeat the same unknown fields, so they share one object.
        known = self._disclosed.get((operation, drift))
        if known is not None:
            return known
        known = drift._replace(operation=operation)
        # Only the server's text, because masking a short secret in our words would make them unreadable.
        if drift.kind == "unknown_field":
            known = known._replace(field=_show(drift.field, secrets))
        elif drift.kind == "unknown_value":
            known = known._replace(found=_show(drift.found, secrets))
        if len(self._disclosed) < MAX_KINDS and len(drift.field) + len(drift.found) <= 2 * _LONGEST_NAME:
            self._disclosed[operation, drift] = known
        return known

    def _report(self, drift: Drift, region: str, *, is_last: bool) -> None:
        if is_last:
            logger.warning(
                "%s: responses differ from the contract in more than %d ways. No more are reported.",
                region,
                MAX_KINDS,
                extra=fields("drift_limit", region=region),
            )
            return
        level = logging.WARNING if drift.breaks_contract else logging.INFO
        extra = fields(
            "drift",
            region=region,
            operation=drift.operation,
            kind=drift.kind,
            field=drift.field,
            found=drift.found,
        )
        logger.log(level, "%s: %s: %s", region, drift.operation, drift, extra=extra)
        if self._on_drift is not None:
            try:
                self._on_drift(drift)
            except Exception as error:
                if interruption(error) is not None:
                    raise
                extra = fields("callback_failed", region=region, operation=drift.operation)
                logger.exception("on_drift= failed; the call continues", extra=extra)


def _show(text: str, secrets: Callable[[], tuple[str, ...]]) -> str:
    try:
        return show(text, secrets(), _LONGEST_NAME)
    except Exception:  # noqa: BLE001 - a secret may come from the caller's function, which may raise anything
        return "…"  # text that cannot be masked is not shown
