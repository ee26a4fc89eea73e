"""Each transition is told with its event, the state and timers before, and the rule."""

from typing import Any

import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine.explain import RULES, ExplainedEngine, Transition, transitions
from holdfast.engine.messages import (
    AdvertArrived,
    Asleep,
    Interface,
    InterfaceSeen,
    ScriptFinished,
    StopAsked,
    TimersDue,
)
from holdfast.engine.record import Begun
from holdfast.vrrp.machine import ROWS
from tests.engine.test_storm import SCRIPT, STRICT_USE, instance

PEER = parse("192.0.2.9")
ETH0 = Interface(name="eth0", index=2, up=True, addresses=(parse("192.0.2.1"),))
STAYS = {"_nothing", "_new_cause", "_master_ready", "_backup_advert", "_backup_slept"}
"""Rows that never lead to another state."""


def told(*events: tuple[float, Any], **more: Any) -> list[Transition]:
    """The transitions of V1 (priority 100, 1 s) that is begun at 0 s and then told `events`, each at its second."""
    scripts = (SCRIPT,) if more else ()
    engine = ExplainedEngine(VrrpPlan(instances=(instance("V1", 1, 100, **more),), scripts=scripts), 0)
    clock = "{:.3f}".format
    begun = engine.begin([ETH0], 0)
    found = transitions(engine, Begun(0, (ETH0,), None), 0, begun, lambda at: clock(at / SECOND))
    for second, event in events:
        now = round(second * SECOND)
        if isinstance(event, TimersDue):
            engine.take_due(now)
        effects = engine.handle(event, now)
        found += transitions(engine, event, now, effects, lambda at: clock(at / SECOND))
    return found


def test_every_row_that_changes_a_state_has_words() -> None:
    assert {row.__name__ for row in ROWS.values()} - STAYS == set(RULES)


def test_a_backup_whose_master_falls_silent() -> None:
    first, then = told((0.5, AdvertArrived(1, 150, PEER, SECOND)), (4.11, TimersDue()))
    assert (first.was, first.became, first.event, first.before) == ("INIT", "BACKUP", "the daemon started", "not begun")
    assert (then.time, then.instance, then.was, then.became) == ("4.110", "V1", "BACKUP", "MASTER")
    assert then.cause == "192.0.2.9 fell silent or resigned"
    assert then.event == "a timer ran out"
    # 0.5 s + 3 × 1 s + 156/256 s
    expected = "backup; heard 192.0.2.9 with priority 150; Master_Down_Timer at 4.109 (625 µs ago)"
    assert then.before == expected
    assert then.standing == "priority 100, 192.0.2.1"
    assert (then.rule, then.row) == (RULES["_backup_timer"], "Backup × TimerDue")
    assert then.then == ("advert with priority 100", "addresses on")


@pytest.mark.parametrize(
    ("event", "became", "words", "rule"),
    [
        (AdvertArrived(1, 200, PEER, SECOND), "BACKUP",
         "an advert for V1 from 192.0.2.9, priority 200, interval 1 s", "_master_advert"),
        (InterfaceSeen(Interface(name="eth0", index=2)), "FAULT",
         "interface eth0 is down, with no address", "_master_to_fault"),
        (InterfaceSeen(Interface(name="eth0")), "FAULT", "interface eth0 is gone", "_master_to_fault"),
        (Asleep(9 * SECOND), "BACKUP", "the machine had been suspended for 9 s", "_master_slept"),
        (StopAsked("SIGTERM"), "STOP", "asked to leave: SIGTERM", "_master_leaves"),
    ],
)  # fmt: skip
def test_what_takes_a_master_away(event: Any, became: str, words: str, rule: str) -> None:
    last = told((3.7, TimersDue()), (4.0, event))[-1]
    assert (last.was, last.became, last.event, last.rule) == ("MASTER", became, words, RULES[rule])
    assert last.before == "master; next advert at 4.700 (700 ms to go)"
    assert "addresses off" in last.then


def test_a_master_that_stood_still_did_not_yield_to_the_advert() -> None:
    last = told((3.7, TimersDue()), (60.0, AdvertArrived(1, 50, PEER, SECOND)))[-1]
    assert (last.became, last.rule) == ("BACKUP", RULES["_master_timer"])
    assert last.before == "master; next advert at 4.700 (55.3 s ago)"


def test_a_script_s_result_is_the_event() -> None:
    failed = ScriptFinished("chk", 1, 1, output="no answer", spent_ns=20 * MILLISECOND)
    (only,) = told((0.1, TimersDue()), (0.2, failed), trackers=(STRICT_USE,))
    assert (only.was, only.became, only.event) == ("INIT", "FAULT", "script chk exited with 1: no answer")
    assert only.cause == "script chk is down"
