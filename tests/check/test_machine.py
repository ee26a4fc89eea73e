"""The schedule and the verdict of a check, by tables with the numbers written out."""

import msgspec
import pytest

from holdfast.check.config import Pace, Schedule
from holdfast.check.conversation import Outcome
from holdfast.check.machine import (
    CheckState,
    finished,
    overdue,
    reconfigured,
    spread,
    start,
    suspend,
    timer_due,
    told,
)  # fmt: skip
from holdfast.check.messages import AbandonRun, CheckEffect, FailureSeen, StartRun, VerdictChanged, WeightChanged

S = 1_000_000_000
PACE = Pace(delay_loop_ns=10 * S, retry=2, delay_before_retry_ns=3 * S, warmup_ns=4 * S)
ONE = Schedule(pace=PACE, deadline_ns=5 * S)
OK, BAD = Outcome(True, "fine"), Outcome(False, "broken")
ALPHA = msgspec.structs.replace(ONE, pace=msgspec.structs.replace(PACE, alpha=True))
TALKATIVE = msgspec.structs.replace(ONE, pace=msgspec.structs.replace(PACE, log_all_failures=True))


def play(schedule: Schedule, results: str, took_ns: int = 0, share: float = 0.0) -> list[tuple[int, int, str]]:
    """When each run began (s), its stage, and what its result (`+`, `-`, `?` not made) led to: U, D, u, d, f, w."""
    state = start(schedule, 0, share)
    rows: list[tuple[int, int, str]] = []
    pending: StartRun | None = None
    now = 0
    for result in results:
        if pending is None:
            now = state.next_at
            state, effects = timer_due(schedule, state, now)
            [began] = effects
            assert isinstance(began, StartRun)
            pending = began
        run, stage, begun = pending.run, pending.stage, now
        pending = None
        now += took_ns
        outcome = {"+": OK, "-": BAD, "?": Outcome(False, "no descriptor", made=False)}[result]
        state, told = finished(schedule, state, run, outcome, now)
        letters = ""
        for effect in told:
            if isinstance(effect, StartRun):
                pending = effect
            letters += letter(effect)
        rows.append((begun // S, stage, letters))
    return rows


def letter(effect: CheckEffect) -> str:
    match effect:
        case VerdictChanged(up=up, first=first):
            return ("u" if up else "d") if first else ("U" if up else "D")
        case FailureSeen():
            return "f"
        case WeightChanged():
            return "w"
    return ""


@pytest.mark.parametrize(
    ("schedule", "results", "rows"),
    [
        # one success after another, every delay_loop
        (ONE, "+++", [(0, 0, "u"), (10, 0, ""), (20, 0, "")]),
        # the very first failure is enough; down, it is tried every delay_loop; one success restores
        (ONE, "--+", [(0, 0, "d"), (10, 0, ""), (20, 0, "U")]),
        # up: two failures are forgiven 3 s apart, the third isn't
        (ONE, "+---+", [(0, 0, "u"), (10, 0, ""), (13, 0, ""), (16, 0, "D"), (26, 0, "U")]),
        # a success in between starts the count anew
        (ONE, "+--+---", [(0, 0, "u"), (10, 0, ""), (13, 0, ""), (16, 0, ""), (26, 0, ""), (29, 0, ""), (32, 0, "D")]),
        # alpha: down until a success; the first failure is a verdict too, though nothing changes
        (ALPHA, "-+", [(0, 0, "d"), (10, 0, "U")]),
        (ALPHA, "+", [(0, 0, "u")]),
        # log_all_failures tells of those that change nothing
        (TALKATIVE, "+---- ".strip(), [(0, 0, "u"), (10, 0, "f"), (13, 0, "f"), (16, 0, "D"), (26, 0, "f")]),
        # what could not be made decides nothing and is tried again soon
        (ONE, "?+?-", [(0, 0, ""), (3, 0, "u"), (13, 0, ""), (16, 0, "")]),
    ],
)  # fmt: skip
def test_verdicts(schedule: Schedule, results: str, rows: list[tuple[int, int, str]]) -> None:
    assert play(schedule, results) == rows


URLS = msgspec.structs.replace(ONE, stages=3)
ALPHA_URLS = msgspec.structs.replace(ALPHA, stages=3)
FAST = msgspec.structs.replace(URLS, fast_recovery=True)


@pytest.mark.parametrize(
    ("schedule", "results", "rows"),
    [
        # up: all three at once; with alpha it begins down: a url a delay_loop
        (URLS, "++++++", [(0, 0, ""), (0, 1, ""), (0, 2, "u"), (10, 0, ""), (10, 1, ""), (10, 2, "")]),
        (ALPHA_URLS, "++++", [(0, 0, ""), (10, 1, ""), (20, 2, "u"), (30, 0, "")]),
        (FAST, "++++", [(0, 0, ""), (0, 1, ""), (0, 2, "u"), (10, 0, "")]),
        # the one that failed is tried until it passes, then all others, each after delay_loop
        (URLS, "-++++", [(0, 0, "d"), (10, 0, ""), (20, 1, ""), (30, 2, "U"), (40, 0, "")]),
        (FAST, "++++---+++", [(0, 0, ""), (0, 1, ""), (0, 2, "u"), (10, 0, ""), (10, 1, ""), (13, 1, ""), (16, 1, "D"),
                              (26, 1, ""), (26, 2, ""), (26, 0, "U")]),
        (URLS, "+++++---+-", [(0, 0, ""), (0, 1, ""), (0, 2, "u"), (10, 0, ""), (10, 1, ""), (10, 2, ""), (13, 2, ""),
                              (16, 2, "D"), (26, 2, ""), (36, 0, "")]),
        # a failure that is forgiven begins the round anew: the one that failed, then all others
        (URLS, "++++-++++", [(0, 0, ""), (0, 1, ""), (0, 2, "u"), (10, 0, ""), (10, 1, ""), (13, 1, ""), (13, 2, ""),
                             (13, 0, ""), (23, 0, "")]),
        (URLS, "+-+++", [(0, 0, ""), (0, 1, "d"), (10, 1, ""), (20, 2, ""), (30, 0, "U")]),
    ],
)  # fmt: skip
def test_several_urls(schedule: Schedule, results: str, rows: list[tuple[int, int, str]]) -> None:
    assert play(schedule, results) == rows


def test_the_phase_is_kept_however_long_a_run_takes() -> None:
    assert [at for at, _, _ in play(ONE, "+++", took_ns=4 * S, share=0.5)] == [2, 12, 22]
    assert [at for at, _, _ in play(ONE, "+++", took_ns=14 * S)] == [0, 20, 40]


def test_a_retry_waits_from_the_end_of_the_failure() -> None:
    assert [at for at, _, _ in play(ONE, "+--", took_ns=5 * S)] == [0, 10, 18]


@pytest.mark.parametrize(("share", "first"), [(0.0, 7 * S), (0.25, 8 * S), (0.5, 9 * S)])
def test_the_first_run_waits_a_share_of_warmup(share: float, first: int) -> None:
    state = start(ONE, 7 * S, share)
    assert state.next_at == first
    assert timer_due(ONE, state, first - 1) == (state, ())
    assert timer_due(ONE, state, first)[1] == (StartRun(1, 0),)


def test_no_warmup_is_at_once() -> None:
    at_once = msgspec.structs.replace(ONE, pace=msgspec.structs.replace(PACE, warmup_ns=0))
    assert start(at_once, 7 * S, 0.9).next_at == 7 * S


@pytest.mark.parametrize("count", [10, 1000, 10000])
def test_any_number_of_checks_is_spread_evenly(count: int) -> None:
    tenths = [0] * 10
    for index in range(count):
        tenths[int(spread(index) * 10)] += 1
    assert max(tenths) - min(tenths) <= 2


def test_begins_up_or_with_alpha_down() -> None:
    assert start(ONE, 0, 0).up is True
    assert start(ALPHA, 0, 0).up is False


def test_a_run_that_does_not_end_is_not_doubled_and_becomes_a_fault() -> None:
    state, _ = timer_due(ONE, start(ONE, 0, 0), 0)
    for at in (10, 20, 30):
        state, effects = timer_due(ONE, state, at * S)
        assert effects == ()
        assert overdue(ONE, state, at * S) == ""
    assert overdue(ONE, state, 30 * S + 1) == "no result for 30 s, 3 of its periods: its run does not end"


def test_a_check_never_made_is_a_fault_after_three_periods() -> None:
    state = start(ONE, 0, 0.5)
    assert overdue(ONE, state, 32 * S) == ""
    assert "it was never begun" in overdue(ONE, state, 33 * S)
    state, _ = timer_due(ONE, state, 33 * S)
    state, _ = finished(ONE, state, 1, Outcome(False, "too many open files", made=False), 33 * S)
    assert overdue(ONE, state, 34 * S).endswith("too many open files")
    assert state.up is True
    state, _ = timer_due(ONE, state, 36 * S)
    state, _ = finished(ONE, state, 2, OK, 36 * S)
    assert overdue(ONE, state, 66 * S) == ""


def test_a_period_shorter_than_a_run_is_no_fault() -> None:
    hasty = Schedule(pace=Pace(delay_loop_ns=S, delay_before_retry_ns=S), deadline_ns=5 * S)
    state = start(hasty, 0, 0)
    assert overdue(hasty, state, 18 * S) == ""
    assert overdue(hasty, state, 19 * S) != ""


def test_the_answer_to_another_run_is_left_aside() -> None:
    state, _ = timer_due(ONE, start(ONE, 0, 0), 0)
    assert finished(ONE, state, 7, BAD, S) == (state, ())
    after, _ = finished(ONE, state, 1, OK, S)
    assert finished(ONE, after, 1, BAD, S) == (after, ())


def test_suspended_checks_keep_their_verdict() -> None:
    state, _ = timer_due(ONE, start(ONE, 0, 0), 0)
    resting, effects = suspend(ONE, state, True, S)
    assert effects == (AbandonRun(1),)
    assert finished(ONE, resting, 1, BAD, 2 * S) == (resting, ())
    resting, effects = timer_due(ONE, resting, 90 * S)
    assert (effects, resting.next_at, resting.up) == ((), 100 * S, True)
    assert overdue(ONE, resting, 1000 * S) == ""
    awake, _ = suspend(ONE, resting, False, 93 * S)
    assert awake.next_at == 100 * S
    assert timer_due(ONE, awake, 100 * S)[1] == (StartRun(2, 0),)


def test_a_dynamic_weight_is_told_when_it_changes() -> None:
    state: CheckState = start(ONE, 0, 0)
    told = []
    for number, change in enumerate([3, 3, 0], 1):
        state, _ = timer_due(ONE, state, state.next_at)
        state, effects = finished(ONE, state, number, Outcome(True, "", weight_change=change), state.next_at)
        told.append([effect for effect in effects if isinstance(effect, WeightChanged)])
    assert told == [[WeightChanged(3)], [], [WeightChanged(0)]]


def test_a_new_pace_takes_hold_within_its_period() -> None:
    state, _ = timer_due(ONE, start(ONE, 0, 0), 0)
    state, _ = finished(ONE, state, 1, OK, 0)
    quick = Schedule(pace=msgspec.structs.replace(PACE, delay_loop_ns=2 * S))
    assert reconfigured(quick, state, S).next_at == 3 * S
    assert reconfigured(quick, state, S).up is True
    slow = Schedule(pace=msgspec.structs.replace(PACE, delay_loop_ns=90 * S))
    assert reconfigured(slow, state, S).next_at == 10 * S


def test_what_is_told_counts_at_once_and_overtakes_a_run() -> None:
    at_once = msgspec.structs.replace(ONE, pace=msgspec.structs.replace(PACE, retry=0))
    state, _ = timer_due(at_once, start(at_once, 0, 0.0), 0)
    state, effects = told(at_once, state, BAD, 2 * S)
    assert [letter(one) for one in effects] == ["d"]
    assert not state.up
    assert finished(at_once, state, 1, OK, 3 * S) == (state, ())  # the run on its way
    state, effects = told(at_once, state, OK, 4 * S)
    assert [letter(one) for one in effects] == ["U"]
    assert state.next_at == 14 * S
    resting, _ = suspend(at_once, state, True, 5 * S)
    assert told(at_once, resting, BAD, 6 * S) == (resting, ())
