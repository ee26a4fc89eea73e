"""What instances, groups and settings come to: goldens, and the rules a golden would hide."""

from pathlib import Path

import msgspec
import pytest

from holdfast.config.builder import build_plan, decode_plan
from holdfast.config.check import check_file
from holdfast.config.keyword_page import page
from holdfast.config.keywords import Status, all_blocks
from holdfast.vrrp.config import InstanceConfig, TrackedUse
from tests.config import golden
from tests.config.reading import INSTANCE, check, names, only, whats


@pytest.mark.parametrize("name", golden.names())
def test_golden(name: str) -> None:
    with open(f"{golden.HERE}/{name}.txt", encoding="utf-8") as stream:
        assert golden.outcome(name) == stream.read()


def one(folder: Path, inside: str, before: str = "") -> InstanceConfig:
    return check(folder, before + INSTANCE.format(inside=inside)).plan.instances[0]


@pytest.mark.parametrize(
    ("inside", "priority", "owner"),
    [
        ("", 100, False),
        ("state MASTER", 255, True),
        ("state MASTER\npriority 120", 120, False),
        ("state MASTER\npriority 300", 100, False),
        ("priority 255", 255, True),
        ("priority 255\nstate BACKUP", 255, False),
        ("priority 1", 1, False),
        ("state MASTER\nstate BACKUP\npriority 255", 255, True),
    ],
)
def test_priority_and_the_start(tmp_path: Path, inside: str, priority: int, owner: bool) -> None:
    built = one(tmp_path, inside)
    assert (built.priority, built.starts_as_owner) == (priority, owner)


@pytest.mark.parametrize(
    ("inside", "preempt", "delay_s"),
    [
        ("nopreempt", False, 0),
        ("nopreempt\npreempt", True, 0),
        ("nopreempt\nstate MASTER\npriority 9", True, 0),
        ("nopreempt\npriority 255", True, 0),
        ("preempt_delay 9.5", True, 9.5),
        ("preempt_delay 9\nnopreempt", False, 0),
        ("preempt_delay 9\nstate MASTER\npriority 9", True, 0),
        ("preempt_delay 9\nstrict_mode", True, 0),
    ],
)
def test_preemption(tmp_path: Path, inside: str, preempt: bool, delay_s: float) -> None:
    built = one(tmp_path, inside)
    assert (built.preempt, built.preempt_delay_ns) == (preempt, delay_s * 1e9)


@pytest.mark.parametrize(
    ("inside", "interval_ms"),
    [
        ("advert_int 1.5", 2000),
        ("advert_int 0.2", 1000),
        ("version 3\nadvert_int 0.2", 200),
        ("version 3\nadvert_int 100", 40_950),
        ("advert_int 100", 100_000),
    ],
)
def test_intervals_of_each_version(tmp_path: Path, inside: str, interval_ms: int) -> None:
    assert one(tmp_path, inside).adver_interval_ns == interval_ms * 1_000_000


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ("interface eth0", "interface eth0", False),
        ("interface eth0", "interface eth1", True),
        ("interface eth0", "interface eth0\nmcast_dst_ip 224.0.0.99", True),
        ("interface eth0", "interface eth0\nunicast_peer { 192.0.2.9 }", True),
        ("interface eth0\nunicast_peer { 192.0.2.8 }", "interface eth0\nunicast_peer { 192.0.2.9 }", True),
        ("interface eth0\nunicast_peer { 192.0.2.9 }", "interface eth0\nunicast_peer { 192.0.2.9 }", False),
    ],
)
def test_two_instances_with_one_number(tmp_path: Path, first: str, second: str, fits: bool) -> None:
    text = "".join(
        f"vrrp_instance {name} {{\n{inside}\nvirtual_router_id 5\nvirtual_ipaddress {{ 192.0.2.{number} }}\n}}\n"
        for number, (name, inside) in enumerate((("a", first), ("b", second)), 1)
    )
    assert (check(tmp_path, text).verdict == "refused") is not fits


def test_families_share_a_number(tmp_path: Path) -> None:
    text = INSTANCE.format(inside="") + INSTANCE.format(inside="").replace("VI", "V6").replace("192.0.2.1/24", "fe80::1")
    assert check(tmp_path, text).verdict == "ok"


@pytest.mark.parametrize(
    ("inside", "uses"),
    [
        ("track_interface { eth1 }", [("eth1", 0, False)]),
        ("track_interface { eth1 weight 20 }", [("eth1", 20, False)]),
        ("track_interface { eth1 weight -254 reverse }", [("eth1", -253, True)]),
        ("track_interface { eth0\neth1 }", [("eth1", 0, False)]),
        ("track_script { yes }", [("yes", -5, True)]),
        ("track_script { yes weight 7 }", [("yes", 7, True)]),
        ("track_script { yes weight 7 noreverse }", [("yes", 7, False)]),
        ("priority 255\ntrack_script { yes }", []),
        ("priority 255\ntrack_interface { eth1 weight 9 }", [("eth1", 0, False)]),
        ("track_script { later }", []),
        ("track_script { broken }", []),
    ],
)
def test_trackers(tmp_path: Path, inside: str, uses: list[tuple[str, int, bool]]) -> None:
    script = "vrrp_script yes {\nscript /usr/bin/true\nweight -5 reverse\n}\nvrrp_script broken {\nscript /none\n}\n"
    text = script + INSTANCE.format(inside=inside) + "vrrp_script later {\nscript /usr/bin/true\n}\n"
    built = check(tmp_path, text).plan.instances[0]
    assert [(use.name, use.weight, use.reverse) for use in built.trackers] == uses


