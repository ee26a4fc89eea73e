"""Sync groups: together to MASTER, together to BACKUP, together to FAULT."""

import pytest

from holdfast.vrrp.config import GroupConfig
from holdfast.vrrp.messages import Event, GroupOrders, Role
from holdfast.vrrp.sync_group import Member, group_role, settle

GROUP = GroupConfig(name="G", members=("VI_1", "VI_2", "VI_3"))
UP = "sync group G: every member may be master"


def members(*roles: str) -> tuple[Member, ...]:
    """VI_1, VI_2, …: `B` backup, `H` backup that hears a master, `W` backup that wants to be master, `M` master, `F` in FAULT by itself,
    `f` in FAULT by the group, `I` not begun."""
    made = {
        "B": (Role.BACKUP, False, ""),
        "H": (Role.BACKUP, False, ""),
        "W": (Role.BACKUP, True, ""),
        "M": (Role.MASTER, False, ""),
        "F": (Role.FAULT, False, "eth0 is down"),
        "f": (Role.FAULT, False, ""),
        "I": (Role.INIT, False, ""),
    }
    return tuple(
        Member(f"VI_{number}", role, wants, follows=letter == "H", own_fault=fault)
        for number, (letter, (role, wants, fault)) in enumerate(((letter, made[letter]) for letter in roles), 1)
    )


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        ("MMM", Role.MASTER),
        ("MMB", Role.BACKUP),
        ("BBB", Role.BACKUP),
        ("WWW", Role.BACKUP),
        ("IIB", Role.BACKUP),
        ("III", Role.INIT),
        ("MMF", Role.FAULT),
        ("IIf", Role.FAULT),
        ("M", Role.MASTER),
        ("", Role.INIT),
    ],
)
def test_role_of_the_group(roles: str, role: Role) -> None:
    assert group_role(members(*roles)) is role


@pytest.mark.parametrize(
    ("roles", "left_master", "orders"),
    [
        ("WWW", "", [("VI_1", Role.MASTER), ("VI_2", Role.MASTER), ("VI_3", Role.MASTER)]),
        ("WMW", "", [("VI_1", Role.MASTER), ("VI_3", Role.MASTER)]),
        ("MWM", "", [("VI_2", Role.MASTER)]),
        ("WBW", "", []),
        ("BBB", "", []),
        ("MMM", "", []),
        ("MBM", "", []),
        ("WWI", "", []),
        ("WWF", "", []),
        ("WWf", "", []),
        ("MMB", "VI_3", [("VI_1", Role.BACKUP), ("VI_2", Role.BACKUP)]),
        ("MWW", "VI_2", [("VI_1", Role.BACKUP)]),  # one left: the others leave before anybody goes up
        ("BBB", "VI_3", []),
        ("WWW", "VI_3", [("VI_1", Role.MASTER), ("VI_2", Role.MASTER), ("VI_3", Role.MASTER)]),
        ("MMF", "VI_3", []),  # the fault takes them along, not the order
        ("MHM", "", [("VI_1", Role.BACKUP), ("VI_3", Role.BACKUP)]),
        ("HBW", "", []),
        ("WHW", "", []),
        ("MHF", "", []),
        ("W", "", [("VI_1", Role.MASTER)]),
        ("", "", []),
    ],
)
def test_settle(roles: str, left_master: str, orders: list[tuple[str, Role]]) -> None:
    left = f"{left_master} became BACKUP" if left_master else "VI_2 follows another host"
    causes = {Role.MASTER: UP, Role.BACKUP: f"sync group G: {left}"}
    expected: list[tuple[str, Event]] = [(name, GroupOrders(role, causes[role])) for name, role in orders]
    assert settle(GROUP, members(*roles), left_master) == expected
