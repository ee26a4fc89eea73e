"""Instances that change state together (`vrrp_sync_group`).

To MASTER: a member whose timer runs out waits until every other member is master or wants to be; then all go at once.
To BACKUP: when one member leaves MASTER, all do; so they do when one that has just joined (a reload) follows another
host. To FAULT: one member in FAULT takes all along; they return together when none of them has a reason of its own any
more.
"""

import msgspec

from holdfast.vrrp.config import GroupConfig
from holdfast.vrrp.messages import Event, GroupOrders, Role


class Member(msgspec.Struct, frozen=True):
    """What the group knows of one instance."""

    name: str
    role: Role
    wants_master: bool = False
    follows: bool = False  # in BACKUP, and has heard a master that it accepts
    own_fault: str = ""  # a reason of its own for FAULT; the group's does not count
    ready: bool = True  # past its start delay and the first results of its trackers


def group_role(members: tuple[Member, ...]) -> Role:
    """The state of the group as a whole: FAULT if any member is, MASTER if all are, else BACKUP (INIT before that)."""
    roles = {member.role for member in members}
    if Role.FAULT in roles:
        return Role.FAULT
    if roles == {Role.MASTER}:
        return Role.MASTER
    return Role.BACKUP if roles & {Role.BACKUP, Role.MASTER} else Role.INIT


def settle(config: GroupConfig, members: tuple[Member, ...], left_master: str = "") -> list[tuple[str, Event]]:
    """The orders that bring the group together: (member, event) pairs, none when it agrees with itself.

    `left_master` names a member that has just gone from MASTER to BACKUP, if one has.
    """
    if not members or any(member.own_fault for member in members):
        return []
    masters = [member for member in members if member.role is Role.MASTER]
    if left_master and masters:
        cause = f"sync group {config.name}: {left_master} became BACKUP"
        return [(member.name, GroupOrders(Role.BACKUP, cause)) for member in masters]
    waiting = [member for member in members if member.role is Role.BACKUP]
    following = next((member.name for member in waiting if member.follows), "")
    if following and masters:
        cause = f"sync group {config.name}: {following} follows another host"
        return [(member.name, GroupOrders(Role.BACKUP, cause)) for member in masters]
    if waiting and all(member.role is Role.MASTER or member.wants_master for member in members):
        cause = f"sync group {config.name}: every member may be master"
        return [(member.name, GroupOrders(Role.MASTER, cause)) for member in waiting]
    return []
