"""What an operator asked of the trackers."""

from enum import StrEnum

import msgspec

from holdfast.base.command import Command
from holdfast.base.time import SECOND, Nanoseconds


class ScriptConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `vrrp_script`: run every `interval_ns`, up after `rise` successes, down after `fall` failures."""

    name: str
    command: Command  # its timeout_ns is the script's `timeout`, or the interval
    interval_ns: Nanoseconds = SECOND
    weight: int = 0
    reverse: bool = False
    rise: int = 1
    fall: int = 1
    init_fail: bool = False


class FileConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `track_file`: the number in it counts, times the weight. `init_value` None: the file is never made."""

    name: str
    path: str
    weight: int = 1
    reverse: bool = False
    init_value: int | None = None
    init_overwrite: bool = False


class Match(StrEnum):
    """How the parameters of a process are compared (`param_match`)."""

    NONE = ""  # they are not looked at
    EXACT = "exact"
    PARTIAL = "partial"  # the first ones, exactly; more may follow
    INITIAL = "initial"  # all of them, the last need only begin so


class ProcessConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `vrrp_track_process`: up while at least `quorum` and at most `quorum_max` processes match."""

    name: str
    command: str  # the 15 characters of the process's name, or argv[0] where the command line is looked at
    parameters: tuple[str, ...] = ()
    match: Match = Match.NONE
    full_command: bool = False
    weight: int = 0
    reverse: bool = False
    quorum: int = 1
    quorum_max: int | None = None
    fork_delay_ns: Nanoseconds = 0  # before enough processes count as up
    terminate_delay_ns: Nanoseconds = 0  # before too few, or too many, count as down

    @property
    def by_command_line(self) -> bool:
        """Whether the command line is compared, not the short name."""
        return self.full_command or self.match is not Match.NONE


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an interface's link is believed: `interface_up_down_delays`, `linkbeat_interfaces`."""

    name: str
    down_ns: Nanoseconds = 0
    up_ns: Nanoseconds = 0
    polled: str = ""  # "": the kernel tells; any: MII, ETHTOOL or IOCTL, whichever answers first; or one of these
