"""All checks over one set of facts, and the configuration's own problems among them."""

from msgspec.structs import replace

from holdfast.base.problem import Grade, Problem
from holdfast.config.check import Checked
from holdfast.doctor import firewall, host, interfaces, kernel_settings, privileges, wire
from holdfast.doctor.facts import Facts, Finding, Severity

ORDER = (Severity.OBSTACLE, Severity.WARNING, Severity.ADVICE, Severity.OK)


def examine(checked: Checked | None, facts: Facts) -> list[Finding]:
    """Every finding, the worst first; without a configuration, what can be said of the host alone."""
    instances = checked.plan.instances if checked else ()
    # what a VMAC needs of the kernel's settings is made with it: its base must be fit, which adverts reach first
    grounded = tuple(replace(one, interface=one.network, base="") if one.base else one for one in instances)
    found = [
        *(_of_file(checked) if checked else ()),
        *privileges.findings(facts),
        *interfaces.findings(grounded, facts),
        *firewall.findings(instances, facts, checked.plan.settings.nftables_table if checked else ""),
        *kernel_settings.findings(tuple(one for one in instances if not one.base), facts),
        *host.findings(facts),
        *wire.findings(grounded, facts),
    ]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))


def verdict(found: list[Finding]) -> str:
    """`obstacles`, `warnings` or `ok`."""
    severities = {finding.severity for finding in found}
    return "obstacles" if Severity.OBSTACLE in severities else "warnings" if Severity.WARNING in severities else "ok"


def _of_file(checked: Checked) -> list[Finding]:
    """Errors and warnings of the file: scripts that can't run or aren't safe are among them."""
    found = [_of_problem(problem) for problem in checked.problems if problem.grade is not Grade.ADVICE]
    return found or [Finding(check="configuration", severity=Severity.OK, what=f"{checked.file} has no errors")]


def _of_problem(problem: Problem) -> Finding:
    return Finding(
        check="configuration",
        severity=Severity.OBSTACLE if problem.grade is Grade.ERROR else Severity.WARNING,
        what=f"{problem.what}; {problem.meanwhile}" if problem.meanwhile else problem.what,
        evidence=f"{problem.file}:{problem.line}: {problem.source.strip()}" if problem.line else problem.file,
        cure=problem.cure,
    )
