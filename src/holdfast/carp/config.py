"""What CARP adds to the terms of a virtual router, and how its rank stands among ours.

A CARP router is ranked by how often it advertises: every advbase + advskew/256 seconds, and the faster one is master.
The rest of the house ranks by a priority that is the better the higher it is. The two are one number here:

    priority   254  ↔  advskew 0          253 ↔ 1   …   1 ↔ 253
    priority   255  ↔  (advbase - 1, 255): faster than any advskew of that advbase; while a hand-over is held here
    priority     0  ↔  (255, 255): the farewell, which makes every backup take over (OpenBSD calls it bowing out)

so that trackers' weights, holds, logs and notify scripts mean for CARP what they mean for VRRP.
"""

import msgspec

from holdfast.base.time import SECOND, Nanoseconds

BEST = 254
"""The priority of advskew 0."""

SLOWEST_SKEW = 253
"""The largest advskew a router of ours may have: 254 and 255 leave no room for worse."""

DEMOTION_LIMIT = 240
"""Trackers and `demotion` raise the advskew at most so far by themselves, as in FreeBSD."""

BOW_OUT = 255
"""advbase and advskew of a farewell."""


class CarpTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A `carp_instance`: advbase in seconds, 1 to 254; the password has at most 20 octets and is shown nowhere."""

    advbase: int = 1
    advskew: int = 0
    demotion: int = 0  # added to the advskew
    dead_ratio: int = 3
    password: bytes = b""
    anti_replay: bool = False
    broadcast: bool = False  # adverts leave in broadcast frames, still for the group
    neutral: bool = False  # the first BACKUP after the start runs no script

    def __repr__(self) -> str:
        return f"CarpTerms(advbase={self.advbase}, advskew={self.advskew})"

    @property
    def priority(self) -> int:
        """What stands for the advskew and the demotion."""
        skew = self.advskew + self.demotion
        return BEST - max(self.advskew, min(skew, DEMOTION_LIMIT))


def advertised(terms: CarpTerms, priority: int) -> tuple[int, int]:
    """(advbase, advskew) on the wire of a router with that priority."""
    if priority <= 0:
        return BOW_OUT, BOW_OUT
    if priority > BEST:
        return terms.advbase - 1, 255
    return terms.advbase, BEST - priority


def rank_ns(advbase: int, advskew: int) -> Nanoseconds:
    """The interval, which is the rank; shorter is better. Rounded down to a nanosecond."""
    return advbase * SECOND + advskew * SECOND // 256


def interval_ns(terms: CarpTerms, priority: int) -> Nanoseconds:
    """How often a router with that priority advertises."""
    return rank_ns(*advertised(terms, priority))


def down_interval_ns(terms: CarpTerms, priority: int) -> Nanoseconds:
    """How long a backup waits for an advert: dead_ratio · advbase + advskew/256 seconds, all its own."""
    _, advskew = advertised(terms, max(1, min(priority, BEST)))
    return terms.dead_ratio * terms.advbase * SECOND + advskew * SECOND // 256


def priority_of(advbase: int, advskew: int) -> int:
    """What stands for a received (advbase, advskew): 0 of a farewell, else 1 to 254."""
    if advbase == BOW_OUT and advskew == BOW_OUT:
        return 0
    return max(1, BEST - advskew)
