"""Two CARP hosts in virtual time: elections, weights, hand-overs, reloads, and that a recording decides the same again.

a is 192.0.2.11 with advskew 0 (1 s), b 192.0.2.12 with advskew 100 (1.390625 s, patient for 3.390625 s).
"""

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.carp.config import advertised, interval_ns, priority_of, rank_ns
from holdfast.config.plan import VrrpPlan
from holdfast.engine import holds
from holdfast.engine.engine import Engine
from holdfast.engine.messages import AdvertArrived, Interface, InterfaceSeen, StateNotice, Tell
from holdfast.engine.record import RecordedEngine
from holdfast.engine.reload import reload
from holdfast.engine.replay import Header, file_octets, read, replay, restored
from holdfast.vrrp.config import InstanceConfig, TrackedUse
from tests.carp.scenes import instance
from tests.engine import lan
from tests.engine.lan import Host, Lan

HEADER = Header(format=1, version="0.1.0", node="a", pid=1, reason="a test", time="", wall_ns=0, monotonic_ns=0)
WEIGHED = (TrackedUse(kind="interface", name="eth1", weight=-150),)


class Wire(Lan):
    """What an advert says of rank and interval follows the priority it is sent with, as in its octets."""

    def deliver(self, sender: Host, number: int, priority: int) -> None:
        slot = sender.engine.slots[number]
        sender.sent.append((self.now, slot.config.name, priority))
        assert slot.config.carp is not None
        advbase, advskew = advertised(slot.config.carp, priority)
        for other in self.hosts.values():
            if other is not sender and not sender.cut and not other.cut and other.up:
                said = AdvertArrived(1, priority_of(advbase, advskew), sender.source, rank_ns(advbase, advskew))
                self.handle(other, said)


def two(**more: Any) -> Wire:
    a, b = (instance(advskew=skew, **{"preempt": True, "trackers": WEIGHED, **more}) for skew in (0, 100))
    wire = Wire(a=("192.0.2.11", VrrpPlan(instances=(a,))), b=("192.0.2.12", VrrpPlan(instances=(b,))))
    for host in wire.hosts.values():
        wire.handle(host, link(True))
    return wire


def link(up: bool) -> InterfaceSeen:
    return InterfaceSeen(Interface(name="eth1", index=3, up=up, addresses=(parse("198.51.100.1"),)))


def command(wire: Wire, name: str, direction: str, force: bool = False) -> holds.Answer:
    engine = wire.hosts[name].engine
    told: dict[str, Any] = {"by": "ann", "for_ns": None, "force": force, "dry_run": False, "now": wire.now}
    if isinstance(engine, RecordedEngine):
        answer, effects = engine.command("gate", direction, **told)
    else:
        answer = holds.command(engine, "gate", direction, **told)
        effects = engine.take()
    wire.carry_out(wire.hosts[name], effects)
    return answer


def when(wire: Wire, name: str, state: str, since: int) -> int:
    """How many ns after `since` the host entered that state; the first time."""
    return next(at for at, _, entered in wire.hosts[name].history if entered == state and at >= since) - since


def sent(wire: Wire, name: str, since: int) -> list[int]:
    return [at - since for at, _, _ in wire.hosts[name].sent if at > since]


def test_election_farewell_silence_and_heal() -> None:
    wire = two(trackers=())
    begun = wire.now
    wire.run(10 * SECOND)
    assert wire.masters() == {"gate": ["a"]}
    assert when(wire, "a", "MASTER", begun) == 3 * SECOND
    assert sent(wire, "a", begun)[:3] == [3 * SECOND, 4 * SECOND, 5 * SECOND]
    at = wire.now
    wire.stop("a")
    assert when(wire, "b", "MASTER", at) == 0
    wire = two()
    wire.run(10 * SECOND + 1)
    wire.kill("a")
    last = wire.hosts["a"].sent[-1][0]
    wire.run(5 * SECOND)
    assert when(wire, "b", "MASTER", last) == 3_390_625_000
    wire = two()
    wire.run(10 * SECOND)
    wire.hosts["a"].cut = True
    wire.run(10 * SECOND)
    assert wire.masters() == {"gate": ["a", "b"]}
    wire.hosts["a"].cut = False
    wire.run(1 * SECOND)
    assert wire.masters() == {"gate": ["a"]}


