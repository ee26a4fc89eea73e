"""What a reload changes, in words: one row a change; and the limit on what one reload may remove."""

from pathlib import Path

import pytest

from holdfast.config.changes import Change, changes, too_much
from holdfast.config.check import check_file
from holdfast.config.plan import VrrpPlan

WEB = """\
vrrp_instance web {
    interface eth0
    version 2
    virtual_router_id 51
    priority 150
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass one
    }
    virtual_ipaddress {
        192.0.2.100/24
        192.0.2.101/24
    }
}
"""
DB = WEB.replace("web", "db").replace("51", "52").replace("2.10", "2.20")
DROPPED = "peers drop these adverts until they are changed too, and become MASTER beside this node"


def plan(directory: Path, text: str) -> VrrpPlan:
    (directory / "keepalived.conf").write_text(text)
    checked = check_file(str(directory / "keepalived.conf"))
    assert checked.verdict == "ok", [problem.text() for problem in checked.problems]
    return checked.plan


def between(directory: Path, running: str, new: str) -> tuple[Change, ...]:
    return changes(plan(directory, running), plan(directory, new))


def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    assert between(tmp_path, WEB + DB, DB + "# other order\n" + WEB) == ()


@pytest.mark.parametrize(
    ("was", "becomes", "what", "risk"),
    [
        ("priority 150", "priority 90", "priority: 150 → 90", "the election is held again: the addresses may move"),
        ("auth_pass one", "auth_pass two", "auth_pass: ******** → ********", DROPPED),
        ("advert_int 1", "advert_int 2", "advert_int: 1 s → 2 s", DROPPED),
        ("        192.0.2.101/24\n", "        192.0.2.102/24\n", "removes 192.0.2.101/24, adds 192.0.2.102/24",
         "peers must have the same list: an address that only one has is lost when the master changes"),
        ("    virtual_ipaddress", "    virtual_routes {\n        default via 192.0.2.9\n    }\n    virtual_ipaddress",
         "routes: adds default via 192.0.2.9", ""),
        ("advert_int 1", "advert_int 1\n    nopreempt", "preempt: on → off",
         "who takes over from a living master of lower priority changes"),
    ],
)  # fmt: skip
def test_one_change(tmp_path: Path, was: str, becomes: str, what: str, risk: str) -> None:
    assert between(tmp_path, WEB, WEB.replace(was, becomes)) == (
        Change(action="change", subject="instance web", what=what, risk=risk),
    )


def test_another_virtual_router_is_replaced(tmp_path: Path) -> None:
    (one,) = between(tmp_path, WEB, WEB.replace("51", "61"))
    assert (one.action, one.subject) == ("replace", "instance web")
    assert one.what.startswith("VRID 51 on eth0 (IPv4, multicast) → VRID 61 on eth0 (IPv4, multicast)")


def test_one_that_comes_and_one_that_goes(tmp_path: Path) -> None:
    (one,) = between(tmp_path, WEB, WEB + DB)
    assert (one.action, one.subject, one.risk) == ("start", "instance db", "")
    assert one.what.endswith("priority 150, addresses 192.0.2.200/24, 192.0.2.201/24")
    (one,) = between(tmp_path, WEB + DB, WEB)
    assert (one.action, one.subject) == ("stop", "instance db")
    assert "its addresses go away" in one.risk


def test_a_group_that_comes(tmp_path: Path) -> None:
    group = "vrrp_sync_group all {\n    group {\n        web\n        db\n    }\n}\n"
    (one,) = [one for one in between(tmp_path, WEB + DB, WEB + DB + group) if one.subject == "group all"]
    assert (one.action, one.what) == ("start", "web, db")


@pytest.mark.parametrize(
    ("running", "new", "said"),
    [
        (WEB, WEB, ""),
        (WEB + DB, WEB, ""),
        (WEB, WEB.replace("        192.0.2.101/24\n", ""), ""),
        (WEB, WEB.replace("2.10", "2.20"), "2 of 2 running addresses would go"),
        (WEB + DB, WEB.replace("51", "61"), "2 of 2 running instances would go"),
        (WEB, DB, "1 of 1 running instances would go"),
    ],
)
def test_the_limit_is_one_half(tmp_path: Path, running: str, new: str, said: str) -> None:
    assert too_much(plan(tmp_path, running), plan(tmp_path, new)) == said