def test_trackers_of_a_group_go_to_its_members(tmp_path: Path) -> None:
    group = "vrrp_sync_group g {\ngroup { VI }\ntrack_interface { eth1 weight 5 }\nsync_group_tracking_weight\n}\n"
    checked = check(tmp_path, group + INSTANCE.format(inside="track_interface { eth1 weight 9 }"))
    assert checked.plan.instances[0].trackers == (TrackedUse(kind="interface", name="eth1", weight=5),)
    assert any("both track eth1" in problem.what for problem in checked.problems)
    checked = check(tmp_path, group + INSTANCE.format(inside="track_interface { eth1 }"))
    assert checked.plan.instances[0].trackers == (TrackedUse(kind="interface", name="eth1"),)


@pytest.mark.parametrize(
    ("inside", "accept"),
    [("", True), ("no_accept", False), ("accept", True), ("strict_mode", False), ("strict_mode\npriority 255", True),
     ("strict_mode\naccept\nversion 3", True), ("strict_mode\naccept", False)],
)  # fmt: skip
def test_accept(tmp_path: Path, inside: str, accept: bool) -> None:
    assert one(tmp_path, inside).accept is accept


def test_our_own_words(tmp_path: Path) -> None:
    built = one(tmp_path, f"start_delay 2.5\nnotify_master_dir {tmp_path}\nnotify_stop_dir /none")
    assert built.start_delay_ns == 2_500_000_000
    assert built.notify.directories == {"MASTER": str(tmp_path), "STOP": "/none"}


def test_a_garp_group_sets_the_pace_of_its_interfaces(tmp_path: Path) -> None:
    text = "garp_group {\ninterfaces { eth0 eth1 }\ngarp_interval 0.25\n}\n"
    checked = check(tmp_path, text + INSTANCE.format(inside=""))
    assert checked.plan.garp_groups == (("eth0", "eth1"),)
    assert checked.plan.instances[0].announce.garp_interval_ns == 250_000_000


def test_the_first_notify_script_is_kept(tmp_path: Path) -> None:
    checked = check(tmp_path, INSTANCE.format(inside="notify /usr/bin/true\nnotify /usr/bin/false"))
    command = checked.plan.instances[0].notify.any
    assert command is not None
    assert command.argv == ("/usr/bin/true",)
    assert "6: notify stands here a second time" in whats(checked)


def test_a_fifo_is_the_last_argument_of_its_reader(tmp_path: Path) -> None:
    text = 'global_defs {\nnotify_fifo /run/f root\nnotify_fifo_script "/usr/bin/true -v"\n}\n'
    fifo = check(tmp_path, text).plan.settings.notify_fifo
    assert fifo is not None
    assert (fifo.path, fifo.uid) == ("/run/f", 0)
    assert fifo.script is not None
    assert fifo.script.argv == ("/usr/bin/true", "-v", "/run/f")


def test_nothing_to_run_is_no_error(tmp_path: Path) -> None:
    assert check(tmp_path, "").verdict == "ok"


def test_more_than_twenty_addresses(tmp_path: Path) -> None:
    vips = "\n".join(f"198.51.100.{number}" for number in range(1, 201))
    text = INSTANCE.format(inside=f"virtual_ipaddress_excluded {{\n{vips}\n}}")
    assert len(check(tmp_path, text).plan.instances[0].excluded) == 200


def test_a_plan_survives_its_bytes(tmp_path: Path) -> None:
    for name in golden.names():
        result = build_plan(f"{golden.HERE}/{name}.conf", "here", disk=golden.PlainDisk())
        if result.plan_bytes is None:
            assert result.exit_class == "refused"
            continue
        assert msgspec.msgpack.encode(decode_plan(result.plan_bytes)) == result.plan_bytes
        assert result.exit_class in ("ok", "runs")
    assert build_plan(str(tmp_path / "none")).exit_class == "absent"


def test_the_reference_page_is_up_to_date() -> None:
    path = Path(__file__).parents[2] / "docs" / "reference" / "keywords.md"
    assert path.read_text(encoding="utf-8") == page(), "python -m holdfast.config.keyword_page > docs/reference/keywords.md"


def test_a_sample_with_remarks_runs() -> None:
    checked = check_file(f"{golden.HERE}/operators-sample.conf", disk=golden.PlainDisk())
    assert names(checked) == ["cluster"]
    assert checked.verdict == "runs"


def test_a_problem_says_place_value_cure_and_consequence(tmp_path: Path) -> None:
    problem = only(check(tmp_path, INSTANCE.format(inside="priority 300")))
    assert problem.text().split(": ", 1)[1] == (
        "error: priority 300 is out of range: use 1 to 255; the default is kept\n        priority 300\n                 ^^^"
    )


def test_what_is_not_carried_out_has_its_reason_in_the_documentation() -> None:
    said = (Path(__file__).parents[2] / "docs/explanation/differences.md").read_text(encoding="utf-8")
    pending = [
        keyword.name for block in all_blocks().values() for keyword in block.keywords.values()
        if keyword.status is Status.PENDING
    ]  # fmt: skip
    assert [name for name in pending if f"`{name}`" not in said] == []
