"""What `client.check()` returns: what was found, and whether the client's settings work."""

import enum
from typing import Any

import attrs

from thrive_learning.errors import ThriveError


class CheckStatus(enum.StrEnum):
    """The outcome of one part of a check.

    Attributes:
        OK: It is known to work.
        WARNING: It works, with something to look at.
        UNKNOWN: The check could not find out whether it works.
        FAILED: It is known not to work.
        SKIPPED: It does not apply, or was not reached because of a failure above.
    """

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen(kw_only=True)
class CheckFinding:
    """One thing that a check found out.

    Attributes:
        subject: What it is about: `region`, `credentials`, `proxy`, `certificates`, `token`, `scopes`, `api`
            (or `record`, with an ID) or `clock`.
        status: What became of it.
        detail: What was found, and what to do about it; no secret is in it.
        error: The error of a call that failed.
    """

    subject: str
    status: CheckStatus
    detail: str
    error: ThriveError | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class CheckReport:
    """What `client.check()` found out.

    Attributes:
        region: The region's name.
        findings: What was found, in the order in which it was looked at.
    """

    region: str
    findings: tuple[CheckFinding, ...]

    @property
    def ok(self) -> bool:
        """Whether the settings are known to work: nothing failed or is unknown; there may be warnings."""
        return not any(
            finding.status in {CheckStatus.FAILED, CheckStatus.UNKNOWN} for finding in self.findings
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON can say it."""
        findings = [
            {"subject": finding.subject, "status": str(finding.status), "detail": finding.detail}
            for finding in self.findings
        ]
        return {"ok": self.ok, "region": self.region, "findings": findings}
