"""Why: the engines of two hosts in a situation, and the reasons given for it, numbers and words written out."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from holdfast.base.command import Command
from holdfast.base.time import SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine import holds
from holdfast.engine.messages import Interface, InterfaceSeen, ScriptFinished
from holdfast.engine.node import NodeView
from holdfast.engine.view import node_view
from holdfast.engine.why import Explanation, Reason, explain, history, signed
from holdfast.track.config import ScriptConfig
from holdfast.vrrp.config import GroupConfig, TrackedUse
from tests.engine.lan import Lan
from tests.engine.test_engine import instance, pair

T = "2026-11-23T00:00:00.000+00:00"


def plan(priority: int, weights: dict[str, int] | None = None, reverse: bool = False, **more: Any) -> VrrpPlan:
    """One instance, tracking the scripts named with these weights."""
    uses = tuple(TrackedUse(kind="script", name=n, weight=w, reverse=reverse) for n, w in (weights or {}).items())
    scripts = tuple(
        ScriptConfig(name=name, command=Command(argv=("/bin/true",)), interval_ns=3600 * SECOND) for name in weights or {}
    )
    return VrrpPlan(instances=(instance("web", priority=priority, trackers=uses, **more),), scripts=scripts)


def result(lan: Lan, host: str, script: str, status: int) -> None:
    """A run of a script ends."""
    lan.run(0)
    at = lan.hosts[host]
    timed = at.engine.scripts[script]
    timed.state = msgspec.structs.replace(timed.state, running=True)
    lan.handle(at, ScriptFinished(script, timed.state.run, status))


def node(lan: Lan, host: str) -> NodeView:
    for view in node_view(lan.hosts[host].engine, {}, lambda at: T, lan.now):
        if view is not None:
            return view
    raise AssertionError


def why(lan: Lan, host: str, name: str = "web") -> Explanation:
    found = explain(node(lan, host), name)
    assert found is not None
    return found


def slugs(reasons: tuple[Reason, ...]) -> list[str]:
    return [reason.slug for reason in reasons]


def texts(reasons: tuple[Reason, ...]) -> list[str]:
    """All texts of a tree, what is behind a reason after it."""
    return [text for reason in reasons for text in (reason.text, *texts(reason.because))]


def switch(lan: Lan, host: str, direction: str) -> None:
    engine = lan.hosts[host].engine
    holds.command(engine, "web", direction, by="ann", for_ns=None, force=False, dry_run=False, now=lan.now)
    lan.carry_out(lan.hosts[host], engine.take())


# ---- why it does not take over: host b beside the master a ----------------------------------------------------------


def lower() -> Lan:
    return pair(plan(150), plan(100))


def failed_check() -> Lan:
    lan = pair(plan(100), plan(102, {"nginx": -20}))
    result(lan, "b", "nginx", 1)
    return lan


def equal() -> Lan:
    return pair(plan(100), plan(100, start_delay_ns=20 * SECOND))


def nopreempt() -> Lan:
    return pair(plan(100), plan(150, preempt=False, start_delay_ns=20 * SECOND))


def preempt_delay() -> Lan:
    return pair(plan(100), plan(150, preempt_delay_ns=60 * SECOND, start_delay_ns=20 * SECOND))


def owner() -> Lan:
    return pair(plan(255, starts_as_owner=True), plan(200))


def held() -> Lan:
    lan = pair(plan(100), plan(150))
    lan.run(10 * SECOND)
    switch(lan, "b", "away")
    return lan


def by_script() -> Lan:
    lan = pair(plan(150), plan(100, {"nginx": 0}))
    result(lan, "b", "nginx", 3)
    return lan


def by_interface() -> Lan:
    lan = pair(plan(150), plan(100))
    lan.handle(lan.hosts["b"], InterfaceSeen(Interface(name="eth0", index=2, up=False)))
    return lan


def group(down: bool = False, a_of_db: int = 150) -> Lan:
    """web (51) and db (52) in a group on b; a has web with 100, and db with `a_of_db`."""
    members = (instance("web", 51, 120), instance("db", 52, 120, interface="eth1" if down else "eth0"))
    groups = (GroupConfig(name="G", members=("web", "db")),)
    a = VrrpPlan(instances=(instance("web", 51, 100), instance("db", 52, a_of_db)))
    lan = pair(a, VrrpPlan(instances=members, groups=groups))
    if not down:
        lan.run(10 * SECOND)
    return lan


def waiting() -> Lan:
    return pair(plan(150), plan(100, {"nginx": 0}))


def starting() -> Lan:
    return pair(plan(150), plan(100, start_delay_ns=90 * SECOND))


AGAINST: list[tuple[Callable[[], Lan], str, list[str], list[str]]] = [
    (lower, "BACKUP", ["lower-priority"],
     ["priority 100 < 150: 192.0.2.11 outranks this node", "priority 100, as configured"]),
    (failed_check, "BACKUP", ["lower-priority"],
     ["priority 82 < 100: 192.0.2.11 outranks this node", "priority 82 = 102 − 20",
      "script nginx is down (exited with 1): −20 (weight -20)"]),
    (equal, "BACKUP", ["equal-priority"],
     ["priority 100 = 100: a backup does not replace an equal master",
      "were both master at once, this node would stay, for 192.0.2.12 is the higher address",
      "priority 100, as configured"]),
    (nopreempt, "BACKUP", ["nopreempt"],
     ["priority 150 > 100, but nopreempt: it does not take over from a living master", "priority 150, as configured"]),
    (preempt_delay, "BACKUP", ["preempt-delay"],
     ["priority 150 > 100, but preempt_delay 1 min has 50.6 s left", "priority 150, as configured"]),
    (owner, "BACKUP", ["owner"], ["192.0.2.11 owns the addresses (priority 255): nobody outranks it"]),
    (held, "BACKUP", ["held", "lower-priority"],
     ["held back by switch --away by ann: it advertises the lowest priority until `holdfast release web`",
      "priority 1 < 100: 192.0.2.11 outranks this node",
      "priority 1 instead of 150: held by switch --away by ann, until released"]),
    (by_script, "FAULT", ["fault"], ["in FAULT it neither advertises nor takes over: script nginx is down"]),
    (by_interface, "FAULT", ["fault"], ["in FAULT it neither advertises nor takes over: interface eth0 is down"]),
    (lambda: group(down=True), "FAULT", ["fault"],
     ["in FAULT it neither advertises nor takes over: "
      "sync group G: db is in FAULT (interface eth1 does not exist)"]),
    (group, "BACKUP", ["outranks", "group"],
     ["priority 120 > 100: it outranks 192.0.2.11", "priority 120, as configured",
      "sync group G moves as one, and db follows 192.0.2.11 with priority 150"]),
    (waiting, "INIT", ["undecided"], ["it waits for the first result of nginx"]),
    (starting, "INIT", ["start-delay"], ["its start delay has 1 min left"]),
]  # fmt: skip


@pytest.mark.parametrize(("made", "state", "reasons", "said"), AGAINST, ids=[row[0].__name__ for row in AGAINST])
def test_why_it_does_not_take_over(made: Callable[[], Lan], state: str, reasons: list[str], said: list[str]) -> None:
    lan = made()
    lan.run(30 * SECOND)
    found = why(lan, "b")
    assert (found.state, slugs(found.against), texts(found.against)) == (state, reasons, said)
    assert found.summary == said[0]


def test_nobody_heard_yet() -> None:
    lan = pair(plan(150), plan(100))
    lan.hosts["b"].cut = True
    lan.run(SECOND)
    found = why(lan, "b")
    assert texts(found.against) == ["no master is heard: it takes over in 2.6 s unless one is"]  # 3 × 1 s + 156/256 s


def test_a_master_that_is_silent_is_said_to_be() -> None:
    lan = lower()
    lan.run(10 * SECOND)
    lan.hosts["a"].cut = True
    lan.run(3 * SECOND)
    last = lan.hosts["a"].sent
    assert lan.now - [at for at, _, _ in last if at <= lan.now - 2 * SECOND][-1] < 4 * SECOND
    said = texts(why(lan, "b").reasons)
    assert any(text.startswith("192.0.2.11 is master with priority 150, silent for ") for text in said)


# ---- why it is, and what would change it ----------------------------------------------------------------------------


def test_a_master_and_what_would_move_its_addresses() -> None:
    lan = pair(plan(110, {"nginx": -20, "little": -5}), plan(100))
    result(lan, "a", "nginx", 0)
    result(lan, "a", "little", 0)
    lan.run(30 * SECOND)
    unknown = why(lan, "a")
    assert unknown.against == ()
    assert "no other router was heard: backups are silent, their priorities are unknown" in texts(unknown.reasons)
    assert texts(unknown.changes)[:2] == [
        "if script nginx fails here (−20), priority 90: a backup above 90 takes over; their priorities are unknown",
        "if script little fails here (−5), priority 105: a backup above 105 takes over; their priorities are unknown",
    ]
    assert unknown.warnings == ()
    result(lan, "a", "nginx", 1)  # b takes over, and is heard
    lan.run(10 * SECOND)
    assert texts(why(lan, "a").changes)[1] == (
        "if script nginx succeeds here (+20), priority 110 > 100: this node takes over"
    )
    result(lan, "a", "nginx", 0)
    lan.run(30 * SECOND)
    known = why(lan, "a")
    assert known.state == "MASTER"
    assert texts(known.changes)[:2] == [
        "if script nginx fails here (−20), priority 90 < 100: 192.0.2.12 takes over, unless it is nopreempt or gone",
        "if script little fails here (−5), priority 105 > 100: nothing moves, for 192.0.2.12 stays backup",
    ]
    assert texts(known.warnings) == [
        "script little can never move the addresses to 192.0.2.12, if that has the priority it was heard with: "
        "110 − 5 = 105 against 100, and that is still more than 100; only together with others"
    ]
    assert "if interface eth0 goes down: FAULT; the addresses are released at once, and a backup takes over" in texts(
        known.changes
    )


def test_the_operators_check_that_can_never_move_the_address() -> None:
    lan = pair(plan(102, {"things": 2}), plan(101))
    result(lan, "a", "things", 1)
    lan.run(10 * SECOND)
    assert [lan.hosts[name].history[-1][2] for name in "ab"] == ["MASTER", "BACKUP"]
    lan = pair(plan(100, {"things": 2}, start_delay_ns=10 * SECOND), plan(100))
    result(lan, "a", "things", 0)
    lan.run(30 * SECOND)
    found = why(lan, "a")
    assert found.state == "MASTER"
    assert [text for text in texts(found.reasons) if text.startswith("priority")] == ["priority 102 = 100 + 2"]
    assert texts(found.warnings) == [
        "script things can never move the addresses to 192.0.2.12, if that has the priority it was heard with: "
        "102 − 2 = 100 against 100, and a backup does not replace an equal master"
    ]
    assert "if script things fails here (−2), priority 100 = 100: nothing moves, for a backup does not replace an equal " \
        "master" in texts(found.changes)  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "reverse", "status", "sums"),
    [
        ({"x": 20}, False, 0, "priority 120 = 100 + 20"),
        ({"x": 20}, False, 1, "priority 100, as configured"),
        ({"x": -20}, False, 1, "priority 80 = 100 − 20"),
        ({"x": 20}, True, 0, "priority 80 = 100 − 20"),
        ({"x": -20}, True, 1, "priority 120 = 100 + 20"),
        ({"x": -130}, False, 1, "priority 1 = 100 − 130 = -30, held to 1 to 254"),
        ({"x": 200}, False, 0, "priority 254 = 100 + 200 = 300, held to 1 to 254"),
    ],
)
def test_arithmetic(weights: dict[str, int], reverse: bool, status: int, sums: str) -> None:
    lan = pair(plan(100, weights, reverse), plan(50))
    result(lan, "a", "x", status)
    lan.run(SECOND)
    assert sums in texts(why(lan, "a").reasons)


def test_an_owner_s_checks_are_said_to_do_nothing() -> None:
    lan = pair(plan(255, {"x": -20}, starts_as_owner=True), plan(50))
    result(lan, "a", "x", 0)
    lan.run(10 * SECOND)
    found = why(lan, "a")
    assert slugs(found.warnings) == ["weight-ignored"]
    assert "priority 255: it owns the addresses, trackers don't sway it" in texts(found.reasons)
    assert not any("fails here" in text for text in texts(found.changes))


def test_a_hold_is_named_with_what_its_end_would_do() -> None:
    lan = lower()
    lan.run(10 * SECOND)
    switch(lan, "b", "here")
    lan.run(10 * SECOND)
    found = why(lan, "b")
    assert found.state == "MASTER"
    assert "priority 151 instead of 100: held by switch --here by ann, until released" in texts(found.reasons)
    assert "`holdfast release web` ends the hold: priority 100 again, against 150 of 192.0.2.11 when it was heard last" \
        in texts(found.changes)  # fmt: skip


def test_faults_come_with_what_is_behind_them_and_the_cure() -> None:
    lan = by_script()
    lan.run(SECOND)
    found = why(lan, "b")
    assert [(reason.slug, reason.text, texts(reason.because)) for reason in found.reasons] == [
        ("script-fault", "script nginx is down", ["exited with 3"])
    ]
    assert slugs(found.changes) == ["recovers", "cure"]
    lan = group(down=True)
    lan.run(SECOND)
    member = why(lan, "b").reasons[0]
    assert (member.slug, texts(member.because)) == ("group-fault", ["db: interface eth1 does not exist"])


def test_what_a_backup_gains_when_several_checks_recover() -> None:
    lan = pair(plan(100), plan(110, {"x": -8, "y": -5}))
    for name in "xy":
        result(lan, "b", name, 1)
    lan.run(30 * SECOND)
    assert texts(why(lan, "b").changes)[1:4] == [
        "if script x succeeds here (+8), priority 105 > 100: this node takes over",
        "if script y succeeds here (+5), priority 102 > 100: this node takes over",
        "if script x succeeds and script y succeeds here (+13), priority 110 > 100: this node takes over",
    ]


def test_no_instance_of_that_name_and_open_incidents() -> None:
    lan = lower()
    lan.run(10 * SECOND)
    assert explain(node(lan, "a"), "wbe") is None
    found = explain(node(lan, "a"), "web", (), [{"instance": "web", "text": "two", "cure": "one"}, {"instance": "x"}])
    assert found is not None
    assert texts(found.warnings) == ["split brain: two; one"]


def test_what_led_here_goes_back_to_the_transition_before() -> None:
    lan = failed_check()
    lan.run(30 * SECOND)
    view = node(lan, "b").instances[0]

    def row(number: int, kind: str, name: str, of: str = "") -> dict[str, Any]:
        return {"time": str(number), "kind": kind, "name": name, "what": "", "cause": "", "of": of}

    rows = [
        row(0, "state", "web", "instance"), row(1, "state", "web", "instance"), row(2, "tracker", "other", "script"),
        row(3, "tracker", "nginx", "script"), row(4, "priority", "web"), row(5, "state", "db", "instance"),
        row(6, "tracker", "eth0", "interface"), row(7, "reload", ""), row(8, "state", "web", "instance"),
        row(9, "command", "web"),
    ]  # fmt: skip
    assert [one["time"] for one in history(view, rows)] == ["1", "3", "4", "6", "7", "8", "9"]


@pytest.mark.parametrize(("number", "text"), [(5, "+5"), (-5, "−5"), (0, "±0")])
def test_signed(number: int, text: str) -> None:
    assert signed(number) == text
