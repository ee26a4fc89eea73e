"""`keepalived_check.data` and `keepalived_bfd.data` against what keepalived 2.2.7 wrote of the same files."""

from pathlib import Path
from typing import Any

import msgspec

from holdfast.base.address import parse
from holdfast.bfd.config import SessionConfig
from holdfast.bfd.view import SessionView
from holdfast.config.check import read_file
from holdfast.config.plan import VrrpPlan
from holdfast.engine.node import NodeView
from holdfast.export.bfd_dump import bfd_text
from holdfast.export.check_dump import check_text
from holdfast.export.files import Balanced, write
from tests.config.golden import PlainDisk
from tests.export.dump_shapes import shape

RECORDED = Path(__file__).with_name("recorded")


def checker(rows: list[dict[str, Any]], path: Path = RECORDED / "checker.conf") -> list[str]:
    built = read_file(str(path), disk=PlainDisk()).built
    return check_text(built.plan.settings, built.balancer, rows).splitlines()


def test_every_line_of_services_and_checkers_is_keepalived_s() -> None:
    theirs = (RECORDED / "checker.data").read_text()
    assert shape("\n".join(checker([])), "LVS Topology") == shape(theirs, "LVS Topology")
    assert len(theirs.splitlines()) > 200


def test_how_services_and_checks_stand_is_shown() -> None:
    check = {"ok": False, "last_run": "2026-11-23T09:00:00.250+00:00", "failures": 2}
    down = {"alive": False, "effective_weight": 3, "state": "down", "checks": [check]}
    row = {"label": "[192.0.2.10]:udp:80", "quorum_met": True, "suspended": False, "real_servers": [down]}
    lines = checker([row])
    start = lines.index("   RIP = 127.0.0.1, RPORT = 80, WEIGHT = 3 EFF WEIGHT = 3")
    assert "   quorum_state_up = 1" in lines[:start]
    assert lines[start + 11 : start + 14] == ["   alive = 0", "   num failed checkers = 1", "   RS set = 0"]
    start = lines.index(" [192.0.2.10]:udp:80 -> [127.0.0.1]:udp:80")
    assert lines[start + 1 : start + 4] == ["   Enabled = yes", "   Up = no", "   Has run = yes"]


BFD = """\
 BFD Instance = b1
   Neighbor IP = 192.0.2.22
   Source IP = 192.0.2.1
   Required min RX interval = 100000 us
   Desired min TX interval = 100000 us
   Desired idle TX interval = 1000000 us
   Detection multiplier = 4
   TTL = 255
   max_hops = 0
   passive = false
   send event to VRRP process = Yes
   send event to checker process = Yes
"""
"""The lines keepalived begins a session with, for the configuration below."""


def test_a_session_up_and_heard() -> None:
    config = SessionConfig(
        name="b1", neighbor=parse("192.0.2.22"), source=parse("192.0.2.1"), min_rx_ns=100_000_000,
        min_tx_ns=100_000_000, multiplier=4,
    )  # fmt: skip
    view = SessionView(
        name="b1", neighbor="192.0.2.22", source="192.0.2.1", multihop=False, passive=False, state="Up", up=True,
        since="", diagnostic="no diagnostic", remote_state="Up", remote_diagnostic="no diagnostic", discriminator=0xFC3,
        remote_discriminator=0xA, transmit_ms=200.0, detection_ms=300.0, remote_min_tx_ms=100.0, remote_min_rx_ms=200.0,
        remote_multiplier=3, failures=0, trouble="", statistics={},
    )  # fmt: skip
    node = NodeView(instances=[], sync_groups=[], trackers=[], bfd=[view])
    lines = bfd_text(VrrpPlan(bfd=(config,)), node).splitlines()
    start = lines.index(" BFD Instance = b1")
    assert "\n".join(lines[start : start + 12]) + "\n" == BFD
    for line in (
        "   local state = Up", "   local discriminator = 0xfc3", "   remote min rx intv = 200000 us",
        "   remote detect multiplier = 3", "   local tx intv = 200000 us", "   remote tx intv = 100000 us",
        "   local detection time = 300000 us", "   remote detection time = 800000 us", "   local diag = No Diagnostic",
    ):  # fmt: skip
        assert line in lines


def test_the_files_are_written_where_there_is_something_to_tell(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    nothing = NodeView(instances=[], sync_groups=[], trackers=[])
    built = read_file(str(RECORDED / "checker.conf"), disk=PlainDisk()).built
    session = SessionConfig(name="b1", neighbor=parse("192.0.2.22"))
    balanced = Balanced(msgspec.msgpack.encode(built.balancer))
    write("data", VrrpPlan(bfd=(session,)), nothing, environment, balanced)
    names = {"keepalived.data", "keepalived_parent.data", "keepalived_check.data", "keepalived_bfd.data"}
    assert {path.name for path in tmp_path.iterdir()} == names
