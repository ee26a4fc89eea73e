"""`holdfast simulate`: hosts made of files, faults, verdicts, exit statuses; and the page shows what is so."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.base.address import text
from holdfast.cli.simulate import command
from holdfast.sim.cluster import Cluster, build_cluster
from holdfast.sim.faults import ScenarioError, fault_of, read_scenario, single_faults
from holdfast.sim.reading import read_elsewhere
from holdfast.sim.report import simulate
from holdfast.sim.svg import picture
from holdfast.sim.trial import try_faults
from holdfast.sim.verdicts import judge

PAIR = Path(__file__).parent / "pair"
PAGE = Path(__file__).parents[2] / "docs/how-to/simulate.md"


def conf(priority: int, more: str = "", vrid: int = 51, before: str = "", vip: str = "192.0.2.100/24") -> str:
    return (
        f"{before}\nvrrp_instance web {{\n  interface eth0\n  virtual_router_id {vrid}\n  priority {priority}\n"
        f"  {more}\n  virtual_ipaddress {{\n    {vip}\n  }}\n}}\n"
    )


def written(folder: Path, *texts: str) -> list[str]:
    paths = [folder / f"{name}.conf" for name, _ in zip("abcdef", texts, strict=False)]
    for path, one in zip(paths, texts, strict=True):
        path.write_text(one)
    return [str(path) for path in paths]


def cluster(folder: Path, *texts: str) -> Cluster:
    paths = written(folder, *texts)
    return build_cluster([(Path(path).stem, path, read_elsewhere(path, Path(path).stem).plan) for path in paths])


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def told(made: Cluster, spec: str) -> tuple[str, float, tuple[str, ...], str]:
    """Owner, outage in seconds, owners after it was mended, and the verdict of one fault of a one-router cluster."""
    fault = fault_of(spec, made)
    assert fault is not None
    trial = try_faults(made, (fault,))
    [outcome] = trial.outcomes
    after = outcome.after.owners if outcome.after is not None else ()
    said = judge(made, trial, outcome)
    return " ".join(outcome.during.owners), outcome.during.outage_ns / 1e9, after, f"{said.grade}: {said.text()}"


def check(weight: str = "", more: str = "") -> str:
    return f"vrrp_script chk {{\n  script /usr/bin/chk\n  interval 2\n  {weight}\n  {more}\n}}"


TRACKED = "track_script {\n    chk\n  }"


@pytest.mark.parametrize(
    ("first", "second", "spec", "owner", "outage_s", "after", "words"),
    [
        # 3 × 1 s + 156/256 s; 3 × 0.1 s + 156/2560 s
        (conf(150), conf(100), "crash a", "b", 3.609375, ("a",), "= 3.609 s; with version 3 and advert_int 0.1"),
        (conf(150, "version 3\nadvert_int 0.1"), conf(100, "version 3\nadvert_int 0.1"), "crash a", "b", 0.3609375,
         ("a",), "good: a falls silent"),
        (conf(150), conf(100), "stop a", "b", 0.609375, ("a",), "waits its skew, 609.4 ms at priority 100"),
        (conf(150), conf(100), "stop b", "a", 0, ("a",), "nobody could take over from it meanwhile"),
        (conf(150, "unicast_src_ip 192.0.2.1\nunicast_peer { \n192.0.2.2\n }"),
         conf(100, "unicast_src_ip 192.0.2.2\nunicast_peer { \n192.0.2.1\n }"), "stop a", "b", 0, ("a",), "at once"),
        (conf(150), conf(100), "link a eth0", "b", 3.609375, ("a",), "a falls silent"),
        (conf(150, "nopreempt"), conf(100), "crash a", "b", 3.609375, ("b",), "nopreempt on a: it stays on b then"),
        (conf(150, TRACKED, before=check("weight -60")), conf(100), "script a chk", "b", 0, ("a",),
         "150 − 60 = 90 against b's 100: b takes over with no gap"),
        (conf(102, TRACKED, before=check("weight -2")), conf(100), "script a chk", "a", 0, ("a",),
         "odd: this check can never move the address: 102 − 2 = 100 against b's 100, and a backup takes over only"),
        (conf(102, TRACKED, before=check("weight -1")), conf(100), "script a chk", "a", 0, ("a",),
         "102 − 1 = 101 against b's 100; its weight would have to be at least 3"),
        (conf(102, TRACKED, before=check("weight -50")), conf(100, "nopreempt"), "script a chk", "a", 0, ("a",),
         "102 − 50 = 52 against b's 100 would do, but b says nopreempt"),
        (conf(100, TRACKED + "\nmcast_src_ip 192.0.2.9", before=check("weight 2")),
         conf(100, TRACKED + "\nmcast_src_ip 192.0.2.8", before=check("weight 2")), "script b chk", "a", 0, ("a",),
         "a stays: it is no worse for it"),
        (conf(102, TRACKED + "\nmcast_src_ip 192.0.2.9", before=check("weight -2")),
         conf(100, "mcast_src_ip 192.0.2.8"), "script a chk", "a", 0, ("a",), "higher address (192.0.2.9)"),
        (conf(150, TRACKED, before=check("", "fall 3")), conf(100), "script a chk", "b", 0.609375, ("a",),
         "noticed after 5."),
        (conf(150), conf(100), "cut a b", "a b", 0, ("a",), "split: two masters while the link is cut: both serve"),
        (conf(150), conf(100), "cut b>a", "a", 0, ("a",), "good: a stays: nobody needs to hear a backup"),
        (conf(100), conf(100), "cut a>b", "b", 0, ("b",), "takes over, and a yields"),
        (conf(100), conf(100), "cut a b", "a b", 0, ("b",), "a tie, and its address is higher, as guessed"),
        (conf(150), conf(100), "cut a>b", "a b", 0, ("a",), "two masters while b does not hear a"),
        (conf(150), conf(100), "restart a", "a", 0.609375, (), "b serves meanwhile, a takes back after 3.7"),
        (conf(150), conf(100), "restart a b", "a", 3.7140625, (), "all begin anew, a is first again"),
        (conf(150), conf(100), "stall a 9s", "a", 0, (), "two serve for 5.39"),
        (conf(150), conf(100), "switch a web away", "b", 0, ("a",), "good"),
    ],
)  # fmt: skip
def test_a_fault_its_outcome_and_its_verdict(
    tmp_path: Path, first: str, second: str, spec: str, owner: str, outage_s: float, after: tuple[str, ...], words: str
) -> None:
    found = told(cluster(tmp_path, first, second), spec)
    assert found[0] == owner, found
    assert found[1] == pytest.approx(outage_s, abs=0.0001), found
    assert found[2] == after, found
    assert words in found[3]


SAMPLE = Path(__file__).parents[1] / "interop/operators/sample.conf"


@pytest.mark.parametrize(
    ("spec", "owner", "outage_s", "after", "words"),
    [
        # 3 × 1 s + (256 − 102)/256 s: the check adds its weight of 2 to both
        ("crash a", "b", 3.6015625, ("b",), "nopreempt on a: it stays on b then"),
        ("stop a", "b", 0, ("b",), "b is its only peer: it takes over at once"),
        ("script a check_things", "a", 0, ("a",), "104 − 2 = 102 against b's 102 is a tie, and b says nopreempt"),
        ("restart a b", "a", 3.9015625, (), "all begin anew, a is first again"),
    ],
)
def test_the_operators_pair(
    tmp_path: Path, spec: str, owner: str, outage_s: float, after: tuple[str, ...], words: str
) -> None:
    """The other host has the addresses the other way round and priority 100."""
    first = SAMPLE.read_text(encoding="utf-8")
    other = re.sub(r"10\.201\.36\.([89])", lambda found: f"10.201.36.{17 - int(found[1])}", first)
    found = told(cluster(tmp_path, first, other.replace("priority 102", "priority 100")), spec)
    assert (found[0], found[2]) == (owner, after)
    assert found[1] == pytest.approx(outage_s, abs=0.0001)
    assert words in found[3]


def test_a_terminal_without_the_signs_is_served_all_the_same() -> None:
    command_line = [sys.executable, "-m", "holdfast.cli.main", "simulate", *map(str, sorted(PAIR.glob("*.conf")))]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command_line, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 x 1 s + skew 609.4 ms" in done.stdout


# ---- hosts from files -----------------------------------------------------------------------------------------------


def sources(made: Cluster) -> list[list[str]]:
    return [[text(one) for each in node.interfaces for one in each.addresses if len(one) == 4] for node in made.nodes]


def test_addresses_come_from_the_file_the_peers_the_network_and_the_order(tmp_path: Path) -> None:
    made = cluster(
        tmp_path,
        conf(150, "unicast_src_ip 198.51.100.7\nunicast_peer {\n198.51.100.8\n}"),
        conf(100, "unicast_peer {\n198.51.100.7\n}"),
    )
    assert sources(made) == [["198.51.100.7"], ["198.51.100.8"]]
    assert [node.guessed for node in made.nodes] == [(), ()]
    made = cluster(tmp_path, conf(150), conf(100), conf(50))
    assert sources(made) == [["192.0.2.11"], ["192.0.2.12"], ["192.0.2.13"]]
    assert [node.guessed for node in made.nodes] == [("eth0",)] * 3


def test_interfaces_of_one_virtual_router_are_one_network(tmp_path: Path) -> None:
    made = cluster(tmp_path, conf(150), conf(100).replace("eth0", "ens3"))
    assert made.nodes[0].segments["eth0"] == made.nodes[1].segments["ens3"]
    apart = cluster(tmp_path, conf(150), conf(100).replace("192.0.2", "198.51.100").replace("web", "db"))
    assert [router.name for router in apart.routers] == ["web"]  # the same number: one virtual router all the same
    other = conf(100, vrid=52).replace("192.0.2", "198.51.100").replace("web", "db")
    alone = cluster(tmp_path, conf(150), other)
    assert [router.name for router in alone.routers] == ["web", "db"]


GROUP = """vrrp_sync_group all {{
  group {{
    inside
    outside
  }}
}}
vrrp_instance outside {{
  interface eth0
  virtual_router_id 10
  priority {0}
  virtual_ipaddress {{
    198.51.100.10/24
  }}
}}
vrrp_instance inside {{
  interface eth1
  virtual_router_id 11
  priority {0}
  version 3
  advert_int 0.5
  virtual_ipaddress {{
    2001:db8::1/64
    fe80::100/64
  }}
}}
"""


def test_a_sync_group_moves_as_one_and_the_verdict_says_so(tmp_path: Path) -> None:
    made = cluster(tmp_path, *(GROUP.format(priority) for priority in (150, 120, 90)))
    fault = fault_of("link a eth1", made)
    assert fault is not None
    trial = try_faults(made, (fault,))
    said = {outcome.router.name: judge(made, trial, outcome).during for outcome in trial.outcomes}
    assert [outcome.during.owners for outcome in trial.outcomes] == [("b",), ("b",)]
    assert {outcome.during.outage_ns for outcome in trial.outcomes} == {1_765_625_000}  # 3 × 0.5 s + 136/512 s
    assert "a falls silent: b waits 3 × 500 ms + skew 265.6 ms (priority 120) = 1.766 s" in said["inside"]
    assert said["outside"] == "a resigns: sync group all moves as one, its slowest member after 1.766 s"


def test_one_stands_for_all_that_are_alike(tmp_path: Path) -> None:
    many = ["".join(
        conf(priority if vrid != 7 else 120, vrid=vrid, vip=f"192.0.2.{100 + vrid}/24").replace("web", f"web{vrid}")
        for vrid in range(1, 31)
    ) for priority in (150, 100)]  # fmt: skip
    made = cluster(tmp_path, *many)
    assert [(router.name, len(router.alike)) for router in made.routers] == [("web1", 28), ("web7", 0)]
    document = json.loads(run(*written(tmp_path, *many), "--fault", "crash a", "--json")[1])
    assert [len(one["instances"]) for one in document["faults"][0]["outcomes"]] == [29, 1]


# ---- the command ----------------------------------------------------------------------------------------------------


def test_a_good_pair_ends_with_0_and_says_so_in_time() -> None:
    begun = time.monotonic()
    status, said = run(str(PAIR / "ha01.conf"), str(PAIR / "ha02.conf"))
    assert (status, time.monotonic() - begun < 2) == (0, True)
    assert "every single fault leaves each address with one owner" in said
    assert "two faults, one after the other (136)" in said


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (conf(150), conf(100, vrid=52, vip="192.0.2.101/24").replace("web", "db"), "nobody serves: a is down"),
        (conf(150), conf(100, "version 3"), "both serve before anything has failed (version: 2 | 3"),
        (conf(150), conf(100, vip="192.0.2.101/24"), "b is MASTER, but its file has no 192.0.2.100"),
    ],
)
def test_a_pair_that_leaves_none_or_two_ends_with_1(tmp_path: Path, first: str, second: str, words: str) -> None:
    status, said = run(*written(tmp_path, first, second))
    assert status == 1
    assert words in said
    assert "not one owner: " in said


def test_strict_counts_a_cut_network(tmp_path: Path) -> None:
    files = written(tmp_path, conf(150), conf(100))
    assert run(*files, "--fault", "cut a b")[0] == 0
    assert run(*files, "--fault", "cut a b", "--strict")[0] == 1


def test_json_says_the_same(tmp_path: Path) -> None:
    status, said = run(*written(tmp_path, conf(150), conf(100)), "--json")
    document: dict[str, Any] = json.loads(said)
    assert (status, document["ok"], document["failing"]) == (0, True, [])
    [crash] = [one for one in document["faults"] if one["fault"] == "crash a"]
    [outcome] = crash["outcomes"]
    assert (outcome["owners"], outcome["outage_s"], outcome["after"]["owners"]) == (["b"], 3.609375, ["a"])
    assert [one["grade"] for one in document["double_faults"] if one["fault"] == "crash a, then crash b"] == ["none"]


def test_the_same_seed_gives_the_same(tmp_path: Path) -> None:
    files = written(tmp_path, conf(150), conf(100))
    assert run(*files, "--seed", "7", "--verbose") == run(*files, "--seed", "7", "--verbose")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--fault", "crash c"], 2, "no host 'c': there are a, b"),
        (["--fault", "crahs a"], 2, "no fault 'crahs'"),
        (["--fault", "link a eth7"], 2, "a has no 'eth7': it has eth0"),
        (["--fault", "stall a soon"], 2, "'soon' is no span of time"),
        (["--fault", "at 5s crash a; start a"], 2, "some steps have a time and some have none"),
        (["--fault", "cut a a"], 2, "write cut HOST HOST"),
        (["--fault", "link a eth0 sideways"], 2, "'sideways': say down or up"),
        (["--scenario", "/nowhere"], 1, "/nowhere can't be read"),
        (["--svg", "/nowhere/picture.svg"], 1, "can't be written"),
    ],
)
def test_what_is_not_understood_is_said(tmp_path: Path, words: list[str], status: int, said: str) -> None:
    found = run(*written(tmp_path, conf(150), conf(100)), *words)
    assert found[0] == status
    assert said in found[1]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    [good] = written(tmp_path, conf(150))
    assert run(good)[0] == 2
    status, said = run(good, str(tmp_path / "absent.conf"))
    assert (status, "absent.conf can't be used" in said) == (1, True)
    (tmp_path / "empty.conf").write_text("global_defs {\n}\n")
    assert "has no vrrp_instance" in run(good, str(tmp_path / "empty.conf"))[1]


def test_one_file_for_two_hosts_by_name(tmp_path: Path) -> None:
    [file] = written(tmp_path, conf(100, "@one priority 150"))
    status, said = run(f"one={file}", f"two={file}")
    assert status == 0
    assert "priority one 150, two 100: owner one" in said


# ---- scenarios and pictures -----------------------------------------------------------------------------------------


def test_a_scenario_by_its_times(tmp_path: Path) -> None:
    made = cluster(tmp_path, conf(150), conf(100))
    steps = read_scenario("# a Sunday\nat 12s start a\ncrash a at 5s\n", made)
    assert [(step.text(), step.at_ns) for step in steps] == [("crash a", 5_000_000_000), ("start a", 12_000_000_000)]
    with pytest.raises(ScenarioError, match="line 2: 'at 3 jump a': no fault 'jump'"):
        read_scenario("crash a at 5s\nat 3 jump a\n", made)
    status, said = run(*written(tmp_path, conf(150), conf(100)), "--fault", "at 5s crash a; at 12s start a")
    assert status == 0
    assert "nobody serves for 3.609 s" in said
    assert "12 s * a start" in said


def test_every_fault_reads_back_as_it_is_written(tmp_path: Path) -> None:
    made = cluster(tmp_path, conf(150, TRACKED, before=check()), conf(100), conf(50))
    faults = single_faults(made)
    assert [fault_of(fault.text, made) for fault in faults] == faults
    assert len({fault.text for fault in faults}) == len(faults) == 3 + 3 + 3 + 1 + 9 + 3 + 4 + 3


def test_the_picture_is_whole_and_safe(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    made = cluster(tmp_path, conf(150).replace("web", "w<b>"), conf(100).replace("web", "w<b>"))
    drawn = picture(simulate(made, doubles=False))
    root = ElementTree.fromstring(drawn)
    assert root.attrib["viewBox"].startswith("0 0 920 ")
    assert "prefers-color-scheme: dark" in drawn
    assert not re.search(r"href|url\(|@import", drawn)
    assert "3.609 s" in "".join(root.itertext())


def test_the_page_shows_what_it_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    _, said = run(str(PAIR / "ha01.conf"), str(PAIR / "ha02.conf"))
    [block] = re.findall(r"```console\n\$ holdfast simulate ha01.conf ha02.conf\n(.*?)```", page, re.DOTALL)
    shown = [line for line in block.splitlines() if line != "…"]
    assert len(shown) > 12
    assert [line for line in shown if line not in said.splitlines()] == []
    [file] = re.findall(r"```conf\n(.*?)```", page, re.DOTALL)
    assert file == (PAIR / "ha01.conf").read_text() == (PAIR / "ha02.conf").read_text().replace("100\n", "102\n")
    words = [word for fault in ("crash a", "script a disk_is_writable", "cut a b", "stall a 9s") for word in ("--fault", fault)]
    made = build_cluster(
        [(name, "", read_elsewhere(str(PAIR / f"{name}.conf"), name).plan) for name in ("ha01", "ha02")]
    )
    asked = [fault for word in words[1::2] if (fault := fault_of(word, made))]
    assert PAGE.with_suffix(".svg").read_text(encoding="utf-8") == picture(simulate(made, asked))
