"""One BFD session against RFC 5880 §6: states, timers, polls, the detection time; numbers in milliseconds."""

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND
from holdfast.bfd.config import SessionConfig
from holdfast.bfd.machine import Session, changed, due, heard_again, jittered, leave, received, silenced, start
from holdfast.bfd.messages import BfdEffect, SendPacket, VerdictChanged
from holdfast.bfd.packet import BfdState, ControlPacket

ADMIN_DOWN, DOWN, INIT, UP = BfdState
CONFIG = SessionConfig(
    name="peer", neighbor=parse("192.0.2.2"), min_rx_ns=10_000_000, min_tx_ns=20_000_000, multiplier=3
)
PASSIVE = msgspec.structs.replace(CONFIG, passive=True)


def ms(count: float) -> int:
    return round(count * MILLISECOND)


def says(state: BfdState, tx_ms: float = 30, rx_ms: float = 15, multiplier: int = 4, **more: object) -> ControlPacket:
    """A packet of the neighbour, whose discriminator is 77."""
    packet = ControlPacket(
        state=state, detect_mult=multiplier, my_discriminator=77, your_discriminator=9,
        desired_min_tx_us=round(tx_ms * 1000), required_min_rx_us=round(rx_ms * 1000),
    )  # fmt: skip
    return msgspec.structs.replace(packet, **more)


def at(state: BfdState, config: SessionConfig = CONFIG) -> Session:
    """A session that came to `state` at 0, with no poll under way."""
    session = start(config, 9, 0)
    if state is ADMIN_DOWN:
        return leave(config, session, 0)[0]
    if state is DOWN:
        return session
    session, _ = received(config, session, says(DOWN), 0, 0)
    if state is INIT:
        return session
    session, _ = received(config, session, says(UP), 0, 0)
    return received(config, session, says(UP, final=True), 0, 0)[0]


def sent(effects: tuple[BfdEffect, ...]) -> list[ControlPacket]:
    return [effect.packet for effect in effects if isinstance(effect, SendPacket)]


@pytest.mark.parametrize(
    ("before", "heard", "after", "diag"),
    [  # RFC 5880 §6.2
        (ADMIN_DOWN, ADMIN_DOWN, ADMIN_DOWN, 7),
        (ADMIN_DOWN, DOWN, ADMIN_DOWN, 7),
        (ADMIN_DOWN, INIT, ADMIN_DOWN, 7),
        (ADMIN_DOWN, UP, ADMIN_DOWN, 7),
        (DOWN, ADMIN_DOWN, DOWN, 0),
        (DOWN, DOWN, INIT, 0),
        (DOWN, INIT, UP, 0),
        (DOWN, UP, DOWN, 0),
        (INIT, ADMIN_DOWN, DOWN, 3),
        (INIT, DOWN, INIT, 0),
        (INIT, INIT, UP, 0),
        (INIT, UP, UP, 0),
        (UP, ADMIN_DOWN, DOWN, 3),
        (UP, DOWN, DOWN, 3),
        (UP, INIT, UP, 0),
        (UP, UP, UP, 0),
    ],
)
def test_every_state_by_every_state_heard(before: BfdState, heard: BfdState, after: BfdState, diag: int) -> None:
    session, _ = received(CONFIG, at(before), says(heard), 5, 0)
    assert (session.state, session.diag) == (after, diag)


def test_every_step_of_an_election() -> None:
    session, effects = due(CONFIG, start(CONFIG, 9, 0), 0, 0)
    (packet,) = sent(effects)
    assert (packet.state, packet.detect_mult, packet.my_discriminator, packet.your_discriminator) == (DOWN, 3, 9, 0)
    assert (packet.desired_min_tx_us, packet.required_min_rx_us, packet.poll) == (1_000_000, 10_000, False)
    assert session.send_at == ms(1000)

    session, effects = received(CONFIG, session, says(DOWN, tx_ms=1000), ms(1), 0)
    assert (session.state, effects, session.send_at) == (INIT, (), ms(1))  # told at once
    session, effects = due(CONFIG, session, ms(1), 0)
    assert [(one.state, one.your_discriminator) for one in sent(effects)] == [(INIT, 77)]
    assert session.send_at == ms(1001)

    session, effects = received(CONFIG, session, says(UP, poll=True), ms(2), 0)
    told, answer = effects
    assert told == VerdictChanged(True, "session up")
    assert sent((answer,))[0].final
    assert not sent((answer,))[0].poll
    session, effects = due(CONFIG, session, ms(2), 0)
    (packet,) = sent(effects)
    assert (packet.state, packet.poll, packet.desired_min_tx_us) == (UP, True, 20_000)
    assert session.send_at == ms(22)
    session, effects = received(CONFIG, session, says(UP, final=True), ms(3), 0)
    assert (session.polling, effects) == (False, ())


def test_intervals_are_the_slower_of_both() -> None:
    """§6.8.7 and §6.8.4: sends every max(20, 15) ms, gives up after 4 × max(10, 30) ms."""
    session = at(UP)
    assert (session.tx_ns, session.detection_ns) == (ms(20), ms(120))
    session, _ = received(CONFIG, session, says(UP, tx_ms=5, rx_ms=50, multiplier=2), ms(1), 0)
    assert (session.tx_ns, session.detection_ns, session.expires_at) == (ms(50), ms(20), ms(21))


@pytest.mark.parametrize(
    ("multiplier", "draw", "left_us"),
    [(3, 0, 20_000), (3, 500, 17_500), (3, 999, 15_005), (1, 0, 18_000), (1, 500, 16_500), (1, 999, 15_003)],
)
def test_jitter(multiplier: int, draw: int, left_us: int) -> None:
    assert jittered(ms(20), multiplier, draw) == left_us * 1000


