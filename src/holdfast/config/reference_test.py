"""`keepalived -t`: the same severities and exit statuses, lines in its manner. Source: keepalived(8), --config-test.

The status is that of the worst condition met: 0 nothing, 2 a keyword without its argument (the reference gives up
there), 4 it could not run here, 5 errors, warnings or old words, 6 scripts that are not secure or a failed include.
"""

from holdfast.config.check import HERE, Environment, read_file
from holdfast.config.disk import Disk
from holdfast.config.findings import PLACE_MASK, Condition, Files, Finding

OK, MISSING_ARGUMENT, CANNOT_RUN, CONFIGURATION, SECURITY = 0, 2, 4, 5, 6


def config_test(
    path: str, *, environment: Environment = HERE, disk: Disk | None = None
) -> tuple[int, list[str]]:
    """Exit status and the lines keepalived's test mode would print; `disk` says which interfaces there are."""
    asking = Environment(
        config_id=environment.config_id,
        all_include_checks=environment.all_include_checks,
        ask_interfaces=True,
    )
    reading = read_file(path, asking, disk)
    if not reading.found:
        return (CANNOT_RUN if environment.all_include_checks else OK), [f"Unable to find configuration file {path}"]
    findings = [finding for finding in reading.findings.all if finding.trouble.condition is not Condition.NONE]
    stopped = any(
        finding.refuses or finding.trouble.condition is Condition.BAD_INTERFACE for finding in findings
    )
    if stopped or not reading.built.plan.instances:  # the reference looks at scripts after everything else
        findings = [
            finding
            for finding in findings
            if finding.trouble.condition is not Condition.SECURITY or finding.domain == "lvs"
        ]
    files = reading.preprocessor.files
    lines = [_line(finding, files) for finding in findings]
    if any(finding.trouble.condition is Condition.BAD_INTERFACE for finding in findings):
        lines.append("Non-existent interface specified in configuration")
    return _status(findings), lines


def _status(findings: list[Finding]) -> int:
    conditions = {finding.trouble.condition for finding in findings}
    if Condition.MISSING in conditions:
        return MISSING_ARGUMENT
    worst = max(conditions, default=Condition.NONE)
    if worst in (Condition.SECURITY, Condition.INCLUDE):
        return SECURITY
    if worst >= Condition.MULTIPLE_FILES:
        return CONFIGURATION
    return CANNOT_RUN if worst else OK


_WITHOUT_PLACE = ("There are ", "SECURITY VIOLATION", "Sync group ", "Virtual router ", "Virtual server ", "Disabling ")


def _line(finding: Finding, files: Files) -> str:
    trouble = finding.trouble
    said = trouble.phrase or trouble.what
    number = finding.place & PLACE_MASK
    if not number or said.startswith(_WITHOUT_PLACE):
        return said
    if len(files.names) > 1:
        return f"({files.name(finding.place)}: Line {number}) {said}"
    return f"(Line {number}) {said}"
