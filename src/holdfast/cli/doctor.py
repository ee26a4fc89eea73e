"""`holdfast doctor`: this host's obstacles, each with the evidence and the cure."""

import json
import os
from typing import TYPE_CHECKING

import click

from holdfast.cli.drawing import Sheet

if TYPE_CHECKING:
    from holdfast.doctor.facts import Finding

USUAL_FILE = "/etc/keepalived/keepalived.conf"
COLOURS = {"obstacle": "red", "warning": "yellow", "advice": "cyan", "ok": "green"}
LEAD = 10


@click.command("doctor", short_help="this host's obstacles, each with its cure")
@click.option("-f", "--file", "path", metavar="FILE", help=f"the configuration [default: {USUAL_FILE}, if it is there]")
@click.option("--listen", "listen_s", type=click.FloatRange(0, 600), default=3.0, metavar="SECONDS",
              help="how long to listen for strangers' adverts [default: 3; 0: don't]")  # fmt: skip
@click.option("--strict", is_flag=True, help="end with 1 for warnings too")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
def command(path: str | None, listen_s: float, strict: bool, as_json: bool) -> None:
    """Look for whatever on this host stands in a virtual router's way. Changes and sends nothing.

    \b
    Examples:
      holdfast doctor                           with the usual configuration
      holdfast doctor -f new.conf --listen 10   before it is put in place
      holdfast doctor --json --strict           for CI
    \b
    Exit status: 0 no obstacle, 1 an obstacle (with --strict: or a warning), 2 not understood.
    """
    from holdfast.config.check import check_file
    from holdfast.doctor.examine import examine, verdict
    from holdfast.doctor.gather import gather
    from holdfast.kernel.errors import KernelRefused

    if path is not None and not os.path.exists(path):
        raise click.UsageError(f"{path} is not there: name the configuration with -f")
    chosen = path or (USUAL_FILE if os.path.exists(USUAL_FILE) else None)
    checked = check_file(chosen) if chosen else None
    try:
        facts = gather(checked.plan.instances if checked else (), listen_s)
    except KernelRefused as refused:
        click.echo(f"holdfast: {refused}", err=True)
        raise SystemExit(1) from None
    found = examine(checked, facts)
    outcome = verdict(found)
    if as_json:
        import msgspec

        document = {"verdict": outcome, "file": chosen, "findings": [msgspec.to_builtins(finding) for finding in found]}
        click.echo(json.dumps(document))
    else:
        draw(found, chosen, Sheet())
    raise SystemExit(1 if outcome == "obstacles" or (strict and outcome == "warnings") else 0)


def draw(found: "list[Finding]", path: str | None, sheet: Sheet) -> None:
    """The findings for people, the worst first."""
    for finding in found:
        lead = f"{finding.severity:<{LEAD - 2}}  "
        sheet.line(sheet.paint(lead, COLOURS[finding.severity]) + f"{finding.check}: {finding.what}")
        if finding.evidence:
            sheet.wrapped(f"seen: {finding.evidence}", LEAD)
        if finding.cure:
            sheet.wrapped(f"cure: {finding.cure}", LEAD)
    if path is None:
        sheet.line(f"No configuration was looked at: {USUAL_FILE} is not there; name one with -f.")
    count = {kind: sum(one.severity == kind for one in found) for kind in ("obstacle", "warning")}
    sheet.line(", ".join(f"{number} {kind}{'' if number == 1 else 's'}" for kind, number in count.items()))
    sheet.flush()