def test_silence_for_the_detection_time_is_down_with_diagnostic_1() -> None:
    session = at(UP)
    assert session.expires_at == ms(120)
    session = msgspec.structs.replace(session, send_at=ms(500))
    same, effects = due(CONFIG, session, ms(120) - 1, 0)
    assert (same, effects) == (session, ())
    session, effects = due(CONFIG, session, ms(120), 0)
    assert effects[0] == VerdictChanged(False, "nothing heard for 120 ms")
    (packet,) = sent(effects)
    assert (packet.state, packet.diag, packet.your_discriminator, packet.desired_min_tx_us) == (DOWN, 1, 0, 1_000_000)
    assert (session.expires_at, session.send_at, session.failures) == (None, ms(1120), 1)


def test_the_same_packet_again_moves_the_end() -> None:
    assert heard_again(at(UP), ms(100)).expires_at == ms(220)


def test_what_the_neighbour_wants_is_no_failure() -> None:
    session, effects = received(CONFIG, at(UP), says(ADMIN_DOWN, diag=7), ms(1), 0)
    assert (session.state, session.counts_as_up, effects) == (DOWN, True, ())
    session, _ = due(CONFIG, session, ms(1), 0)
    session, effects = due(CONFIG, session, ms(200), 0)  # it says nothing more
    assert (session.state, session.counts_as_up, session.remote_discriminator) == (DOWN, True, 0)
    session, effects = received(CONFIG, session, says(DOWN), ms(300), 0)
    session, effects = received(CONFIG, session, says(INIT), ms(301), 0)
    assert (session.state, [e for e in effects if isinstance(e, VerdictChanged)]) == (UP, [])
    session, effects = received(CONFIG, session, says(DOWN, diag=1), ms(302), 0)
    assert effects == (VerdictChanged(False, "the neighbour says Down: control detection time expired"),)


def test_passive_says_nothing_until_it_is_spoken_to_and_falls_silent_again() -> None:
    session = start(PASSIVE, 9, 0)
    assert session.due_at() is None
    session, _ = received(PASSIVE, session, says(DOWN), ms(1), 0)
    session, effects = due(PASSIVE, session, ms(1), 0)
    assert [one.state for one in sent(effects)] == [INIT]
    session, effects = due(PASSIVE, session, ms(121), 0)
    assert (session.state, sent(effects), session.due_at()) == (DOWN, [], None)


def test_a_neighbour_that_wants_no_packets_gets_none() -> None:
    """§6.8.7: bfd.RemoteMinRxInterval 0, and a neighbour in demand mode unless we poll."""
    session, _ = received(CONFIG, at(UP), says(UP, rx_ms=0), ms(1), 0)
    assert session.send_at is None
    session, _ = received(CONFIG, session, says(UP), ms(2), 0)
    assert session.send_at is not None
    session, _ = received(CONFIG, session, says(UP, demand=True), ms(3), 0)
    assert session.send_at is None
    assert not silenced(CONFIG, msgspec.structs.replace(session, polling=True))


def test_a_poll_is_answered_at_once_and_moves_no_timer() -> None:
    session = at(UP)
    after, effects = received(CONFIG, session, says(UP, poll=True), ms(5), 0)
    (packet,) = sent(effects)
    assert (packet.final, packet.poll, after.send_at) == (True, False, session.send_at)


def test_other_intervals_while_up_count_when_the_poll_has_ended() -> None:
    """§6.8.3: a longer min_tx and a shorter min_rx wait for F; the neighbour asks for 1 ms in both."""
    session, _ = received(CONFIG, at(UP), says(UP, tx_ms=1, rx_ms=1), 0, 0)
    assert (session.tx_ns, session.detection_ns) == (ms(20), ms(40))
    other = msgspec.structs.replace(CONFIG, min_tx_ns=ms(50), min_rx_ns=ms(5))
    session = changed(CONFIG, other, session, ms(1))
    assert (session.polling, session.tx_ns, session.detection_ns) == (True, ms(20), ms(40))
    session, effects = due(other, session, ms(1), 0)
    (packet,) = sent(effects)
    assert (packet.poll, packet.desired_min_tx_us, packet.required_min_rx_us) == (True, 50_000, 5_000)
    session, _ = received(other, session, says(UP, tx_ms=1, rx_ms=1), ms(2), 0)
    assert session.tx_ns == ms(20)
    session, _ = received(other, session, says(UP, tx_ms=1, rx_ms=1, final=True), ms(3), 0)
    assert (session.polling, session.tx_ns, session.detection_ns) == (False, ms(50), ms(20))


def test_a_shorter_interval_of_the_neighbour_counts_at_once() -> None:
    session, _ = received(CONFIG, at(UP), says(UP, rx_ms=900), 0, 0)
    assert session.send_at == ms(900)
    session = msgspec.structs.replace(session, sent_at=ms(10))
    session, _ = received(CONFIG, session, says(UP, rx_ms=15), ms(15), 0)
    assert session.send_at == ms(30)  # 20 ms after the last one
    session, _ = received(CONFIG, session, says(UP, rx_ms=900), ms(16), 0)
    session, _ = received(CONFIG, session, says(UP, rx_ms=15), ms(100), 0)
    assert session.send_at == ms(100)  # that is past: at once


def test_leaving_says_admin_down_with_diagnostic_7() -> None:
    session, effects = leave(CONFIG, at(UP), ms(1))
    (packet,) = sent(effects)
    assert (packet.state, packet.diag, packet.your_discriminator) == (ADMIN_DOWN, 7, 77)
    assert session.due_at() is None
    assert leave(CONFIG, start(CONFIG, 9, 0), 0)[1] == ()  # nobody was heard: nobody is told
