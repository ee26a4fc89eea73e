"""One BFD session (RFC 5880 §6.8): asynchronous mode, no echo, no authentication.

A session is a frozen state and three verbs: a packet was `received`, the time has come (`due`), `leave`. Time, the
discriminator and the draw for the jitter are passed in. Intervals of a state are microseconds, as on the wire.

A session that was up counts as up until its neighbour is silent for the detection time or says Down: when the
neighbour takes it down on purpose (AdminDown), nothing has failed, and the verdict stays.
"""

import msgspec

from holdfast.base.time import MICROSECOND, Nanoseconds, span_text
from holdfast.bfd.config import SessionConfig
from holdfast.bfd.messages import BfdEffect, SendPacket, VerdictChanged
from holdfast.bfd.packet import DIAGNOSTICS, BfdState, ControlPacket

NO_DIAGNOSTIC, EXPIRED, NEIGHBOR_DOWN, ADMINISTRATIVE = 0, 1, 3, 7
DRAWS = 1000
"""A draw for the jitter is at least 0 and below this."""

_ADMIN_DOWN, _DOWN, _INIT, _UP = BfdState.ADMIN_DOWN, BfdState.DOWN, BfdState.INIT, BfdState.UP


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session stands. The names are those of RFC 5880 §6.8.1, `min_tx_us` is DesiredMinTxInterval."""

    state: BfdState = BfdState.DOWN
    diag: int = NO_DIAGNOSTIC
    discriminator: int
    min_tx_us: int  # as told to the neighbour
    min_rx_us: int
    used_min_tx_us: int  # as it counts: a longer one only when the poll has ended
    used_min_rx_us: int
    remote_discriminator: int = 0
    remote_state: BfdState = BfdState.DOWN
    remote_diag: int = NO_DIAGNOSTIC
    remote_min_tx_us: int = 0
    remote_min_rx_us: int = 1
    remote_multiplier: int = 0
    remote_demand: bool = False
    polling: bool = False
    counts_as_up: bool = False
    sent_at: Nanoseconds | None = None  # the last regular packet
    send_at: Nanoseconds | None  # None: nothing is sent regularly
    expires_at: Nanoseconds | None = None  # a detection time after the last packet
    since: Nanoseconds = 0
    failures: int = 0  # how often it went from Up to Down

    @property
    def tx_ns(self) -> Nanoseconds:
        """The interval of what is sent, before jitter (§6.8.7)."""
        return max(self.used_min_tx_us, self.remote_min_rx_us) * MICROSECOND

    @property
    def detection_ns(self) -> Nanoseconds:
        """How long the neighbour may be silent (§6.8.4)."""
        return self.remote_multiplier * max(self.used_min_rx_us, self.remote_min_tx_us) * MICROSECOND

    def due_at(self) -> Nanoseconds | None:
        """When `due` is wanted next."""
        if self.send_at is None or self.expires_at is None:
            return self.expires_at if self.send_at is None else self.send_at
        return min(self.send_at, self.expires_at)


BfdStep = tuple[Session, tuple[BfdEffect, ...]]


def start(config: SessionConfig, discriminator: int, now: Nanoseconds) -> Session:
    """A session as it begins: Down, and heard of by nobody."""
    idle_us, rx_us = config.idle_tx_ns // MICROSECOND, config.min_rx_ns // MICROSECOND
    return Session(
        discriminator=discriminator,
        min_tx_us=idle_us,
        min_rx_us=rx_us,
        used_min_tx_us=idle_us,
        used_min_rx_us=rx_us,
        send_at=None if config.passive else now,
        since=now,
    )


def received(config: SessionConfig, session: Session, packet: ControlPacket, now: Nanoseconds, draw: int) -> BfdStep:
    """A packet of this session that no rule of `receive` refused (§6.8.6)."""
    if session.state is _ADMIN_DOWN:
        return session, ()
    polling = session.polling and not packet.final
    tx_before = session.tx_ns
    heard = msgspec.structs.replace(
        session,
        remote_discriminator=packet.my_discriminator,
        remote_state=packet.state,
        remote_diag=packet.diag,
        remote_min_tx_us=packet.desired_min_tx_us,
        remote_min_rx_us=packet.required_min_rx_us,
        remote_multiplier=packet.detect_mult,
        remote_demand=packet.demand,
        polling=polling,
        used_min_tx_us=session.used_min_tx_us if polling else session.min_tx_us,
        used_min_rx_us=session.used_min_rx_us if polling else session.min_rx_us,
    )
    after, effects = _moved(config, heard, packet.state, now)
    after = msgspec.structs.replace(after, expires_at=now + after.detection_ns)
    if after.state is not session.state:
        after = msgspec.structs.replace(after, send_at=now)  # a change of state is told at once (§6.8.7)
    else:
        after = _scheduled(config, after, tx_before, now, draw)
    if packet.poll:
        effects = (*effects, SendPacket(made(config, after, final=True)))
    return after, effects


def _moved(config: SessionConfig, session: Session, remote: BfdState, now: Nanoseconds) -> BfdStep:
    """The state machine of §6.2, by what the neighbour says its state is."""
    state = session.state
    if remote is _ADMIN_DOWN or (state is _UP and remote is _DOWN):
        return (session, ()) if state is _DOWN else down(config, session, NEIGHBOR_DOWN, now)
    if state is _DOWN and remote is _DOWN:
        return msgspec.structs.replace(session, state=_INIT, diag=NO_DIAGNOSTIC, since=now), ()
    if (state is _DOWN and remote is _INIT) or (state is _INIT and remote in (_INIT, _UP)):
        return _up(config, session, now)
    return session, ()


def _up(config: SessionConfig, session: Session, now: Nanoseconds) -> BfdStep:
    """Both hear each other: from idle_tx to min_tx, which is told by a poll (§6.8.3)."""
    tx_us = config.min_tx_ns // MICROSECOND
    after = msgspec.structs.replace(
        session,
        state=_UP,
        diag=NO_DIAGNOSTIC,
        since=now,
        min_tx_us=tx_us,
        used_min_tx_us=min(tx_us, session.used_min_tx_us),
        polling=tx_us != session.min_tx_us,
        counts_as_up=True,
    )
    return after, (() if session.counts_as_up else (VerdictChanged(True, "session up"),))


def down(config: SessionConfig, session: Session, diag: int, now: Nanoseconds) -> BfdStep:
    """From Init or Up to Down; what is told about it depends on whose wish it was."""
    idle_us, rx_us = config.idle_tx_ns // MICROSECOND, config.min_rx_ns // MICROSECOND
    silent = diag == EXPIRED
    on_purpose = diag == NEIGHBOR_DOWN and session.remote_state is _ADMIN_DOWN
    after = msgspec.structs.replace(
        session,
        state=_DOWN,
        diag=diag,
        since=now,
        min_tx_us=idle_us,
        used_min_tx_us=idle_us,
        min_rx_us=rx_us,
        used_min_rx_us=rx_us,
        polling=False,
        remote_discriminator=0 if silent else session.remote_discriminator,
        remote_min_rx_us=1 if silent else session.remote_min_rx_us,
        remote_demand=False if silent else session.remote_demand,
        counts_as_up=session.counts_as_up and on_purpose,
        failures=session.failures + (session.state is _UP),
    )
    if not session.counts_as_up or on_purpose:
        return after, ()
    if silent:
        return after, (VerdictChanged(False, f"nothing heard for {span_text(session.detection_ns)}"),)
    said = f": {DIAGNOSTICS[session.remote_diag]}" if session.remote_diag else ""
    return after, (VerdictChanged(False, f"the neighbour says Down{said}"),)


def due(config: SessionConfig, session: Session, now: Nanoseconds, draw: int) -> BfdStep:
    """A regular packet or the end of the detection time may be due."""
    effects: tuple[BfdEffect, ...] = ()
    if session.expires_at is not None and now >= session.expires_at:
        session = msgspec.structs.replace(session, expires_at=None)
        if session.state in (_INIT, _UP):
            session, effects = down(config, session, EXPIRED, now)
        else:
            session = msgspec.structs.replace(session, remote_discriminator=0, remote_min_rx_us=1, remote_demand=False)
        send_at = now if effects or session.send_at is None else session.send_at
        session = msgspec.structs.replace(session, send_at=None if config.passive else send_at)
    if session.send_at is not None and now >= session.send_at:
        effects = (*effects, SendPacket(made(config, session)))
        session = msgspec.structs.replace(session, sent_at=now, send_at=_next(config, session, now, draw))
    return session, effects


def heard_again(session: Session, now: Nanoseconds) -> Session:
    """The same packet as before came again in a session that is up and does not poll: only its time counts."""
    return msgspec.structs.replace(session, expires_at=now + session.detection_ns)


def changed(before: SessionConfig, config: SessionConfig, session: Session, now: Nanoseconds) -> Session:
    """A reload gave the session other intervals; while it is up they are told by a poll (§6.8.3)."""
    tx_ns = config.min_tx_ns if session.state is _UP else config.idle_tx_ns
    tx_us, rx_us = tx_ns // MICROSECOND, config.min_rx_ns // MICROSECOND
    up = session.state is _UP
    if (tx_us, rx_us) != (session.min_tx_us, session.min_rx_us):
        session = msgspec.structs.replace(
            session,
            min_tx_us=tx_us,
            min_rx_us=rx_us,
            used_min_tx_us=min(tx_us, session.used_min_tx_us) if up else tx_us,
            used_min_rx_us=max(rx_us, session.used_min_rx_us) if up else rx_us,
            polling=up,
            send_at=session.send_at and now,
        )
    if before.passive and not config.passive and session.send_at is None:
        session = msgspec.structs.replace(session, send_at=now)
    return session


def leave(config: SessionConfig, session: Session, now: Nanoseconds) -> BfdStep:
    """The operator takes the session down: the neighbour is told AdminDown (§6.8.16), if it was ever heard."""
    after = msgspec.structs.replace(
        session, state=_ADMIN_DOWN, diag=ADMINISTRATIVE, since=now, polling=False, send_at=None, expires_at=None
    )
    return after, ((SendPacket(made(config, after)),) if session.remote_discriminator else ())


def made(config: SessionConfig, session: Session, *, final: bool = False) -> ControlPacket:
    """The packet that tells what the session is now; `final`: the answer to a poll."""
    return ControlPacket(
        state=session.state,
        diag=session.diag,
        detect_mult=config.multiplier,
        my_discriminator=session.discriminator,
        your_discriminator=session.remote_discriminator,
        desired_min_tx_us=session.min_tx_us,
        required_min_rx_us=session.min_rx_us,
        poll=session.polling and not final,
        final=final,
    )


def jittered(interval_ns: Nanoseconds, multiplier: int, draw: int) -> Nanoseconds:
    """The interval less 0 to 25 %, with a multiplier of 1 less 10 to 25 % (§6.8.7)."""
    less = 100 * DRAWS + 150 * draw if multiplier == 1 else 250 * draw
    return interval_ns - interval_ns * less // (1000 * DRAWS)


def silenced(config: SessionConfig, session: Session) -> bool:
    """Whether nothing is sent regularly (§6.8.7): a passive session unheard, a neighbour that wants nothing."""
    if config.passive and session.remote_discriminator == 0:
        return True
    demand = session.remote_demand and session.state is _UP and session.remote_state is _UP
    return session.remote_min_rx_us == 0 or (demand and not session.polling)


def _next(config: SessionConfig, session: Session, since: Nanoseconds, draw: int) -> Nanoseconds | None:
    return None if silenced(config, session) else since + jittered(session.tx_ns, config.multiplier, draw)


def _scheduled(config: SessionConfig, session: Session, tx_before: Nanoseconds, now: Nanoseconds, draw: int) -> Session:
    """The next regular packet where its interval, or whether any is sent, is another now."""
    if silenced(config, session):
        return session if session.send_at is None else msgspec.structs.replace(session, send_at=None)
    if session.send_at is not None and session.tx_ns == tx_before:
        return session
    if session.send_at is None and session.sent_at is None:
        return msgspec.structs.replace(session, send_at=now)
    sent_at = now if session.sent_at is None else session.sent_at
    return msgspec.structs.replace(session, send_at=max(_next(config, session, sent_at, draw) or now, now))
