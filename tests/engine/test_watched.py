"""What is told of files, processes and links, as the engine takes it; and that a recording of it decides the same."""

from typing import Any

import msgspec
import pytest

from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine import record
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    Interface,
    InterfaceSeen,
    LinkPolled,
    LogLine,
    ProcessesCounted,
    Tell,
    TimersDue,
    TrackerNotice,
    TrackerReported,
)
from holdfast.engine.record import RecordedEngine
from holdfast.engine.reload import reload
from holdfast.engine.replay import file_octets, read, replay, restored
from holdfast.track.config import FileConfig, LinkConfig, ProcessConfig
from holdfast.vrrp.config import TrackedUse
from tests.engine.lan import Host, Lan
from tests.engine.test_engine import instance
from tests.engine.test_record import HEADER


def use(kind: str, name: str, weight: int = 0, reverse: bool = False) -> TrackedUse:
    return TrackedUse(kind=kind, name=name, weight=weight, reverse=reverse)


FILE = VrrpPlan(
    instances=(instance(trackers=(use("file", "load", 2),)),), files=(FileConfig(name="load", path="/x", weight=2),)
)
PROCESS = ProcessConfig(name="web", command="nginx", fork_delay_ns=2 * SECOND, terminate_delay_ns=SECOND)
PROCESSES = VrrpPlan(instances=(instance(trackers=(use("process", "web", -30),)),), processes=(PROCESS,))
LINK = LinkConfig(name="eth0", down_ns=SECOND, up_ns=2 * SECOND)


def alone(plan: VrrpPlan) -> tuple[Lan, Host]:
    lan = Lan(a=("192.0.2.11", plan))
    return lan, lan.hosts["a"]


def priority(host: Host) -> int:
    return host.engine.slots[1].standing.priority


def test_a_file_is_waited_for_and_then_counts_at_once() -> None:
    lan, a = alone(FILE)
    lan.run(SECOND)
    assert a.history == []
    assert a.engine.slots[1].cause == "waiting for the first result of load"
    lan.handle(a, TrackerReported("file", "load", 5))
    assert a.history[-1][2] == "BACKUP"
    assert priority(a) == 110
    lan.run(5 * SECOND)
    lan.handle(a, TrackerReported("file", "load", -20))
    assert a.history[-1][2] == "MASTER"
    assert priority(a) == 60
    lan.handle(a, TrackerReported("file", "load", -127))  # -254
    assert a.history[-1][2] == "FAULT"
    assert a.engine.slots[1].faults == ("file load is -127",)
    lan.handle(a, TrackerReported("file", "load", 0, "/x: gone"))
    assert a.history[-1][2] == "BACKUP"
    assert priority(a) == 100
    notices = [e.notice for e in a.effects if isinstance(e, Tell) and isinstance(e.notice, TrackerNotice)]
    assert [(one.value, one.detail) for one in notices] == [
        (5, ""), (-20, "was 5"), (-127, "was -20"), (0, "/x: gone"),
    ]  # fmt: skip


def test_the_same_again_and_what_nobody_uses_change_nothing() -> None:
    lan, a = alone(FILE)
    lan.handle(a, TrackerReported("file", "load", 5))
    before = len(a.effects)
    lan.handle(a, TrackerReported("file", "load", 5))
    lan.handle(a, TrackerReported("file", "other", 5))
    lan.handle(a, ProcessesCounted("other", 5))
    lan.handle(a, LinkPolled("eth0", False))
    assert len(a.effects) == before


def test_a_process_that_returns_within_its_delay_was_never_away() -> None:
    lan, a = alone(PROCESSES)
    lan.handle(a, ProcessesCounted("web", 1))
    lan.run(5 * SECOND)
    assert priority(a) == 100
    lan.handle(a, ProcessesCounted("web", 0))
    lan.run(900 * MILLISECOND)
    lan.handle(a, ProcessesCounted("web", 1))
    lan.run(5 * SECOND)
    assert priority(a) == 100
    lan.handle(a, ProcessesCounted("web", 0))
    lan.run(999 * MILLISECOND)
    assert priority(a) == 100
    lan.run(2 * MILLISECOND)
    assert priority(a) == 70
    lan.handle(a, ProcessesCounted("web", 2))
    lan.run(1_999 * MILLISECOND)
    assert priority(a) == 70
    lan.run(2 * MILLISECOND)
    assert priority(a) == 100
    lines = [e.notice.text for e in a.effects if isinstance(e, Tell) and isinstance(e.notice, LogLine)]
    assert [line for line in lines if line.startswith("Quorum")] == [
        "Quorum gained for tracked process web (1 running, 1 needed)",
        "Quorum lost for tracked process web (0 running, 1 needed)",
        "Quorum gained for tracked process web (2 running, 1 needed)",
    ]


def seen(a: Host, up: bool) -> InterfaceSeen:
    return InterfaceSeen(msgspec.structs.replace(a.interface, up=up))


