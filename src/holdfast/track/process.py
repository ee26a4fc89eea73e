"""Tracked processes (`vrrp_track_process`): which count, and from when on there are enough.

Up while quorum <= count <= quorum_max. Where a delay is asked for, a change counts only when it has lasted so long:
going up waits `fork_delay`, going down `terminate_delay`, and what returns meanwhile has never been away.
"""

from collections.abc import Sequence

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.track.config import Match, ProcessConfig

NAME_LENGTH = 15
"""The kernel keeps so much of a process's name."""


def matches(config: ProcessConfig, name: str, argv: Sequence[str]) -> bool:
    """Whether a process of this (short) name and command line counts; `argv` is empty for kernel threads."""
    if not config.by_command_line:
        return name == config.command[:NAME_LENGTH]
    if not argv or argv[0] != config.command:
        return False
    given, wanted = tuple(argv[1:]), config.parameters
    match config.match:
        case Match.EXACT:
            return given == wanted
        case Match.PARTIAL:
            return given[: len(wanted)] == wanted
        case Match.INITIAL:
            if not wanted:
                return not given
            return len(given) == len(wanted) and given[:-1] == wanted[:-1] and given[-1].startswith(wanted[-1])
    return True


class ProcessState(msgspec.Struct, frozen=True):
    """Where a tracked process stands. `up` is None before the first count; `due_at`: when another verdict counts."""

    count: int = 0
    up: bool | None = None
    due_at: Nanoseconds | None = None


def enough(config: ProcessConfig, count: int) -> bool:
    """Whether so many processes are as many as they should be."""
    return config.quorum <= count and (config.quorum_max is None or count <= config.quorum_max)


def counted(config: ProcessConfig, state: ProcessState, count: int, now: Nanoseconds) -> ProcessState:
    """So many processes match now."""
    up = enough(config, count)
    if state.up is None or up == state.up:
        return ProcessState(count, up)
    delay = config.fork_delay_ns if up else config.terminate_delay_ns
    if not delay:
        return ProcessState(count, up)
    return ProcessState(count, state.up, now + delay if state.due_at is None else state.due_at)


def due(config: ProcessConfig, state: ProcessState, now: Nanoseconds) -> ProcessState:
    """A delay may be over."""
    if state.due_at is None or now < state.due_at:
        return state
    return ProcessState(state.count, enough(config, state.count))


def detail(config: ProcessConfig, count: int) -> str:
    """`2 running, 1 needed`, in words for people."""
    limits = [f"{config.quorum} needed"] if config.quorum else []
    if config.quorum_max is not None:
        limits.append(f"at most {config.quorum_max}" if config.quorum_max else "none allowed")
    return ", ".join([f"{count} running", *limits])
