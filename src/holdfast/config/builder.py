"""A configuration file to the bytes of a plan: what a short-lived child of the daemon does at start and reload."""

import msgspec

from holdfast.base.problem import Problem
from holdfast.config.check import Environment, checked, read_file
from holdfast.config.disk import Disk
from holdfast.config.plan import VrrpPlan


class BuildResult(msgspec.Struct, frozen=True, kw_only=True):
    """`plan_bytes` is the plan as MessagePack, None when the file is refused; `balancer_bytes` the load balancer's.

    The latter is empty when there is no virtual server.

    `exit_class` is ok, runs (with errors; the rest is in the plan), refused, or absent (no such file).
    """

    plan_bytes: bytes | None
    balancer_bytes: bytes = b""
    problems: tuple[Problem, ...]
    exit_class: str
    save_dir: str = ""  # `config_save_dir`
    text: str = ""  # with it: the configuration as read, all files in one


def build_plan(
    path: str, config_id: str = "", *, all_include_checks: bool = False, disk: Disk | None = None
) -> BuildResult:
    """Reads `path` and encodes its plan. `config_id` is what `@ID` lines are compared with ("": the host's name)."""
    environment = Environment(config_id=config_id, all_include_checks=all_include_checks)
    reading = read_file(path, environment, disk)
    outcome = checked(path, reading)
    if outcome.verdict == "refused":
        exit_class = "refused" if reading.found else "absent"
        return BuildResult(plan_bytes=None, problems=outcome.problems, exit_class=exit_class)
    plan_bytes = msgspec.msgpack.encode(outcome.plan)
    balancer = reading.built.balancer
    save_dir = outcome.plan.settings.config_save_dir
    return BuildResult(
        plan_bytes=plan_bytes,
        balancer_bytes=msgspec.msgpack.encode(balancer) if balancer.lvs.services else b"",
        problems=outcome.problems,
        exit_class=outcome.verdict,
        save_dir=save_dir,
        text="".join(f"{line}\n" for line in reading.preprocessor.result.texts) if save_dir else "",
    )


def decode_plan(plan_bytes: bytes) -> VrrpPlan:
    """The plan `build_plan` encoded; msgspec.DecodeError for anything else."""
    return msgspec.msgpack.decode(plan_bytes, type=VrrpPlan)
