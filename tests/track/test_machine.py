"""The tracking script's counter and clock: rise, fall, periods kept, runs skipped, answers from before a reload."""

import msgspec
import pytest

from holdfast.base.command import Command
from holdfast.track.config import ScriptConfig
from holdfast.track.machine import ScriptState, finished, start, timer_due
from holdfast.track.messages import RunSkipped, StartRun, VerdictChanged

S = 1_000_000_000
SCRIPT = ScriptConfig(name="check", command=Command(argv=("/bin/true",)), interval_ns=2 * S)


def run(rise: int, fall: int, results: str) -> list[tuple[int, bool | None, str]]:
    """Counter, verdict and change (`U`, `D`, lower case for the first) after each result: `+` success, `-` failure."""
    config = msgspec.structs.replace(SCRIPT, rise=rise, fall=fall)
    state = start(config, 0)
    rows: list[tuple[int, bool | None, str]] = []
    for number, result in enumerate(results, 1):
        state, effects = timer_due(config, state, state.next_at)
        assert effects == (StartRun(number),)
        state, told = finished(config, state, number, "detail", result == "+", state.next_at - S)
        change = ""
        for effect in told:
            assert isinstance(effect, VerdictChanged)
            assert effect.detail == "detail"
            change += ("u" if effect.first else "U") if effect.up else ("d" if effect.first else "D")
        rows.append((state.counter, state.up, change))
    return rows


@pytest.mark.parametrize(
    ("rise", "fall", "results", "rows"),
    [
        (1, 1, "+-+", [(1, True, "u"), (0, False, "D"), (1, True, "U")]),
        (1, 1, "--+", [(0, False, "d"), (0, False, ""), (1, True, "U")]),
        (1, 3, "+--+---", [(3, True, "u"), (2, True, ""), (1, True, ""), (3, True, ""), (2, True, ""), (1, True, ""),
                           (0, False, "D")]),
        (1, 3, "-+", [(0, False, "d"), (3, True, "U")]),
        (3, 1, "+-++-+++", [(3, True, "u"), (0, False, "D"), (1, False, ""), (2, False, ""), (0, False, ""),
                            (1, False, ""), (2, False, ""), (3, True, "U")]),
        (2, 2, "+--++", [(3, True, "u"), (2, True, ""), (0, False, "D"), (1, False, ""), (3, True, "U")]),
        (2, 2, "-+-++", [(0, False, "d"), (1, False, ""), (0, False, ""), (1, False, ""), (3, True, "U")]),
    ],
)  # fmt: skip
def test_rise_and_fall(rise: int, fall: int, results: str, rows: list[tuple[int, bool | None, str]]) -> None:
    assert run(rise, fall, results) == rows


@pytest.mark.parametrize(("rise", "counter"), [(1, 0), (2, 1), (5, 4)])
def test_it_begins_one_success_short_and_undecided(rise: int, counter: int) -> None:
    state = start(msgspec.structs.replace(SCRIPT, rise=rise), 7 * S)
    assert state == ScriptState(next_at=7 * S, counter=counter)
    assert state.up is None


def test_the_first_run_is_at_once_and_periods_are_kept_whatever_the_delay() -> None:
    state = start(SCRIPT, 10 * S)
    assert timer_due(SCRIPT, state, 10 * S - 1) == (state, ())
    state, effects = timer_due(SCRIPT, state, 10_300_000_000)
    assert (state.next_at, state.run, state.running, effects) == (12 * S, 1, True, (StartRun(1),))
    state, _ = finished(SCRIPT, state, 1, "ok", True, 11 * S)
    state, effects = timer_due(SCRIPT, state, 12 * S)
    assert (state.next_at, state.run, effects) == (14 * S, 2, (StartRun(2),))


def test_missed_periods_are_not_made_up() -> None:
    state, effects = timer_due(SCRIPT, start(SCRIPT, 10 * S), 19 * S)
    assert (state.next_at, effects) == (20 * S, (StartRun(1),))
    state, effects = timer_due(SCRIPT, start(SCRIPT, 10 * S), 20 * S)
    assert (state.next_at, effects) == (22 * S, (StartRun(1),))


def test_a_run_still_going_on_is_not_doubled() -> None:
    running, _ = timer_due(SCRIPT, start(SCRIPT, 10 * S), 10 * S)
    skipped, effects = timer_due(SCRIPT, running, 12 * S)
    assert effects == (RunSkipped(),)
    assert skipped == msgspec.structs.replace(running, next_at=14 * S)


def test_only_the_current_run_answers_and_only_once() -> None:
    state, _ = timer_due(SCRIPT, start(SCRIPT, 10 * S), 10 * S)
    for other in (0, 2):
        assert finished(SCRIPT, state, other, "late", False, 11 * S) == (state, ())
    state, effects = finished(SCRIPT, state, 1, "exit 0", True, 11 * S)
    assert effects == (VerdictChanged(True, "exit 0", first=True),)
    assert (state.running, state.last_detail, state.last_at) == (False, "exit 0", 11 * S)
    assert finished(SCRIPT, state, 1, "exit 1", False, 12 * S) == (state, ())


def test_the_same_verdict_again_is_not_told() -> None:
    state = ScriptState(next_at=12 * S, counter=1, run=4, running=True, up=True)
    assert finished(SCRIPT, state, 4, "exit 0", True, 11 * S)[1] == ()
    assert finished(SCRIPT, state, 4, "exit 1", False, 11 * S)[1] == (VerdictChanged(False, "exit 1"),)
