"""When neighbours are told where the addresses are: bursts of gratuitous ARP and unsolicited NA.

On becoming master: `master_repeat` rounds at once, the same again after `master_delay_ns`, then `master_refresh_repeat`
rounds every `master_refresh_ns`. After a rival was heard: `lower_prio_repeat` rounds at once and again after
`lower_prio_delay_ns`. Leaving MASTER drops what is pending.
"""

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.vrrp.config import AnnounceConfig


class Announcements(msgspec.Struct, frozen=True):
    """What is still to be said: a second burst of `again_rounds` at `again_at`, refreshes from `refresh_at` on."""

    again_at: Nanoseconds | None = None
    again_rounds: int = 0
    refresh_at: Nanoseconds | None = None

    def due_at(self) -> Nanoseconds | None:
        """The next moment something is to be sent; None when nothing is."""
        if self.again_at is None:
            return self.refresh_at
        return self.again_at if self.refresh_at is None else min(self.again_at, self.refresh_at)


QUIET = Announcements()


def begin(
    config: AnnounceConfig, pending: Announcements, reason: str, now: Nanoseconds
) -> tuple[Announcements, int]:
    """The burst to send now (rounds over all addresses) and what is pending after it; reason: master or rival."""
    if reason == "rival":
        rounds = config.lower_prio_repeat
        if not config.lower_prio_delay_ns:
            return pending, rounds
        again_at = now + config.lower_prio_delay_ns
        return msgspec.structs.replace(pending, again_at=again_at, again_rounds=rounds), rounds
    return (
        Announcements(
            again_at=now + config.master_delay_ns if config.master_delay_ns else None,
            again_rounds=config.master_repeat,
            refresh_at=now + config.master_refresh_ns if config.master_refresh_ns else None,
        ),
        config.master_repeat,
    )


def due(config: AnnounceConfig, pending: Announcements, now: Nanoseconds) -> tuple[Announcements, int]:
    """How many rounds to send now, and what is pending after them; 0 rounds when woken early."""
    rounds = 0
    again_at, refresh_at = pending.again_at, pending.refresh_at
    if again_at is not None and now >= again_at:
        rounds += pending.again_rounds
        again_at = None
    if refresh_at is not None and now >= refresh_at:
        rounds += config.master_refresh_repeat
        refresh_at = now + config.master_refresh_ns
    return Announcements(again_at, pending.again_rounds, refresh_at), rounds
