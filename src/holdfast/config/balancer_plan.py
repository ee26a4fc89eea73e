"""The load balancer's plan, apart from the elections': only the builder and the lvs worker need it."""

import msgspec

from holdfast.check.config import Check
from holdfast.config.plan import Scheduling
from holdfast.lvs.config import LvsPlan
from holdfast.track.config import FileConfig


class BalancerPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The services, and the checks that their servers name by number; no two checks are equal."""

    lvs: LvsPlan = LvsPlan()
    checks: tuple[Check, ...] = ()
    scheduling: Scheduling = Scheduling()  # of the lvs worker
    process_name: str = ""
    receive_bytes: int = 0  # `lvs_netlink_monitor_rcv_bufs`; 0: the kernel's
    receive_forced: bool = False
    files: tuple[FileConfig, ...] = ()  # those that a FILE_CHECK names
