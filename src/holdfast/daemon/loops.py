"""Which loops there are, whether each turns, and how late: read from their pages, so that no worker need answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.edge.channel import AskRoutine
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.pulse import Counted, Pulse

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

SILENT: Nanoseconds = 5 * SECOND
"""A loop that gave no sign of life for so long does not turn: each gives one at least every 4 s."""


class LoopView(msgspec.Struct, frozen=True, kw_only=True):
    """One loop: `why` says what is wrong, "" while it turns."""

    name: str  # supervisor, vrrp, lvs
    pid: int
    silent_s: float
    why: str = ""
    cure: str = ""
    lag: Counted
    advert_lateness: Counted | None = None  # of the one that sends adverts


def stopped(pid: int) -> bool:
    """Whether a process is stopped or traced."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False


def worker_loop(name: str, pid: int, pulse: Pulse, started_at: Nanoseconds, now: Nanoseconds) -> LoopView:
    """A worker's loop as it stands at `now`."""
    silent = max(now - max(pulse.at, started_at), 0)
    why = cure = ""
    if stopped(pid):
        why, cure = f"the {name} worker (pid {pid}) is stopped", f"let it go on: kill -CONT {pid}"
    elif silent > SILENT:
        why = f"the {name} worker (pid {pid}) gave no sign of life for {silent / SECOND:.0f} s"
        cure = "look at the log and at the load of this host; the vrrp worker is ended after 10 s, and begun again"
    lateness = pulse.lateness() if name == "vrrp" else None
    return LoopView(
        name=name, pid=pid, silent_s=round(silent / SECOND, 3), why=why, cure=cure, lag=pulse.lag(),
        advert_lateness=lateness,
    )  # fmt: skip


def loops(here: "Supervisor") -> list[LoopView]:
    """Every loop there is now."""
    now, pid = monotonic_ns(), here.pid
    found = [LoopView(name="supervisor", pid=pid, silent_s=0.0, lag=here.pulse.lag())]
    if here.worker is not None:
        found.append(worker_loop("vrrp", here.worker.pid, here.worker_pulse, here.worker.started_at, now))
    balancing = here.balancing
    if balancing.running:
        found.append(worker_loop("lvs", balancing.pid, balancing.pulse, balancing.started_at, now))
    return found


def commands(here: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The commands of this module, by name.

    `routine`: what a status shows but for the instances, or as much as can be told while a loop stands still; and what
    carries the instances on (export/web/routine.py).
    """

    def routine(request: Request, reply: Reply) -> None:
        turning = loops(here)
        head = here.head(turning)
        if any(one.why for one in turning):
            reply.send(head)  # nobody waits for one that stands still
            return

        def answer(told: bytes | None) -> None:
            begun = head[:-1] + b',"routine":' + (told or b"null")
            here.balancing.ask(lambda services: reply.send(begun + b',"virtual_servers":' + (services or b"[]") + b"}"))

        here.ask_with(AskRoutine, answer)

    return {"routine": routine}