def test_a_failing_tracker_raises_the_skew_and_with_it_the_interval() -> None:
    wire = two(preempt=False)
    wire.run(10 * SECOND)
    a = wire.hosts["a"]
    wire.handle(a, link(False))
    slot = a.engine.slots[1]
    assert (slot.standing.priority, slot.adver_interval_ns) == (104, 1_585_937_500)
    wire.run(60 * SECOND)
    assert wire.masters() == {"gate": ["a"]}  # nobody preempts
    times = sent(wire, "a", wire.now - 10 * SECOND)
    assert {later - earlier for earlier, later in pairwise(times)} == {1_585_937_500}
    wire = two()
    wire.run(10 * SECOND)
    wire.handle(wire.hosts["a"], link(False))
    wire.run(2 * SECOND)
    assert wire.masters() == {"gate": ["b"]}
    wire.handle(wire.hosts["a"], link(True))
    wire.run(2 * SECOND)
    assert wire.masters() == {"gate": ["a"]}


def test_here_away_force_and_release() -> None:
    wire = two(preempt=False)
    wire.run(10 * SECOND)
    assert command(wire, "b", "here").done
    assert wire.masters() == {"gate": ["b"]}
    slot = wire.hosts["b"].engine.slots[1]
    assert slot.config.carp is not None
    assert interval_ns(slot.config.carp, slot.standing.priority) == 996_093_750
    refused = command(wire, "a", "here")  # nothing is faster than that
    assert not refused.done
    assert command(wire, "b", "release").done
    wire.run(10 * SECOND)
    assert wire.masters() == {"gate": ["b"]}
    assert command(wire, "b", "away").done
    wire.run(10 * SECOND)
    assert wire.masters() == {"gate": ["b"]}  # no peer preempts: given up
    assert command(wire, "b", "away", force=True).done
    wire.run(1 * SECOND)
    assert wire.masters() == {"gate": ["a"]}
    wire = two()
    wire.run(10 * SECOND)
    assert command(wire, "a", "away").done
    assert wire.masters() == {"gate": ["b"]}


def test_a_reload_keeps_the_master_and_takes_the_new_rank() -> None:
    wire = two()
    wire.run(10 * SECOND)
    a = wire.hosts["a"]
    became = len(a.history)
    new = VrrpPlan(instances=(instance(advskew=64, preempt=True),))
    wire.carry_out(a, reload(a.engine, new, [a.interface], wire.now))
    at = wire.now
    wire.run(10 * SECOND)
    assert (wire.masters(), len(a.history)) == ({"gate": ["a"]}, became)
    times = sent(wire, "a", at + SECOND // 2)
    assert {later - earlier for earlier, later in pairwise(times)} == {1250 * MILLISECOND}


@pytest.mark.parametrize("neutral", [True, False])
def test_neutral_runs_no_script_at_the_start(neutral: bool) -> None:
    wire = two(neutral=neutral)
    wire.run(10 * SECOND)
    told = [e.notice for e in wire.hosts["a"].effects if isinstance(e, Tell) and isinstance(e.notice, StateNotice)]
    assert [(one.state, one.quiet) for one in told] == [("BACKUP", neutral), ("MASTER", False)]


def test_a_recording_decides_the_same_again_and_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan, "Engine", RecordedEngine)
    wire = two()
    wire.run(10 * SECOND)
    wire.handle(wire.hosts["a"], link(False))
    wire.run(5 * SECOND)
    command(wire, "a", "here")
    wire.run(5 * SECOND)
    wire.hosts["b"].cut = True
    wire.run(10 * SECOND)
    wire.stop("a")
    for host in wire.hosts.values():
        assert isinstance(host.engine, RecordedEngine)
        octets = file_octets(HEADER, b"".join(host.engine.frames()))
        assert b"swordfish" not in octets
        recording = read(octets)
        assert recording.entries
        outcome = replay(recording, restored(recording, Engine))
        assert outcome.difference is None, outcome.difference


def test_a_key_tells_carp_from_vrrp() -> None:
    carp = instance()
    vrrp: InstanceConfig = msgspec.structs.replace(carp, carp=None)
    assert carp.key != vrrp.key
