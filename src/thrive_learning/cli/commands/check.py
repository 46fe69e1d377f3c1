"""`thrive check`: whether the settings work, and where each of them comes from."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from thrive_learning.cli import EXAMPLE_ID
from thrive_learning.cli.exit_codes import ExitCode, exit_code
from thrive_learning.cli.options import Target, output_option, talks_to_the_api
from thrive_learning.cli.rendering import as_columns, as_json
from thrive_learning.cli.terminal import chosen_output, complain, heading, page_width, styled, write
from thrive_learning.regions import Region

if TYPE_CHECKING:
    from thrive_learning._settings.resolution import Settings
    from thrive_learning.checks import CheckFinding, CheckReport

_CHECK = f"""\b
Examples:
  thrive check --sandbox
  thrive check
  thrive check {EXAMPLE_ID} --region staging
  thrive check --try-regions
  thrive check -o json | jq .ok

The report shows the source of each setting and which others it overrides, and
the proxy and certificates in use. The command requests a token, compares its
scopes with the requested ones, requests a record from the API, repeats that with
made-up credentials (which the API must reject), and compares the clocks. Secrets
are masked.

The exit code is 0 only if the settings work. Otherwise, it is that of the first
failure, or 11 if the result is unknown. See `thrive --help`.
"""

_COLORS = {"ok": "green", "warning": "yellow", "unknown": "yellow", "failed": "red", "rejected": "red"}
_ACCEPTANCE = {True: "ok", False: "rejected", None: "unknown"}


class _OtherRegion(NamedTuple):
    """Whether another region accepts the same credentials."""

    region: str
    accepted: bool | None
    detail: str


@click.command(epilog=_CHECK)
@click.argument("activity_id", metavar="[ID]", required=False)
@talks_to_the_api
@click.option(
    "--try-regions",
    is_flag=True,
    help="If the credentials are rejected, also send them to the vendor's other regions.",
)
@output_option("table", "json")
def check(target: Target, activity_id: str | None, *, try_regions: bool, output: str | None) -> None:
    """Check that the settings work.

    ID is the record to read. Without it, access is checked with the ID of a
    record that does not exist.
    """
    chosen = chosen_output(output)
    settings = None if target.sandbox else target.settings()
    with target.client(settings) as client:
        report = client.check(activity_id)
    elsewhere: list[_OtherRegion] = []
    if try_regions and settings is not None and settings.region in Region.VENDOR and _was_rejected(report):
        others = (region for region in Region.VENDOR if region != settings.region)
        elsewhere = [_try_region(target, settings, region) for region in others]
    code = show_report(settings, report, elsewhere, chosen)
    if code:
        raise click.exceptions.Exit(code)


def show_report(
    settings: "Settings | None", report: "CheckReport", elsewhere: Sequence[_OtherRegion], output: str
) -> ExitCode:
    """Print the report of a check.

    Args:
        settings: The settings that were checked; None for those of the sandbox.
        report: The report.
        elsewhere: Which other regions accept the same credentials.
        output: `"json"` or `"table"`.

    Returns:
        The exit code.
    """
    if output == "json":
        write(as_json(_document(settings, report, elsewhere), sys.stdout.encoding))
    else:
        write(_table(settings, report, elsewhere))
    failed, unknown = _failed_and_unknown(report)
    if failed:
        complain(f"check failed: {', '.join(finding.subject for finding in failed)}")
        error = failed[0].error
        # A failure without an error means that the token has too few scopes.
        return ExitCode.ACCESS_DENIED if error is None else exit_code(error)
    if unknown:
        subjects = ", ".join(finding.subject for finding in unknown)
        complain(f"could not check: {subjects}")
        errors = (finding.error for finding in unknown if finding.error is not None)
        return next(map(exit_code, errors), ExitCode.UNKNOWN)
    return ExitCode.OK


def _was_rejected(report: "CheckReport") -> bool:
    from thrive_learning._checking.examination import looks_like_another_region  # noqa: PLC0415 - --help needs no HTTP

    return any(looks_like_another_region(finding.error) for finding in report.findings)


def _try_region(target: Target, settings: "Settings", region: Region) -> _OtherRegion:
    """Send the credentials to another region, as --try-regions asks for."""
    with target.client(settings._replace(region=region, origins=())) as client:
        report = client.check()
    if report.ok:
        return _OtherRegion(
            region.name, accepted=True, detail=f"accepts the credentials. Use --region {region.name}"
        )
    failed, unknown = _failed_and_unknown(report)
    decisive = failed[0] if failed else unknown[-1]
    return _OtherRegion(
        region.name, accepted=False if failed else None, detail=str(decisive.error or decisive.detail)
    )


def _failed_and_unknown(report: "CheckReport") -> "list[list[CheckFinding]]":
    return [
        [finding for finding in report.findings if finding.status == status]
        for status in ("failed", "unknown")
    ]


def _document(
    settings: "Settings | None", report: "CheckReport", elsewhere: Sequence[_OtherRegion]
) -> dict[str, Any]:
    return report.to_dict() | {
        "settings": [] if settings is None else [setting._asdict() for setting in settings.origins],
        "warnings": [] if settings is None else list(settings.warnings),
        "other_regions": [other._asdict() for other in elsewhere],
    }


def _table(settings: "Settings | None", report: "CheckReport", elsewhere: Sequence[_OtherRegion]) -> str:
    encoding, columns = sys.stdout.encoding, page_width()
    parts: list[str] = []
    if settings is not None:
        rows = [("SETTING", "VALUE", "FROM")]
        for setting in settings.origins:
            shadowed = f"; overrides {', '.join(setting.shadowed)}" if setting.shadowed else ""
            rows.append((setting.key, setting.value, setting.source + shadowed))
        parts.append(as_columns(rows, encoding, columns, heading))
    found = [("STATUS", "CHECK", "DETAIL")]
    found += [("warning", "settings", warning) for warning in (settings.warnings if settings else ())]
    found += [(str(finding.status), finding.subject, finding.detail) for finding in report.findings]
    found += [(_ACCEPTANCE[other.accepted], other.region, other.detail) for other in elsewhere]
    parts.append(_colored(as_columns(found, encoding, columns, heading)))
    return "\n\n".join(parts)


def _colored(table: str) -> str:
    """Add a color to the status at the beginning of each line."""
    lines = table.split("\n")
    for number, line in enumerate(lines):
        status, space, rest = line.partition(" ")
        if status in _COLORS:
            lines[number] = styled(status, sys.stdout, fg=_COLORS[status]) + space + rest
    return "\n".join(lines)