def test_a_link_is_believed_after_its_delay_and_not_when_it_returns_before() -> None:
    lan, a = alone(VrrpPlan(instances=(instance(),), links=(LINK,)))
    lan.run(5 * SECOND)
    lan.handle(a, seen(a, False))
    lan.run(900 * MILLISECOND)
    lan.handle(a, seen(a, True))
    lan.run(3 * SECOND)
    assert a.history[-1][2] == "MASTER"
    lan.handle(a, seen(a, False))
    lan.run(999 * MILLISECOND)
    assert a.history[-1][2] == "MASTER"
    lan.run(2 * MILLISECOND)
    assert a.history[-1][2] == "FAULT"
    lan.handle(a, seen(a, True))
    lan.run(1_999 * MILLISECOND)
    assert a.history[-1][2] == "FAULT"
    lan.run(2 * MILLISECOND)
    assert a.history[-1][2] == "BACKUP"


def test_a_dead_link_counts_before_others_notice_the_silence() -> None:
    long = msgspec.structs.replace(LINK, down_ns=10 * SECOND)
    lan, a = alone(VrrpPlan(instances=(instance(),), links=(long,)))
    lan.run(5 * SECOND)
    lan.handle(a, seen(a, False))
    lan.run(1_996 * MILLISECOND)  # (3 - 1) × 1 s - 1/256 s = 1.99609375 s
    assert a.history[-1][2] == "MASTER"
    lan.run(MILLISECOND)
    assert a.history[-1][2] == "FAULT"


def test_an_interface_that_vanishes_is_gone_at_once() -> None:
    lan, a = alone(VrrpPlan(instances=(instance(),), links=(LINK,)))
    lan.run(5 * SECOND)
    lan.handle(a, InterfaceSeen(Interface(name="eth0")))
    assert a.history[-1][2] == "FAULT"


def test_a_polled_link_must_be_there_on_both_sides() -> None:
    lan, a = alone(VrrpPlan(instances=(instance(),), links=(LinkConfig(name="eth0", polled="any"),)))
    lan.run(5 * SECOND)
    lan.handle(a, LinkPolled("eth0", False))
    assert a.history[-1][2] == "FAULT"
    lan.handle(a, seen(a, True))  # whatever the kernel says
    assert a.history[-1][2] == "FAULT"
    lan.handle(a, LinkPolled("eth0", True))
    assert a.history[-1][2] == "BACKUP"


def test_a_reload_ends_a_delay_and_keeps_a_count() -> None:
    plan = msgspec.structs.replace(PROCESSES, links=(LINK,))
    lan, a = alone(plan)
    lan.handle(a, ProcessesCounted("web", 2))
    lan.run(5 * SECOND)
    lan.handle(a, seen(a, False))
    more = msgspec.structs.replace(PROCESS, quorum=3)
    lan.carry_out(a, reload(a.engine, msgspec.structs.replace(plan, processes=(more,), links=()), [], lan.now))
    assert a.history[-1][2] == "FAULT"
    assert priority(a) == 70
    lan.carry_out(a, reload(a.engine, VrrpPlan(instances=(instance(),)), [], lan.now))
    assert priority(a) == 100
    assert not a.engine.processes
    assert ("process", "web") not in a.engine.verdicts


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
def test_a_recording_decides_the_same_again(monkeypatch: pytest.MonkeyPatch, segment_bytes: int) -> None:
    """With segments of one octet, the replay begins at a checkpoint in which every delay runs."""
    monkeypatch.setattr(record, "SEGMENT_BYTES", segment_bytes)
    uses = (use("file", "load", 2), use("process", "web", -30), use("static", "198.51.100.1/24 dev eth0"))
    links = (LINK, LinkConfig(name="eth1", polled="MII"))
    plan = VrrpPlan(instances=(instance(trackers=uses),), files=FILE.files, processes=(PROCESS,), links=links)
    now = 1_000 * SECOND
    eth0 = Interface(name="eth0", index=2, up=True, addresses=(bytes((192, 0, 2, 11)),))  # type: ignore[arg-type]
    engine = RecordedEngine(plan, now)
    engine.begin([eth0], now)
    down = InterfaceSeen(msgspec.structs.replace(eth0, up=False))
    said: list[Any] = [
        TrackerReported("file", "load", 5), ProcessesCounted("web", 1), LinkPolled("eth1", False),
        TrackerReported("static", "198.51.100.1/24 dev eth0", True), *[TimersDue()] * 9,
        ProcessesCounted("web", 0), down, TrackerReported("file", "load", 9), *[TimersDue()] * 4,
        InterfaceSeen(eth0), ProcessesCounted("web", 3), *[TimersDue()] * 6, TrackerReported("file", "load", 1),
    ]  # fmt: skip
    for event in said:
        now += 500 * MILLISECOND
        engine.turn(now - 400 * MILLISECOND)
        if isinstance(event, TimersDue):
            engine.take_due(now)
        engine.handle(event, now)
    assert engine.verdicts["process", "web"] is True
    recording = read(file_octets(HEADER, b"".join(engine.frames())))
    assert isinstance(recording.start, record.Fresh) == (segment_bytes > 1)
    assert replay(recording, restored(recording, Engine)).difference is None
