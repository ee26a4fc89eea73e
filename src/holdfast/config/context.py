"""What the builders share: where problems go, the disk, scripts, and what was collected so far."""

import posixpath
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from holdfast.base.command import Command
from holdfast.base.problem import Grade
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config import values
from holdfast.config.disk import Disk
from holdfast.config.findings import Condition, Findings, Trouble
from holdfast.config.scripts import Scripts
from holdfast.config.tree import Node
from holdfast.config.values import RawScript

NOTIFY_DIRECTORIES = {
    "MASTER": "/etc/holdfast/master.d",
    "BACKUP": "/etc/holdfast/backup.d",
    "FAULT": "/etc/holdfast/fault.d",
    "STOP": "/etc/holdfast/stop.d",
}
"""Directories of executables used, when they exist, by instances and groups that name none."""

TRACK_DIRECTORIES = ("/etc/holdfast/track.d", "/usr/local/etc/keepalived_toggle.d")
"""Where `track_script { name }` looks without a vrrp_script, after `track_script_dir` took the first one's place."""


class Context:
    """State of one building. Places of scripts matter to the security notice only."""

    def __init__(self, disk: Disk, findings: Findings, interfaces: frozenset[str] | None, path: str) -> None:
        self.disk = disk
        self.findings = findings
        self.interfaces = interfaces  # None: not asked
        self.scripts = Scripts(disk)
        here = disk.here()
        self.directories = (posixpath.dirname(posixpath.join(here, path)), here)
        self.script_places: dict[str, int] = {}  # by domain, of the first script that keepalived would run
        self.dynamic_interfaces = False
        self.alert_default = False  # `smtp_alert_vrrp`, else `smtp_alert`
        self.default_directories = {
            state: path for state, path in NOTIFY_DIRECTORIES.items() if disk.is_directory(path)
        }

    def tell(self, node: Node, trouble: Trouble, *, refuses: bool = False, domain: str = "vrrp") -> None:
        """A problem with the line of `node`."""
        self.findings.add(node.place, trouble, node.line.words, refuses=refuses, domain=domain)

    def teller(self, node: Node, domain: str = "vrrp") -> Callable[[Trouble], None]:
        """`tell` for one node."""
        return lambda trouble: self.tell(node, trouble, domain=domain)

    def script(
        self,
        node: Node,
        *,
        user: tuple[str, ...] = (),
        timeout_ns: Nanoseconds = 60 * SECOND,
        domain: str = "vrrp",
        tracked: bool = False,
    ) -> Command | None:
        """The command of a script line, None when it is disabled (told).

        `tracked`: the reference's test mode only minds trackers that are missing, not notify scripts.
        """
        raw = node.value
        if not isinstance(raw, RawScript):
            return None
        resolved = self.scripts.resolve(raw, user=user, timeout_ns=timeout_ns)
        for trouble in resolved.troubles:
            if trouble.condition is Condition.GENERAL and not tracked:
                trouble = msgspec.structs.replace(trouble, condition=Condition.NONE)
            self.tell(node, trouble, domain=domain)
        if resolved.reference_runs and domain not in self.script_places:
            self.script_places[domain] = node.place
        return resolved.command

    def check_interface(self, node: Node, name: str, user: str) -> None:
        """Tells of an interface this machine does not have, when that is to be asked."""
        if self.interfaces is None or name in self.interfaces:
            return
        grade = Grade.ADVICE if self.dynamic_interfaces else Grade.ERROR
        condition = Condition.NONE if self.dynamic_interfaces else Condition.BAD_INTERFACE
        self.tell(
            node,
            Trouble(
                f"there is no interface {name}",
                "correct the name, or say dynamic_interfaces if it comes later",
                "it counts as down",
                grade,
                condition=condition,
                token=name,
                phrase=f"WARNING - interface {name} for {user} doesn't exist",
            ),
        )


def last_values(nodes: Iterable[Node]) -> dict[str, Node]:
    """The last usable line of each keyword."""
    return {node.name: node for node in nodes if node.line.value is not values.INVALID}


def get(settings: dict[str, Node], name: str, default: Any) -> Any:
    """The value of a keyword, or `default`."""
    node = settings.get(name)
    return default if node is None else node.line.value


def entries(node: Node) -> list[Node]:
    """The entries of a value block."""
    return node.children or []
