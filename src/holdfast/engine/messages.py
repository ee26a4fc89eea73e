"""What goes in and out of the engine, beside the events and effects of the domains. Plain, frozen data.

`slot` is the number of an instance within the running plan: an index, stable until the next reload.
The *notices* at the end are what the vrrp worker tells the supervisor: everything that may take time (scripts, logs,
state files, FIFOs) is done there, so that no advert ever waits for it.
"""

import msgspec

from holdfast.base.command import Command
from holdfast.base.time import Nanoseconds
from holdfast.vrrp.messages import Level


class Notice(msgspec.Struct, frozen=True, tag=True):
    """Something the vrrp worker tells the supervisor's listeners."""


class LogLine(Notice, frozen=True):
    """A line for the log, in keepalived's words where it has them: `(VI_1) Entering MASTER STATE`."""

    level: Level
    text: str
    category: str = ""  # debug lines name the category they belong to


class StateNotice(Notice, frozen=True, kw_only=True):
    """An instance or a sync group changed state.

    `kind` is INSTANCE or GROUP; `state` MASTER, BACKUP, FAULT, STOP or DELETED; `priority` the effective one
    (0 for groups); `quiet`: it may not notify (the first state of a reload that changed nothing).
    """

    kind: str
    name: str
    state: str
    priority: int
    cause: str
    quiet: bool = False


class LowerPriorityNotice(Notice, frozen=True):
    """A master heard an advert of lower rank (`notify_master_rx_lower_pri`)."""

    name: str
    priority: int


class PriorityNotice(Notice, frozen=True):
    """The effective priority changed; `state` is MASTER or BACKUP (`notify_priority_changes`)."""

    name: str
    state: str
    priority: int


class RunScript(Notice, frozen=True):
    """Run the tracking script `name` once."""

    name: str
    run: int  # counts the runs of this script
    command: Command


class Leaving(Notice, frozen=True):
    """The vrrp worker has resigned and removed its addresses: every state is now STOP."""


class ScriptFinished(msgspec.Struct, frozen=True, tag=True):
    """The answer to RunScript: `status` is the exit status, or -signal; `timed_out` when it took too long."""

    name: str
    run: int
    status: int
    timed_out: bool = False
    output: str = ""  # the first line or two of what it printed
    spent_ns: Nanoseconds = 0


AnyNotice = LogLine | StateNotice | LowerPriorityNotice | PriorityNotice | RunScript | Leaving
