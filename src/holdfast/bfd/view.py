"""What an operator sees of a BFD session."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from holdfast.base.address import text
from holdfast.base.time import MILLISECOND, Nanoseconds
from holdfast.bfd.config import SessionConfig
from holdfast.bfd.packet import DIAGNOSTICS

if TYPE_CHECKING:
    from holdfast.bfd.machine import Session


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One session. `up`: what it counts as; intervals are milliseconds, as negotiated (0: not yet)."""

    name: str
    neighbor: str
    source: str | None
    multihop: bool
    passive: bool
    state: str  # AdminDown, Down, Init, Up
    up: bool
    since: str
    diagnostic: str
    remote_state: str | None  # null: nothing was heard of the neighbour lately
    remote_diagnostic: str
    discriminator: int
    remote_discriminator: int
    transmit_ms: float
    detection_ms: float
    remote_min_tx_ms: float = 0.0  # as the neighbour says, 0 while nothing is heard
    remote_min_rx_ms: float = 0.0
    remote_multiplier: int = 0
    last_heard: str | None = None
    failures: int
    trouble: str  # why it can't run here; "" when it can
    statistics: dict[str, int]


def session_view(
    config: SessionConfig,
    session: "Session",
    wall: Callable[[Nanoseconds], str],
    trouble: str,
    statistics: dict[str, int],
) -> SessionView:
    """The session as it stands; `wall` gives a moment of the loop's clock as people have it."""
    heard = session.expires_at is not None
    return SessionView(
        name=config.name,
        neighbor=text(config.neighbor),
        source=text(config.source) if config.source else None,
        multihop=config.multihop,
        passive=config.passive,
        state=session.state.word,
        up=session.counts_as_up,
        since=wall(session.since),
        diagnostic=DIAGNOSTICS[session.diag],
        remote_state=session.remote_state.word if heard else None,
        remote_diagnostic=DIAGNOSTICS[session.remote_diag] if heard else "",
        discriminator=session.discriminator,
        remote_discriminator=session.remote_discriminator,
        transmit_ms=_ms(0 if session.send_at is None else session.tx_ns),
        detection_ms=_ms(session.detection_ns if heard else 0),
        remote_min_tx_ms=session.remote_min_tx_us / 1000 if heard else 0.0,
        remote_min_rx_ms=session.remote_min_rx_us / 1000 if heard else 0.0,
        remote_multiplier=session.remote_multiplier if heard else 0,
        last_heard=wall(session.expires_at - session.detection_ns) if session.expires_at is not None else None,
        failures=session.failures,
        trouble=trouble,
        statistics=statistics,
    )


def _ms(span_ns: Nanoseconds) -> float:
    return round(span_ns / MILLISECOND, 3)
