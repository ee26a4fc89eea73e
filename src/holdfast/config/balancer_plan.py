"""The load balancer's plan, apart from the elections': only the builder and the lvs worker need it."""

import msgspec

from holdfast.check.config import Check
from holdfast.lvs.config import LvsPlan
from holdfast.track.config import FileConfig


class BalancerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The services, and the checks that their servers name by number; no two checks are equal."""

    lvs: LvsPlan = LvsPlan()
    checks: tuple[Check, ...] = ()
    files: tuple[FileConfig, ...] = ()  # those that a FILE_CHECK names
