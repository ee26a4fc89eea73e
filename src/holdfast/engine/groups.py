"""The engine's sync groups: who belongs together, what that forbids, and settling until they agree."""

from collections.abc import Iterable

import msgspec

from holdfast.config.plan import VrrpPlan
from holdfast.engine.slot import Slot
from holdfast.vrrp.config import OWNER, GroupConfig
from holdfast.vrrp.machine import Backup, role_of
from holdfast.vrrp.messages import Event, Role
from holdfast.vrrp.priority import undecided_trackers
from holdfast.vrrp.sync_group import Member, group_role, settle

Verdicts = dict[tuple[str, str], int | None]


class Groups:
    """The sync groups of the running plan, bound to its slots."""

    def __init__(self) -> None:
        self.configs: dict[str, GroupConfig] = {}
        self.members: dict[str, tuple[Slot, ...]] = {}
        self.roles: dict[str, Role] = {}
        self.left_master: dict[str, str] = {}  # group → a member that has just gone from MASTER to BACKUP

    def form(self, plan: VrrpPlan, slots: Iterable[Slot]) -> None:
        """Bind the slots to the plan's groups; called whenever either changed."""
        self.configs = {group.name: group for group in plan.groups}
        by_name = {}
        for slot in slots:
            slot.group = None
            slot.standing = msgspec.structs.replace(slot.standing, may_lead=True)
            by_name[slot.config.name] = slot
        self.members = {}
        for group in plan.groups:
            members = tuple(by_name[name] for name in group.members if name in by_name)
            self.members[group.name] = members
            owners = all(slot.config.starts_as_owner and slot.config.priority == OWNER for slot in members)
            for slot in members:
                slot.group = group.name
                slot.standing = msgspec.structs.replace(slot.standing, may_lead=owners or len(members) == 1)
        self.roles = {name: role for name, role in self.roles.items() if name in self.configs}

    def others(self, slot: Slot) -> list[Slot]:
        """The other members of a slot's group."""
        if slot.group is None:
            return []
        return [other for other in self.members.get(slot.group, ()) if other is not slot]

    def fault_of(self, slot: Slot) -> tuple[str, ...]:
        """The reason the group gives a slot for FAULT, if it gives one."""
        for other in self.others(slot):
            if other.faults:
                return (f"sync group {slot.group}: {other.config.name} is in FAULT ({other.faults[0]})",)
        return ()

    def undecided(self, slot: Slot, verdicts: Verdicts) -> bool:
        """Whether another member still waits for the first result of a tracker."""
        return any(undecided_trackers(other.config.trackers, verdicts) for other in self.others(slot))

    def orders(self, name: str) -> list[tuple[Slot, Event]]:
        """What brings the group together; empty when it agrees with itself."""
        slots = self.members[name]
        members = tuple(
            Member(
                slot.config.name,
                role_of(slot.state),
                isinstance(slot.state, Backup) and slot.state.wants_master,
                follows_another(slot),
                slot.faults[0] if slot.faults else "",
            )
            for slot in slots
        )
        by_name = {slot.config.name: slot for slot in slots}
        given = settle(self.configs[name], members, self.left_master.pop(name, ""))
        return [(by_name[member], event) for member, event in given]

    def role_changed(self, name: str) -> Role | None:
        """The group's new state, when it is another than last time."""
        slots = self.members[name]
        role = group_role(tuple(Member(slot.config.name, role_of(slot.state)) for slot in slots))
        if role is Role.INIT or self.roles.get(name, Role.INIT) is role:
            return None
        self.roles[name] = role
        return role

    def cause(self, name: str, role: Role) -> str:
        """Why the group is in `role`: what its first member in that state says."""
        return next((slot.cause for slot in self.members[name] if slot.role is role), "")


def follows_another(slot: Slot) -> bool:
    """Whether the slot is a backup to a master that it accepts, not just one it has heard and outranks."""
    state = slot.state
    if not isinstance(state, Backup) or state.master is None or state.wants_master:
        return False
    outranked = slot.config.preempt and state.master_priority < slot.standing.priority
    return not outranked or state.preempt_at is not None
