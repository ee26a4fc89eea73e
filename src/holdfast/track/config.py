"""What an operator asked of the trackers."""

import msgspec

from holdfast.base.command import Command
from holdfast.base.time import SECOND, Nanoseconds


class ScriptConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `vrrp_script`: run every `interval_ns`, up after `rise` successes, down after `fall` failures."""

    name: str
    command: Command  # its timeout_ns is the script's `timeout`, or the interval
    interval_ns: Nanoseconds = SECOND
    weight: int = 0
    reverse: bool = False
    rise: int = 1
    fall: int = 1
    init_fail: bool = False
