"""Configurations written in a test, checked."""

from pathlib import Path

from holdfast.base.problem import Problem
from holdfast.config.check import Checked, Environment, check_file
from tests.config.golden import PlainDisk

INSTANCE = """
vrrp_instance VI {{
    interface eth0
    virtual_router_id 51
    {inside}
    virtual_ipaddress {{
        192.0.2.1/24
    }}
}}
"""


def check(folder: Path, text: str | bytes, config_id: str = "here", *, all_include_checks: bool = False) -> Checked:
    """The outcome of checking `text`."""
    path = folder / "keepalived.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    environment = Environment(config_id=config_id, all_include_checks=all_include_checks)
    return check_file(str(path), environment=environment, disk=PlainDisk())


def whats(checked: Checked) -> list[str]:
    """What is wrong, line by line."""
    return [f"{problem.line}: {problem.what}" for problem in checked.problems]


def only(checked: Checked) -> Problem:
    """The one problem."""
    assert len(checked.problems) == 1, whats(checked)
    return checked.problems[0]


def names(checked: Checked) -> list[str]:
    """The instances that would run."""
    return [instance["name"] for instance in checked.would_run["instances"]]
