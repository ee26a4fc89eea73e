"""Tracked processes: which match, how many are enough, and what the delays forgive."""

from typing import Any

import pytest

from holdfast.track.config import Match, ProcessConfig
from holdfast.track.process import ProcessState, counted, detail, due, matches


def config(command: str = "nginx", **more: Any) -> ProcessConfig:
    return ProcessConfig(name="t", command=command, **more)


@pytest.mark.parametrize(
    ("wanted", "name", "argv", "counts"),
    [
        (config("nginx"), "nginx", ("nginx: master", "x"), True),
        (config("nginx"), "nginx2", ("nginx",), False),
        (config("a-name-of-more-than-15"), "a-name-of-more-", ("x",), True),
        (config("/bin/a", full_command=True), "a", ("/bin/a", "x"), True),
        (config("/bin/a", full_command=True), "a", ("a", "x"), False),
        (config("a", full_command=True), "a", (), False),  # a kernel thread has no command line
        (config("a", match=Match.EXACT), "z", ("a",), True),
        (config("a", match=Match.EXACT), "z", ("a", "b"), False),
        (config("a", match=Match.EXACT, parameters=("b", "c")), "z", ("a", "b", "c"), True),
        (config("a", match=Match.EXACT, parameters=("b", "c")), "z", ("a", "b", "c", "d"), False),
        (config("a", match=Match.PARTIAL, parameters=("b", "c")), "z", ("a", "b", "c", "d"), True),
        (config("a", match=Match.PARTIAL, parameters=("b", "c")), "z", ("a", "b", "cd"), False),
        (config("a", match=Match.PARTIAL, parameters=("b", "c")), "z", ("a", "b"), False),
        (config("a", match=Match.INITIAL, parameters=("b", "c")), "z", ("a", "b", "cd"), True),
        (config("a", match=Match.INITIAL, parameters=("b", "c")), "z", ("a", "bd", "c"), False),
        (config("a", match=Match.INITIAL, parameters=("b", "c")), "z", ("a", "b", "c", "d"), False),
        (config("a", match=Match.INITIAL), "z", ("a", "b"), False),
    ],
)
def test_matches(wanted: ProcessConfig, name: str, argv: tuple[str, ...], counts: bool) -> None:
    assert matches(wanted, name, argv) is counts


@pytest.mark.parametrize(
    ("wanted", "counts", "up"),
    [
        (config(), (0, 1, 5), (False, True, True)),
        (config(quorum=2), (0, 1, 2), (False, False, True)),
        (config(quorum=1, quorum_max=2), (0, 1, 2, 3), (False, True, True, False)),
        (config(quorum=0, quorum_max=0), (0, 1), (True, False)),
    ],
)
def test_enough(wanted: ProcessConfig, counts: tuple[int, ...], up: tuple[bool, ...]) -> None:
    assert tuple(counted(wanted, ProcessState(), count, 0).up for count in counts) == up


DELAYED = config(fork_delay_ns=30, terminate_delay_ns=20)
UP, DOWN = ProcessState(1, True), ProcessState(0, False)


@pytest.mark.parametrize(
    ("before", "count", "now", "after"),
    [
        (ProcessState(), 0, 5, ProcessState(0, False)),  # the first count is believed at once
        (ProcessState(), 1, 5, ProcessState(1, True)),
        (DOWN, 1, 5, ProcessState(1, False, 35)),
        (ProcessState(1, False, 35), 2, 10, ProcessState(2, False, 35)),  # more of the same changes nothing
        (ProcessState(1, False, 35), 0, 10, DOWN),  # the opposite cancels it
        (UP, 0, 5, ProcessState(0, True, 25)),
        (ProcessState(0, True, 25), 1, 24, UP),
    ],
)
def test_counted(before: ProcessState, count: int, now: int, after: ProcessState) -> None:
    assert counted(DELAYED, before, count, now) == after


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        (UP, 100, UP),
        (ProcessState(0, True, 25), 24, ProcessState(0, True, 25)),
        (ProcessState(0, True, 25), 25, DOWN),
        (ProcessState(1, False, 35), 35, UP),
    ],
)
def test_due(before: ProcessState, now: int, after: ProcessState) -> None:
    assert due(DELAYED, before, now) == after


def test_detail() -> None:
    assert detail(config(quorum=2, quorum_max=3), 1) == "1 running, 2 needed, at most 3"
    assert detail(config(quorum=0, quorum_max=0), 1) == "1 running, none allowed"
