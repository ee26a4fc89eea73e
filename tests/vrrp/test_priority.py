"""Trackers and priority: what each verdict adds, the limits, and what means FAULT."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vrrp.config import TrackedUse
from holdfast.vrrp.priority import contribution, effective_priority, failed_trackers, undecided_trackers
from tests.vrrp.routers import V3


def use(weight: int, reverse: bool = False, name: str = "check") -> TrackedUse:
    """One line of a track_script block."""
    return TrackedUse(kind="script", name=name, weight=weight, reverse=reverse)


@pytest.mark.parametrize(
    ("weight", "reverse", "up", "adds"),
    [
        (10, False, True, 10),
        (10, False, False, 0),
        (-10, False, True, 0),
        (-10, False, False, -10),
        (10, True, True, -10),
        (10, True, False, 0),
        (-10, True, True, 0),
        (-10, True, False, 10),
        (0, False, True, 0),
        (0, False, False, 0),
        (0, True, True, 0),
        (0, True, False, 0),
        (10, False, None, 0),
        (-10, False, None, 0),
        (10, True, None, 0),
        (-10, True, None, 0),
        (1, False, True, 1),
        (1, False, False, 0),
        (-1, False, True, 0),
        (-1, False, False, -1),
        (253, False, True, 253),
        (-253, False, False, -253),
    ],
)
def test_the_weight_table(weight: int, reverse: bool, up: bool | None, adds: int) -> None:
    assert contribution(use(weight, reverse), up) == adds


@pytest.mark.parametrize(
    ("reverse", "up", "failed"),
    [
        (False, True, []),
        (False, False, ["script check is down"]),
        (False, None, []),
        (True, True, ["script check is up"]),
        (True, False, []),
        (True, None, []),
    ],
)
def test_an_unweighted_tracker_means_fault(reverse: bool, up: bool | None, failed: list[str]) -> None:
    assert failed_trackers([use(0, reverse)], {("script", "check"): up}) == failed
    assert undecided_trackers([use(0, reverse)], {("script", "check"): up}) == (["check"] if up is None else [])


@pytest.mark.parametrize("weight", [10, -10])
def test_a_weighted_tracker_never_does_and_is_not_waited_for(weight: int) -> None:
    for up in (True, False, None):
        assert failed_trackers([use(weight)], {("script", "check"): up}) == []
        assert undecided_trackers([use(weight)], {("script", "check"): up}) == []
    assert undecided_trackers([use(weight)], {}) == []


def test_failures_are_told_in_the_order_of_the_configuration() -> None:
    uses = [use(0, name="b"), TrackedUse(kind="interface", name="eth1"), use(0, name="a"), use(5, name="c")]
    verdicts = {("script", "a"): False, ("script", "b"): False, ("interface", "eth1"): False, ("script", "c"): False}
    assert failed_trackers(uses, verdicts) == ["script b is down", "interface eth1 is down", "script a is down"]
    assert undecided_trackers(uses, {}) == ["b", "eth1", "a"]


@pytest.mark.parametrize(
    ("base", "weights", "up", "effective"),
    [
        (100, (), True, 100),
        (100, (10,), True, 110),
        (100, (10, -20), True, 110),
        (100, (10, -20), False, 80),
        (100, (10, 20, 30), True, 160),
        (250, (10,), True, 254),
        (254, (-253,), False, 1),
        (5, (-10,), False, 1),
        (1, (), True, 1),
        (255, (-10,), False, 255),
        (255, (10,), True, 255),
        (100, (100, 100, -100), False, 1),
    ],
)
def test_effective_priority(base: int, weights: tuple[int, ...], up: bool, effective: int) -> None:
    trackers = tuple(use(weight, name=str(number)) for number, weight in enumerate(weights))
    config = msgspec.structs.replace(V3, priority=base, trackers=trackers)
    assert effective_priority(config, {("script", tracker.name): up for tracker in trackers}) == effective


def test_sums_before_it_limits() -> None:
    config = msgspec.structs.replace(V3, priority=200, trackers=(use(100, name="a"), use(-100, name="b")))
    assert effective_priority(config, {("script", "a"): True, ("script", "b"): False}) == 200


def test_kinds_of_one_name_are_told_apart() -> None:
    trackers = (use(10), TrackedUse(kind="process", name="check", weight=20))
    config = msgspec.structs.replace(V3, trackers=trackers)
    assert effective_priority(config, {("process", "check"): True, ("script", "check"): False}) == 120


@given(st.integers(1, 255), st.lists(st.tuples(st.integers(-253, 253), st.booleans(), st.sampled_from([True, False, None])),
                                     max_size=6))  # fmt: skip
def test_never_out_of_range_and_never_an_owner_by_weight(
    base: int, rows: list[tuple[int, bool, bool | None]]
) -> None:
    trackers = tuple(use(weight, reverse, str(number)) for number, (weight, reverse, _) in enumerate(rows))
    verdicts = {("script", str(number)): up for number, (_, _, up) in enumerate(rows)}
    effective = effective_priority(msgspec.structs.replace(V3, priority=base, trackers=trackers), verdicts)
    assert effective == 255 if base == 255 else 1 <= effective <= 254


@pytest.mark.parametrize(
    ("weight", "reverse", "number", "adds", "faulty"),
    [
        (1, False, 7, 7, False),
        (2, False, 7, 14, False),
        (-2, False, 7, -14, False),
        (2, True, 7, -14, False),
        (1, False, 254, 253, False),  # held to ±253 …
        (1, False, -253, -253, False),
        (1, False, -254, -253, True),  # … and -254 means FAULT
        (1, True, 254, -253, True),
        (-1, False, 254, -253, True),
        (-1, True, -300, -253, True),
        (0, False, 0, 0, False),
        (0, False, 1, 0, True),
        (0, False, -1, 0, True),
        (0, True, 0, 0, True),
        (0, True, 1, 0, False),
    ],
)
def test_a_file_adds_its_number_times_the_weight(
    weight: int, reverse: bool, number: int, adds: int, faulty: bool
) -> None:
    line = TrackedUse(kind="file", name="load", weight=weight, reverse=reverse)
    assert contribution(line, number) == adds
    assert failed_trackers([line], {("file", "load"): number}) == ([f"file load is {number}"] if faulty else [])
    assert undecided_trackers([line], {("file", "load"): number}) == []
    assert undecided_trackers([line], {("file", "load"): None}) == ["load"]  # waited for even where it is a weight
