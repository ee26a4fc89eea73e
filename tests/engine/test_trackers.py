"""What is told of trackers: each new verdict once, whom it concerns, and what it does to a priority."""

import msgspec
import pytest

from holdfast.config.plan import VrrpPlan
from holdfast.engine import trackers
from holdfast.engine.messages import InterfaceSeen, Notice, PriorityNotice, ScriptFinished, Tell, TrackerNotice
from tests.engine.lan import Host
from tests.engine.test_engine import instance, pair, runs, scripted


def told(host: Host, kind: type[Notice]) -> list[Notice]:
    return [effect.notice for effect in host.effects if isinstance(effect, Tell) and isinstance(effect.notice, kind)]



@pytest.mark.parametrize("notify", [False, True])
def test_a_script_s_verdict_and_the_priority_are_told_once(notify: bool) -> None:
    lan = pair(scripted(-30, name="web", notify_priority_changes=notify), VrrpPlan())
    a = lan.hosts["a"]
    lan.run(0)
    for status in (0, 0, 2, 2, 0):
        lan.handle(a, ScriptFinished("chk", runs(lan, "a")[-1].run, status))
        lan.run(1_000_000_000)
    assert told(a, TrackerNotice) == [
        TrackerNotice(kind="script", name="chk", up=True, detail="exited with 0", instances=("web",)),
        TrackerNotice(kind="script", name="chk", up=False, detail="exited with 2", instances=("web",)),
        TrackerNotice(kind="script", name="chk", up=True, detail="exited with 0", instances=("web",)),
    ]
    assert told(a, PriorityNotice) == [
        PriorityNotice("web", "BACKUP", 70, 100, "base 100; script chk is down: -30", notify),
        PriorityNotice("web", "MASTER", 100, 70, "base 100", notify),
    ]


def test_an_interface_is_told_of_where_an_instance_depends_on_it() -> None:
    lan = pair(VrrpPlan(instances=(instance("web"), instance("db", 52))), VrrpPlan())
    a = lan.hosts["a"]
    lan.handle(a, InterfaceSeen(msgspec.structs.replace(a.interface, name="eth7")))
    lan.handle(a, InterfaceSeen(msgspec.structs.replace(a.interface, up=False)))
    lan.handle(a, InterfaceSeen(msgspec.structs.replace(a.interface, up=False, index=0)))
    lan.handle(a, InterfaceSeen(a.interface))
    both = ("web", "db")
    assert told(a, TrackerNotice) == [
        TrackerNotice(kind="interface", name="eth0", up=False, detail="down", instances=both),
        TrackerNotice(kind="interface", name="eth0", up=True, detail="up", instances=both),
    ]


def test_where_too_many_are_concerned_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "NAMED", 1)
    lan = pair(VrrpPlan(instances=(instance("web"), instance("db", 52))), VrrpPlan())
    a = lan.hosts["a"]
    lan.handle(a, InterfaceSeen(msgspec.structs.replace(a.interface, up=False)))
    assert told(a, TrackerNotice) == [TrackerNotice(kind="interface", name="eth0", up=False, detail="down")]
