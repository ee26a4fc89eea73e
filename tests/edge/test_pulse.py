"""The page a worker shares with the supervisor: what is counted into which bucket."""

from holdfast.base.time import MICROSECOND, MILLISECOND, SECOND
from holdfast.edge.pulse import BOUNDS_NS, Pulse
from holdfast.engine.beats import Beats


def test_lateness_by_bucket() -> None:
    pulse = Pulse()
    pulse.sent(50 * MICROSECOND, 128)
    pulse.sent(50 * MICROSECOND + 1, 3)
    pulse.sent(2 * SECOND, 1)
    counted = pulse.lateness()
    assert counted.counts == (128, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert abs(counted.sum_s - 2.00655) < 1e-6
    assert counted.bounds_s == (5e-05, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
    assert not sum(pulse.lag().counts)


def test_a_turn_counts_when_something_was_due() -> None:
    pulse = Pulse()
    pulse.turned(None, 5)
    pulse.turned(10, 9)
    assert not sum(pulse.lag().counts)
    pulse.turned(10, 10)
    pulse.turned(10, 10 + 7 * MILLISECOND)
    lag = pulse.lag()
    assert (lag.counts[0], lag.counts[7], sum(lag.counts), lag.sum_s) == (1, 1, 2, 0.007)
    assert not sum(pulse.lateness().counts)


def test_a_beat_does_not_touch_the_counters() -> None:
    pulse = Pulse()
    pulse.sent(BOUNDS_NS[0], 1)
    pulse.beat(2**62, 2**32 - 1)
    assert (pulse.at, pulse.ah_number, pulse.lateness().counts[0], sum(pulse.lag().counts)) == (2**62, 2**32 - 1, 1, 0)


def test_what_came_too_late_to_be_routine() -> None:
    """Of two beats only that counts which is 50 ms late: the other is sent, and counted then."""
    beats, pulse = Beats(), Pulse()
    for slot in (1, 2):
        beats.join(slot, SECOND, 10 * SECOND)
    beats.join(3, 2 * SECOND, 10 * SECOND + 20 * MILLISECOND)
    pulse.stalled(beats, 10 * SECOND + 60 * MILLISECOND)
    assert pulse.lateness().counts == (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0)


def test_sums_that_outgrow_their_cell_begin_again() -> None:
    pulse = Pulse()
    for _ in range(3):
        pulse.sent(2**62, 2)
        pulse.turned(0, 2**63)
    assert pulse.lateness().counts[-1] == 6
    assert pulse.lag().counts[-1] == 3
    assert pulse.lateness().sum_s == pulse.lag().sum_s == 2**63 / SECOND
