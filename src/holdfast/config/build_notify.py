"""The notify scripts of an instance or group."""

import msgspec

from holdfast.base.problem import Grade
from holdfast.config.context import Context
from holdfast.config.findings import Trouble
from holdfast.config.tree import Node
from holdfast.config.values import RawScript
from holdfast.vrrp.config import NO_SCRIPTS, NotifyCommands

_FIELDS = {
    "notify_master": "master",
    "notify_backup": "backup",
    "notify_fault": "fault",
    "notify_stop": "stop",
    "notify": "any",
    "notify_deleted": "deleted",
    "notify_master_rx_lower_pri": "master_rx_lower_pri",
}
_DIRECTORIES = {
    "notify_master_dir": "MASTER",
    "notify_backup_dir": "BACKUP",
    "notify_fault_dir": "FAULT",
    "notify_stop_dir": "STOP",
}


def notify_commands(context: Context, lines: list[Node], alert: Node | None = None) -> NotifyCommands:
    """The commands by occasion: the first script of each, and the directories (the default ones where they exist).

    `alert` is the line `smtp_alert`, if there is one.
    """
    directories = context.default_directories
    mailed = context.alert_default if alert is None else bool(alert.value is None or alert.value)
    if not lines and not directories:
        return NotifyCommands(smtp_alert=True) if mailed else NO_SCRIPTS
    first: dict[str, Node] = {}
    chosen = dict(directories)
    deleted = False
    for node in lines:
        if node.name in _DIRECTORIES:
            chosen[_DIRECTORIES[node.name]] = node.value
            _check_directory(context, node)
        elif node.name in _FIELDS:
            deleted |= node.name == "notify_deleted"
            if node.name in first:
                _told_twice(context, node)
            else:
                first[node.name] = node
    commands = {_FIELDS[name]: context.script(node) for name, node in first.items()}
    identity = context.scripts.default
    made = NotifyCommands(
        smtp_alert=mailed,
        notify_deleted=deleted,
        directories=chosen,
        directory_user=(identity.uid, identity.gid) if chosen else (None, None),
    )
    return msgspec.structs.replace(made, **commands)


def _told_twice(context: Context, node: Node) -> None:
    argv = " ".join(node.value.argv) if isinstance(node.value, RawScript) else ""
    context.tell(
        node,
        Trouble(
            f"{node.name} stands here a second time",
            "call both from one script, or use a directory: " + f"{node.name}_dir",
            "the first is run",
            phrase=f"{node.name} script already specified - ignoring {argv}",
        ),
    )


def _check_directory(context: Context, node: Node) -> None:
    if context.disk.is_directory(node.value):
        return
    context.tell(
        node,
        Trouble(
            f"there is no directory {node.value}",
            f"mkdir -p {node.value}",
            "nothing is run from it until it is there",
            Grade.WARNING,
            word=1,
        ),
    )
