"""A configuration file, checked: its problems, a verdict, and what would run."""

from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.base.problem import Grade, Problem, problem_rows
from holdfast.base.time import SECOND
from holdfast.config.build import Built, build
from holdfast.config.context import Context
from holdfast.config.disk import Disk
from holdfast.config.findings import Condition, Findings, Trouble
from holdfast.config.others import Others
from holdfast.config.plan import VrrpPlan
from holdfast.config.preprocess import Preprocessor
from holdfast.config.tree import read_tree
from holdfast.track.config import ProcessConfig
from holdfast.vrrp.config import InstanceConfig


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration is read against. `config_id` is `-i`; "" takes the host's name."""

    config_id: str = ""
    all_include_checks: bool = False  # `-e`
    ask_interfaces: bool = False  # tell of interfaces this machine does not have


HERE = Environment()
"""Nothing special."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. `verdict` is ok (no error), runs (errors, but the rest would run) or refused."""

    file: str
    verdict: str
    problems: tuple[Problem, ...]
    would_run: dict[str, Any]
    plan: VrrpPlan


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a reading of a file came to, for those who need more than `Checked`."""

    preprocessor: Preprocessor
    findings: Findings
    built: Built
    found: bool


def read_file(path: str, environment: Environment = HERE, disk: Disk | None = None) -> Reading:
    """Reads and builds `path`; never raises for what it contains."""
    import gc

    collecting = gc.isenabled()
    gc.disable()  # everything made here lives until the end, or is freed by its count
    try:
        return _read(path, environment, disk or Disk())
    finally:
        if collecting:
            gc.enable()


def _read(path: str, environment: Environment, disk: Disk) -> Reading:
    findings = Findings()
    config_id = environment.config_id or disk.host_name()
    preprocessor = Preprocessor(disk, config_id, findings, all_checks=environment.all_include_checks)
    found = preprocessor.read(path)
    if not found:
        trouble = Trouble(f"{path} is not there", "make it, or name another with -f", "there is nothing to run",
                          condition=Condition.FILE_NOT_FOUND)  # fmt: skip
        preprocessor.files.add(path, [])
        findings.add(0, trouble, refuses=True, domain="all")
    nodes = read_tree(preprocessor.result, findings)
    interfaces = frozenset(disk.interfaces()) if environment.ask_interfaces else None
    context = Context(disk, findings, interfaces, path)
    return Reading(preprocessor=preprocessor, findings=findings, built=build(context, nodes), found=found)


def check_file(path: str, *, environment: Environment = HERE, disk: Disk | None = None) -> Checked:
    """Every problem of a file, the verdict, what the daemon would start, and the plan.

    A refused file would run nothing. The interfaces of this machine are asked only when the environment says so.
    """
    return checked(path, read_file(path, environment, disk))


def checked(path: str, reading: Reading) -> Checked:
    """A reading as the outcome of a check."""
    findings = reading.findings
    problem = reading.preprocessor.files.problem
    problems = tuple(problem(finding) for finding in findings.all)
    refused = findings.refused
    errors = any(one.grade is Grade.ERROR for one in problems)
    plan = VrrpPlan(settings=reading.built.plan.settings) if refused else reading.built.plan
    others = Others() if refused else reading.built.others
    return Checked(
        file=path,
        verdict="refused" if refused else "runs" if errors else "ok",
        problems=tuple(sorted(problems, key=_order)) if len({one.file for one in problems}) < 2 else problems,
        would_run=would_run(plan, others),
        plan=plan,
    )


def document(outcome: Checked) -> dict[str, Any]:
    """What `check --json` prints."""
    return {
        "file": outcome.file,
        "verdict": outcome.verdict,
        "problems": problem_rows(outcome.problems),
        "would_run": outcome.would_run,
    }


def _order(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column


def would_run(plan: VrrpPlan, others: Others) -> dict[str, Any]:
    """What the daemon would start, as `check --json` shows it."""
    return {
        "instances": [_instance(instance) for instance in plan.instances],
        "sync_groups": [{"name": group.name, "members": list(group.members)} for group in plan.groups],
        "trackers": [
            {
                "name": script.name,
                "kind": "script",
                "command": script.command.text(),
                "interval_s": script.interval_ns / SECOND,
                "weight": script.weight,
            }
            for script in plan.scripts
        ]
        + [{"name": one.name, "kind": "file", "path": one.path, "weight": one.weight} for one in plan.files]
        + [_process(one) for one in plan.processes],
        "virtual_servers": [msgspec.to_builtins(server) for server in others.virtual_servers],
        "bfd": [msgspec.to_builtins(session) for session in others.bfd],
    }


def _process(one: ProcessConfig) -> dict[str, Any]:
    command = " ".join((one.command, *one.parameters))
    return {"name": one.name, "kind": "process", "command": command, "quorum": one.quorum, "weight": one.weight}


def _instance(instance: InstanceConfig) -> dict[str, Any]:
    return {
        "name": instance.name,
        "protocol": instance.protocol,
        "vrid": instance.vrid,
        "interface": instance.interface,
        "family": "ipv4" if instance.family == 4 else "ipv6",
        "version": instance.version,
        "priority": instance.priority,
        "vips": [f"{text(vip.address)}/{vip.prefix_length}" for vip in instance.addresses],
    }
