"""HTTP/1.1 as uvicorn speaks it, with a bound on whatever a client may cost: places, time, octets."""

import asyncio
import time
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

PLACES = 128
"""Connections at once; beyond it the one that has asked nothing for longest goes."""

AT_ONCE = PLACES // 2
"""So many are taken in at once: those who come and go in a flood are gone before others lose their places to them."""

HEAD_BYTES = 16 * 1024
"""The longest head of a request."""

BODY_BYTES = 64 * 1024
"""The longest body."""

ASK_S = 10.0
"""How long a request may take to arrive, and a connection may rest between two."""

READ_S = 20.0
"""How long a client may leave unread what was sent."""


class BoundedProtocol(H11Protocol):
    """One connection."""

    places: ClassVar["dict[BoundedProtocol, None]"] = {}
    """All there are, in the order in which they came."""

    since = 0.0  # the moment it began to wait for a request
    blocked_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a place; when there is none, that of the client which has said nothing for longest."""
        super().connection_made(transport)
        self.since = time.monotonic()
        if len(self.places) >= PLACES:
            idle = [one for one in self.places if one.waiting]
            if not idle:
                transport.abort()
                return
            min(idle, key=lambda one: one.since).drop()
        self.places[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self.places.pop(self, None)
        super().connection_lost(exc)

    @property
    def waiting(self) -> bool:
        """Whether it owes us (the rest of) a request."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def on_response_complete(self) -> None:
        """It may ask again."""
        self.since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """It does not read what it is sent."""
        self.blocked_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self.blocked_since = None
        super().resume_writing()

    def drop(self) -> None:
        """End it, whatever is unsent."""
        self.places.pop(self, None)
        self.transport.abort()

    def overdue(self, now: float) -> bool:
        """Whether it took longer than it may."""
        if self.blocked_since is not None:
            return now - self.blocked_since > READ_S
        return self.waiting and now - self.since > ASK_S


async def sweep() -> None:
    """End what is overdue, for ever."""
    while True:
        await asyncio.sleep(1)
        now = time.monotonic()
        for one in [one for one in BoundedProtocol.places if one.overdue(now)]:
            one.drop()
