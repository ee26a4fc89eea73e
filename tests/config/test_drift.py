"""`drift`: each thing that two files can disagree on, what it says of it, and how the command ends."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from holdfast.config.check import check_file
from holdfast.config.drift import Difference, drift
from holdfast.lab.daemons import holdfast_command

BASE = """\
vrrp_instance web {
    interface eth0
    version VERSION
    virtual_router_id 51
    priority 150
    advert_int 1
    virtual_ipaddress {
        192.0.2.100/24
        192.0.2.101/24
    }
}
"""
THREE = BASE.replace("VERSION", "3")
TWO = BASE.replace("VERSION", "2").replace(
    "advert_int 1", "advert_int 1\n    authentication {\n        auth_type PASS\n        auth_pass one\n    }"
)
UNICAST = THREE.replace(
    "advert_int 1", "advert_int 1\n    unicast_src_ip 192.0.2.1\n    unicast_peer {\n        192.0.2.2\n    }"
)
OTHER_SIDE = UNICAST.replace("192.0.2.1\n", "192.0.2.9\n").replace("192.0.2.2\n", "192.0.2.1\n").replace(
    "192.0.2.9\n", "192.0.2.2\n"
)
LOWER = ("priority 150", "priority 100")


def found(directory: Path, first: str, second: str) -> tuple[Difference, ...]:
    plans = []
    for name, text in (("a.conf", first), ("b.conf", second)):
        (directory / name).write_text(text)
        checked = check_file(str(directory / name))
        assert checked.verdict == "ok", [problem.text() for problem in checked.problems]
        plans.append(checked.plan)
    return drift(*plans)


@pytest.mark.parametrize("text", [THREE, TWO, THREE.replace("eth0", "eth1")])
def test_a_pair_that_differs_in_priority_only_agrees(tmp_path: Path, text: str) -> None:
    (one,) = found(tmp_path, text, text.replace(*LOWER))
    assert (one.field, one.must_agree, one.first, one.second) == ("priority", False, "150", "100")
    assert "the first is MASTER" in one.effect


def test_unicast_peers_that_name_each_other_agree(tmp_path: Path) -> None:
    assert [one.field for one in found(tmp_path, UNICAST, OTHER_SIDE.replace(*LOWER))] == ["priority"]


@pytest.mark.parametrize(
    ("text", "was", "becomes", "field", "must_agree", "effect"),
    [
        (THREE, "router_id 51", "router_id 52", "virtual_router_id", True, "two virtual routers"),
        (THREE, "version 3", "version 2", "version", True, "drops the other's adverts"),
        (THREE, "advert_int 1", "advert_int 2", "advert_int", False, "takes the master's interval"),
        (TWO, "advert_int 1", "advert_int 2", "advert_int", True, "drops the other's adverts"),
        (TWO, "auth_pass one", "auth_pass two", "auth_pass", True, "drops the other's adverts"),
        (THREE, "        192.0.2.101/24\n", "", "virtual_ipaddress", True, "192.0.2.101: served while one"),
        (THREE, "101/24", "101/32", "virtual_ipaddress prefix", True, "routes and broadcasts"),
        (THREE, "    virtual_ip", "    virtual_rules {\n        fwmark 5 table 7 priority 9\n    }\n    virtual_ip",
         "virtual_rules", False, "from all priority 9 fwmark 0x5 lookup 7: there while one node is MASTER"),
        (THREE, "eth0", "eth1", "interface", False, "same network"),
        (THREE, "priority 150", "priority 150\n    nopreempt", "preempt", False, "does not take the addresses back"),
        (UNICAST, "unicast_src_ip 192.0.2.1", "unicast_src_ip 192.0.2.2", "unicast_peer", True, "both become MASTER"),
        (UNICAST, "advert_int 1", "advert_int 1", "unicast_src_ip", True, "must be each node's own"),
    ],
)  # fmt: skip
def test_one_difference(
    tmp_path: Path, text: str, was: str, becomes: str, field: str, must_agree: bool, effect: str
) -> None:
    differences = found(tmp_path, text, text.replace(was, becomes).replace(*LOWER))
    (one,) = {one for one in differences if one.field == field}
    assert one.must_agree == must_agree
    assert effect in one.effect


def test_a_peer_that_is_not_named_is_told_with_both_sides(tmp_path: Path) -> None:
    theirs = OTHER_SIDE.replace(*LOWER).replace("        192.0.2.1\n", "        192.0.2.3\n")
    (one,) = [one for one in found(tmp_path, UNICAST, theirs) if one.must_agree]
    assert (one.first, one.second) == ("sends from 192.0.2.1", "peers 192.0.2.3")


def test_the_order_of_addresses_may_differ(tmp_path: Path) -> None:
    turned = THREE.replace("2.100/", "2.x/").replace("2.101/", "2.100/").replace("2.x/", "2.101/")
    differences = found(tmp_path, THREE, turned.replace(*LOWER))
    assert [(one.field, one.must_agree) for one in differences] == [
        ("virtual_ipaddress order", False), ("priority", False),
    ]  # fmt: skip


def test_equal_priorities_are_told_with_who_wins(tmp_path: Path) -> None:
    (one,) = found(tmp_path, THREE, THREE)
    assert (one.field, one.must_agree) == ("priority equal", False)
    assert "higher address wins" in one.effect


def test_an_instance_that_only_one_has(tmp_path: Path) -> None:
    more = THREE.replace("web", "db").replace("51", "52").replace("2.10", "2.20")
    (one,) = [one for one in found(tmp_path, THREE, (THREE + more).replace(*LOWER)) if one.must_agree]
    assert (one.instance, one.first, one.second) == ("db", "absent", "VRID 52 on eth0")


def test_a_sync_group_that_only_one_has(tmp_path: Path) -> None:
    both = THREE + THREE.replace("web", "db").replace("51", "52").replace("2.10", "2.20")
    group = "vrrp_sync_group all {\n    group {\n        web\n        db\n    }\n}\n"
    (one,) = [one for one in found(tmp_path, both + group, both.replace("150", "100")) if one.must_agree]
    assert (one.instance, one.first, one.second) == ("all", "together: db, web", "not so")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(holdfast_command("drift", *words), capture_output=True, text=True, check=False)


def test_the_command_in_a_pipe(tmp_path: Path) -> None:
    a, b = tmp_path / "a.conf", tmp_path / "b.conf"
    a.write_text(THREE)
    b.write_text(THREE.replace(*LOWER))
    agreed = run(str(a), str(b))
    assert (agreed.returncode, agreed.stderr) == (0, "")
    assert agreed.stdout.endswith("all agrees that must\n")
    b.write_text(THREE.replace("51", "52"))
    told = run(str(a), str(b))
    assert told.returncode == 1
    assert "\x1b" not in told.stdout
    assert "web: virtual_router_id: 51 | 52" in told.stdout
    document = msgspec.json.decode(run("--json", str(a), str(b)).stdout)
    assert document["agree"] is False
    assert document["differences"][0]["field"] == "virtual_router_id"
    b.unlink()
    absent = run(str(a), str(b))
    assert (absent.returncode, absent.stdout) == (1, "")
    assert "holdfast check" in absent.stderr
