"""The result of `client.check()`, which says whether the client's settings work."""

import enum
from typing import Any

import attrs

from thrive_learning.errors import ThriveError


class CheckStatus(enum.StrEnum):
    """The outcome of one part of a check.

    Attributes:
        OK: It works.
        WARNING: It works, but something needs attention.
        UNKNOWN: The check could not find out whether it works.
        FAILED: It does not work.
        SKIPPED: It does not apply, or an earlier failure prevented it.
    """

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen(kw_only=True)
class CheckFinding:
    """One finding of a check.

    Attributes:
        subject: The checked part: `region`, `credentials`, `proxy`, `certificates`, `token`, `scopes`, `api`
            (or `record`, with an ID), or `clock`.
        status: The outcome.
        detail: What was found, and what to do about it. It contains no secret.
        error: The error of a call that failed; None otherwise.
    """

    subject: str
    status: CheckStatus
    detail: str
    error: ThriveError | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class CheckReport:
    """The findings of `client.check()`.

    Attributes:
        region: The region's name.
        findings: The findings, in the order of the checks.
    """

    region: str
    findings: tuple[CheckFinding, ...]

    @property
    def ok(self) -> bool:
        """Whether the settings work. False if anything failed or is unknown; warnings do not count."""
        return not any(
            finding.status in {CheckStatus.FAILED, CheckStatus.UNKNOWN} for finding in self.findings
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as an object for JSON."""
        findings = [
            {"subject": finding.subject, "status": str(finding.status), "detail": finding.detail}
            for finding in self.findings
        ]
        return {"ok": self.ok, "region": self.region, "findings": findings}
