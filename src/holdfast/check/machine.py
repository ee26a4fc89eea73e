"""A check's schedule and verdict.

Theory of operation. A check makes *rounds*, one a `delay_loop`; a round is one *run*, or as many as it has stages (the
urls of an HTTP check). The first comes after a share of `warmup`, so that ten thousand are not made at once; the phase
it has then is kept while all is well, however long a run takes and however late it is begun.

    up ── failure, within `retry` ──► up, tried again `delay_before_retry` after the failure
    up ── failure beyond `retry`, or the very first ──► down, tried every delay_loop
    down ── one round passed ──► up

It begins up, or down with `alpha`. While it is up a round's stages follow each other at once; while it is down (alpha,
or recovering) each waits a delay_loop, not with `fast_recovery`, beginning with the stage that failed.

A check that could not be made (`Outcome.made` False: no descriptor left, say) decides nothing. If that goes on for
three periods, or a run never ends, `overdue` says so: a check that isn't made is itself a fault.
"""

import msgspec

from holdfast.base.time import Nanoseconds, span_text
from holdfast.check.config import Schedule
from holdfast.check.conversation import Outcome
from holdfast.check.messages import AbandonRun, CheckEffect, FailureSeen, StartRun, VerdictChanged, WeightChanged

OVERDUE_PERIODS = 3
"""After so many periods without a result a check is at fault itself."""

