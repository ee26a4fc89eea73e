"""The same configuration run by keepalived and taken by us: two pictures of the kernel's table."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from holdfast.base.ipvs import Table
from holdfast.config.check import read_file
from holdfast.edge.services import Memory, Services
from holdfast.lab.daemons import keepalived
from holdfast.lab.hosts import wait_until
from holdfast.lvs import machine
from holdfast.lvs.config import LvsPlan
from tests.config.golden import PlainDisk
from tests.usermode.inside.ipvs import fresh, ipvsadm


def plan_of(path: str) -> LvsPlan:
    """What we make of a file."""
    return read_file(path, disk=PlainDisk()).built.balancer.lvs


def table_of(plan: LvsPlan) -> Table:
    """The kernel's table at the start."""
    table: Table = {}
    for service in plan.services:
        table |= machine.wanted_pools(service, machine.begin(service)[0])
    return table


def by_keepalived(path: str, look: Callable[[], list[str]]) -> tuple[list[str], str]:
    """What `look` sees when keepalived's checker has started, in the present namespace; and its log."""
    log = Path(f"{path}.log")
    command = [keepalived(), "-C", "-n", "-l", "-D", "-f", path, "-p", f"{path}.pid", "-c", f"{path}.checkers"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(
            lambda: "Startup complete" in log.read_text(errors="replace") or process.poll() is not None, 20, path
        )
        return look(), log.read_text(errors="replace")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        process.wait(20)


def by_us(path: str, look: Callable[[], list[str]]) -> tuple[list[str], list[str]]:
    """What `look` sees of our table, in a namespace of its own; and what was refused."""
    with fresh() as ipvs:
        services = Services(ipvs, Memory(""))
        told = services.begin(table_of(plan_of(path)))
        return look(), told


def saved() -> list[str]:
    """`ipvsadm -Sn`, sorted."""
    return sorted(ipvsadm("-Sn"))
