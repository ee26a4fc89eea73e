"""The dumps of a real keepalived and ours, of one configuration, read by one reader."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from holdfast.config.builder import build_plan, decode_plan
from holdfast.config.plan import VrrpPlan
from holdfast.engine.node import NodeView
from holdfast.export.dumps import data_text, stats_text
from holdfast.export.json_dump import json_bytes
from holdfast.track.view import TrackerView
from holdfast.vrrp.view import GroupView, InstanceView, MasterView
from tests.export.reading import read_data, read_stats
from tests.kernel.namespaces import Namespace, ip

CONFIGURATION = """
global_defs {
    router_id testr
    enable_script_security
    script_user root
    vrrp_garp_master_repeat 3
    dynamic_interfaces
}
vrrp_script good {
    script "/bin/true"
    interval 1
    weight 2
    fall 3
    rise 2
}
vrrp_script bad {
    script "/bin/false"
    interval 1
}
vrrp_sync_group G {
    group {
        VI_1
        VI_2
    }
}
vrrp_instance VI_1 {
    interface d0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        192.0.2.10/24 dev d0 label d0:1
        192.0.2.11
        192.0.2.12/24 noprefixroute
    }
    virtual_ipaddress_excluded {
        198.51.100.1/32
    }
    authentication {
        auth_type PASS
        auth_pass secret
    }
}
vrrp_instance VI_2 {
    interface d0
    version 3
    virtual_router_id 52
    priority 90
    advert_int 0.5
    preempt_delay 10
    virtual_ipaddress {
        fe80::1
        2001:db8::10/64
        2001:db8::11/64 preferred_lft 20
    }
}
vrrp_instance VI_3 {
    state BACKUP
    nopreempt
    interface d0
    virtual_router_id 53
    priority 90
    unicast_src_ip 192.0.2.1
    unicast_peer {
        192.0.2.2
    }
    virtual_ipaddress {
        192.0.2.14
    }
    track_script {
        good
    }
    notify_master "/bin/true a b"
}
vrrp_instance VI_4 {
    interface d0
    virtual_router_id 54
    priority 100
    virtual_ipaddress {
        192.0.2.15
    }
    track_script {
        bad
    }
    track_interface {
        d1 weight 10
    }
    notify "/bin/true x"
    accept
}
"""


class Dumps(NamedTuple):
    data: str
    stats: str
    json: str


def until(holds: Callable[[], bool], what: str) -> None:
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError(f"not within 15 s: {what}")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keepalived")


@pytest.fixture(scope="module")
def place() -> Iterator[Namespace]:
    made = Namespace()
    with made.entered():
        for name, peer in (("d0", "p0"), ("d1", "p1")):
            ip("link", "add", name, "type", "veth", "peer", "name", peer)
            with open(f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "w") as knob:
                knob.write("0")
            ip("link", "set", peer, "up")
            ip("link", "set", name, "up")
        ip("address", "add", "192.0.2.1/24", "dev", "d0")
    yield made
    made.close()


@pytest.fixture(scope="module")
def theirs(directory: Path, place: Namespace) -> Dumps:
    """What keepalived writes once three instances are master and the fourth is in FAULT."""
    path = directory / "keepalived.conf"
    path.write_text(CONFIGURATION)
    words = ["keepalived", "-n", "-l", "-G", "-P", "-f", str(path)]
    for letter, name in (("-p", "parent"), ("-r", "vrrp")):
        words += [letter, str(directory / f"{name}.pid")]
    log = directory / "log"
    with place.entered(), log.open("w") as out:
        daemon = subprocess.Popen(words, env={**os.environ, "TMPDIR": str(directory)}, stderr=out, stdout=out)
    try:
        until(lambda: log.read_text().count("Entering MASTER STATE") == 3, f"three masters\n{log.read_text()}")
        until(lambda: "VRRP_Script(bad) failed" in log.read_text(), "the failing script seen")
        texts = []
        for number, name in ((signal.SIGUSR1, "data"), (signal.SIGUSR2, "stats"), (signal.SIGRTMIN + 2, "json")):
            file = directory / f"keepalived.{name}"
            daemon.send_signal(number)
            last = {"data": "------< Interfaces >------", "stats": "    Sent: ", "json": "}]\n"}[name]
            until(lambda file=file, last=last: file.exists() and last in file.read_text(), f"{file}")  # type: ignore[misc]
            time.sleep(0.1)  # its last lines
            texts.append(file.read_text())
        return Dumps(*texts)
    finally:
        daemon.terminate()
        daemon.wait(10)


@pytest.fixture(scope="module")
def plan(directory: Path, theirs: Dumps, place: Namespace) -> VrrpPlan:
    with place.entered():
        built = build_plan(str(directory / "keepalived.conf"))
    assert built.plan_bytes is not None, built.problems
    return decode_plan(built.plan_bytes)


def instance(name: str, state: str, priority: int, effective: int, **more: Any) -> InstanceView:
    """The parts of a view that dumps show; the sources of IPv6 adverts differ from run to run and are left out."""
    fields: dict[str, Any] = {
        "vrid": 0, "interface": "d0", "family": "", "version": 0, "advert_interval_s": 0.0, "master": None, "vips": [],
        "excluded_vips": [], "source": "192.0.2.1", "cause": "", "next": "", "faults": [], "held": None, "statistics": {},
        "sync_group": None, "master_advert_interval_s": 1.0, "since": "2026-11-22T23:20:13.508726+00:00",
    }  # fmt: skip
    fields.update(more)
    return InstanceView(name=name, state=state, priority=priority, effective_priority=effective, **fields)


STATISTICS = {"adverts_sent": 3, "became_master": 1}


@pytest.fixture(scope="module")
def view() -> NodeView:
    """What our daemon shows in the same situation."""
    own = MasterView("192.0.2.1", 100)
    return NodeView(
        instances=[
            instance("VI_1", "MASTER", 100, 100, master=own, sync_group="G", statistics=STATISTICS),
            instance("VI_2", "MASTER", 90, 90, sync_group="G", master_advert_interval_s=0.5, statistics=STATISTICS),
            instance("VI_3", "MASTER", 90, 92, master=own, statistics=STATISTICS),
            instance("VI_4", "FAULT", 100, 110, faults=["script bad is down"]),
        ],
        sync_groups=[GroupView(name="G", state="MASTER", members=["VI_1", "VI_2"])],
        trackers=[
            TrackerView(kind="script", name="good", up=True, weight=2, detail="exit status 0", counter=4),
            TrackerView(kind="script", name="bad", up=False, weight=0, detail="exit status 1"),
            TrackerView(kind="interface", name="d1", up=True, weight=0, detail="up"),
        ],
    )


EXPORTED_FIELDS = (
    "State", "Wantstate", "Interface", "Gratuitous ARP delay", "Virtual Router ID", "Virtual IP", "Virtual IP Excluded",
)  # fmt: skip


def test_the_exporter_reads_the_same_from_both_data_files(theirs: Dumps, plan: VrrpPlan, view: NodeView) -> None:
    their_instances, their_scripts = read_data(theirs.data)
    our_instances, our_scripts = read_data(data_text(plan, view))
    assert list(our_instances) == list(their_instances) == ["VI_1", "VI_2", "VI_3", "VI_4"]
    for name, fields in their_instances.items():
        wanted = {key: fields.get(key) for key in EXPORTED_FIELDS}
        assert {key: our_instances[name].get(key) for key in EXPORTED_FIELDS} == wanted, name
    assert {name: (s["Status"], s["State"]) for name, s in our_scripts.items()} == {
        name: (s["Status"], s["State"]) for name, s in their_scripts.items()
    } == {"good": ("GOOD", "idle"), "bad": ("BAD", "idle")}  # fmt: skip


LINES_WITHOUT_OURS = (
    "   Last transition", "   Read timeout", "   Master down timer", "   fd_in", "   Multicast address ff02", "   Password",
    "   Using src_ip = fe80", "   Virtual IP Excluded", "   Unicast checksum", "   Number of interface",
)  # fmt: skip
"""Lines of theirs that differ each run, show what only they have, or (Password, Excluded) changed after 2.2.7."""


def topology(text: str) -> list[str]:
    """The lines of instances, groups and scripts."""
    sections = text.split("------< ")
    wanted = [section for section in sections if section.startswith(("VRRP Topology", "VRRP Sync", "VRRP Scripts"))]
    return "".join(wanted).splitlines()


def test_each_of_their_lines_about_instances_groups_and_scripts_is_ours(
    theirs: Dumps, plan: VrrpPlan, view: NodeView
) -> None:
    ours = topology(data_text(plan, view))
    lacking = [line for line in topology(theirs.data) if not line.startswith(LINES_WITHOUT_OURS) and line not in ours]
    assert lacking == []


def test_the_exporter_reads_the_same_from_both_statistics(theirs: Dumps, view: NodeView) -> None:
    their, our = read_stats(theirs.stats), read_stats(stats_text(view))
    assert {name: list(numbers) for name, numbers in our.items()} == {n: list(numbers) for n, numbers in their.items()}
    counted = {name: {k: v for k, v in numbers.items() if "Advertisements" not in k} for name, numbers in their.items()}
    assert {n: {k: v for k, v in x.items() if "Advertisements" not in k} for n, x in our.items()} == counted


def test_the_json_has_the_same_keys_in_the_same_order_with_the_same_values(
    theirs: Dumps, plan: VrrpPlan, view: NodeView
) -> None:
    text = json_bytes(plan, view).decode()
    assert text.endswith("}]\n")
    assert '"192.0.2.10\\/24 ' in text
    assert '"192.0.2.10\\/24 ' in theirs.json
    for their, our in zip(json.loads(theirs.json), json.loads(text), strict=True):
        assert list(our["data"]) == list(their["data"])
        differing = {key for key in their["data"] if our["data"][key] != their["data"][key]}
        assert differing <= {"last_transition", "auth_data"}, [(our["data"][k], their["data"][k]) for k in differing]
        assert [key for key in our["stats"] if not key.startswith("auth_ext_")] == list(their["stats"])
        assert {type(value) for value in our["stats"].values()} == {int}


def test_version_2_wraps_the_same_list(plan: VrrpPlan, view: NodeView) -> None:
    second = msgspec.structs.replace(plan, settings=msgspec.structs.replace(plan.settings, json_version=2))
    one, two = json.loads(json_bytes(plan, view)), json.loads(json_bytes(second, view))
    assert two == {"vrrp": one, "track_process": []}


def test_no_password_leaves_the_house(plan: VrrpPlan, view: NodeView) -> None:
    assert "secret" not in data_text(plan, view)
    assert b"secret" not in json_bytes(plan, view)


def test_a_backup_names_its_master_as_keepalived_does(plan: VrrpPlan, view: NodeView) -> None:
    heard = instance("VI_2", "BACKUP", 90, 90, master=MasterView("fe80::2", 200), master_advert_interval_s=0.7)
    one = msgspec.structs.replace(view, instances=[heard])
    fields = read_data(data_text(plan, one))[0]["VI_2"]
    assert (fields["Master router"], fields["Master priority"], fields["Master advert int"]) == (
        "fe80::2", "200", "0.70 sec",
    )  # fmt: skip
    shown = json.loads(json_bytes(plan, one))[0]["data"]
    assert (shown["master_priority"], shown["master_adver_int"], shown["adver_int"]) == (200, 0.7, 0.5)
    assert (shown["state"], shown["wantstate"], shown["vipset"]) == (1, 1, False)
    assert fields["Virtual IP"][0] == "fe80::1 dev d0 scope global deprecated"  # type: ignore[index]