_GOLDEN = 0.6180339887498949


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one check stands. `up` is the verdict in force, `settled` whether a result ever came."""

    next_at: Nanoseconds
    up: bool
    settled: bool = False
    failures: int = 0  # in a row, while up
    stage: int = 0
    passed: int = 0  # stages passed in this round
    run: int = 0
    running: bool = False
    round_at: Nanoseconds = 0
    reference_at: Nanoseconds = 0  # when it last ended a run, or was first due: what `overdue` counts from
    since: Nanoseconds = 0
    begun_at: Nanoseconds = 0  # the last run
    took_ns: Nanoseconds | None = None  # the last run that ended, from its beginning to its result
    longest_ns: Nanoseconds = 0
    last_at: Nanoseconds | None = None
    last_ok: bool | None = None
    last_detail: str = ""
    weight_change: int = 0
    suspended: bool = False


CheckStep = tuple[CheckState, tuple[CheckEffect, ...]]

_replace = msgspec.structs.replace


def spread(index: int) -> float:
    """A share in [0, 1) for the `index`-th of any number of checks: however many there are, they lie evenly."""
    return index * _GOLDEN % 1.0


def start(schedule: Schedule, now: Nanoseconds, share: float) -> CheckState:
    """A check not made yet. `share` in [0, 1), of chance or of `spread`: how much of `warmup` it waits."""
    first_at = now + int(schedule.pace.warmup_ns * share)
    return CheckState(next_at=first_at, up=not schedule.pace.alpha, reference_at=first_at, since=now)


def timer_due(schedule: Schedule, state: CheckState, now: Nanoseconds) -> CheckStep:
    """Begin a run when its time has come; a run still going on, or a suspended check, lets the period pass."""
    if now < state.next_at:
        return state, ()
    if state.running or state.suspended:
        return _replace(state, next_at=_period_after(schedule, state.next_at, now)), ()
    run = state.run + 1
    # while it runs the next period is booked already, so that a run which never ends doesn't end the check
    next_at = _period_after(schedule, state.next_at, now)
    after = _replace(state, run=run, running=True, begun_at=now, round_at=state.next_at, next_at=next_at)
    return after, (StartRun(run, state.stage),)


def finished(schedule: Schedule, state: CheckState, run: int, outcome: Outcome, now: Nanoseconds) -> CheckStep:
    """A run ended; the outcome of any other than the current one is left aside."""
    if run != state.run or not state.running:
        return state, ()
    if not outcome.made:
        again_at = now + schedule.pace.delay_before_retry_ns
        return _replace(state, running=False, next_at=again_at, last_detail=outcome.detail), ()
    took_ns = now - state.begun_at
    state = _replace(
        state, running=False, reference_at=now, last_at=now, last_ok=outcome.ok, last_detail=outcome.detail,
        took_ns=took_ns, longest_ns=max(took_ns, state.longest_ns),
    )  # fmt: skip
    return _passed(schedule, state, outcome, now) if outcome.ok else _failed(schedule, state, outcome, now)


def told(schedule: Schedule, state: CheckState, outcome: Outcome, now: Nanoseconds) -> CheckStep:
    """What the check watches has changed: it counts at once, and a run on its way is overtaken."""
    if state.suspended:
        return state, ()
    at_once = _replace(state, run=state.run + 1, running=True, begun_at=now, round_at=now)
    return finished(schedule, at_once, at_once.run, outcome, now)


def _passed(schedule: Schedule, state: CheckState, outcome: Outcome, now: Nanoseconds) -> CheckStep:
    passed = state.passed + 1
    stage = (state.stage + 1) % schedule.stages
    if passed < schedule.stages:
        if schedule.fast_recovery or state.up:
            run = state.run + 1
            after = _replace(state, failures=0, stage=stage, passed=passed, run=run, running=True, begun_at=now)
            return after, (StartRun(run, stage),)
        next_at = _period_after(schedule, state.round_at, now)
        return _replace(state, stage=stage, passed=passed, next_at=next_at), ()
    effects: tuple[CheckEffect, ...] = ()
    if outcome.weight_change != state.weight_change:
        effects = (WeightChanged(outcome.weight_change),)
    if not (state.settled and state.up):
        effects += (VerdictChanged(True, outcome.detail, first=not state.settled),)
    after = _replace(
        state, up=True, settled=True, failures=0, stage=0, passed=0, weight_change=outcome.weight_change,
        next_at=_period_after(schedule, state.round_at, now), since=state.since if state.up else now,
    )  # fmt: skip
    return after, effects


def _failed(schedule: Schedule, state: CheckState, outcome: Outcome, now: Nanoseconds) -> CheckStep:
    pace = schedule.pace
    failures = state.failures + 1
    if state.up and state.settled and failures <= pace.retry:
        after = _replace(state, failures=failures, passed=0, next_at=now + pace.delay_before_retry_ns)
        told = FailureSeen(outcome.detail, failures, pace.retry + 1)
        return after, (told,) if pace.log_all_failures else ()
    next_at = _period_after(schedule, state.round_at, now)
    first = not state.settled
    if state.up or first:
        since = now if state.up else state.since
        after = _replace(state, up=False, settled=True, failures=0, passed=0, next_at=next_at, since=since)
        return after, (VerdictChanged(False, outcome.detail, first=first),)
    after = _replace(state, passed=0, next_at=next_at)
    return after, (FailureSeen(outcome.detail, 1, 1),) if pace.log_all_failures else ()


def suspend(schedule: Schedule, state: CheckState, suspended: bool, now: Nanoseconds) -> CheckStep:
    """Rest (`ha_suspend`, its address is elsewhere) or go on; the verdict stays, a run on its way is abandoned."""
    if suspended == state.suspended:
        return state, ()
    if suspended:
        effects = (AbandonRun(state.run),) if state.running else ()
        return _replace(state, suspended=True, running=False, passed=0), effects
    return _replace(state, suspended=False, next_at=min(state.next_at, now + schedule.pace.delay_loop_ns),
                    reference_at=now), ()  # fmt: skip


def reconfigured(schedule: Schedule, state: CheckState, now: Nanoseconds) -> CheckState:
    """The same check under a new pace: verdict and phase stay, the next run is no later than its new period asks."""
    stage = state.stage if state.stage < schedule.stages else 0
    next_at = min(state.next_at, now + schedule.pace.delay_loop_ns)
    return _replace(state, next_at=next_at, stage=stage, passed=min(state.passed, schedule.stages - 1))


def overdue(schedule: Schedule, state: CheckState, now: Nanoseconds) -> str:
    """Why this check is itself at fault: it gave no result for three of its periods; empty while all is well.

    A period is `delay_loop`, or the time one run and the wait after it take when that is longer.
    """
    period_ns = max(schedule.pace.delay_loop_ns, schedule.deadline_ns + schedule.pace.delay_before_retry_ns)
    silent_ns = now - state.reference_at
    if state.suspended or silent_ns <= OVERDUE_PERIODS * period_ns:
        return ""
    why = "its run does not end" if state.running else state.last_detail or "it was never begun"
    return f"no result for {span_text(silent_ns)}, {silent_ns // period_ns} of its periods: {why}"


def _period_after(schedule: Schedule, begun_at: Nanoseconds, now: Nanoseconds) -> Nanoseconds:
    """The first time after `now` that is a whole number of periods after `begun_at`."""
    period_ns = max(schedule.pace.delay_loop_ns, 1)
    return begun_at + ((now - begun_at) // period_ns + 1) * period_ns
