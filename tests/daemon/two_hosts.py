"""Two hosts with holdfast, a client, and the wire recorded: what the fault tests have in common."""

import itertools
import signal
import subprocess
import time
from collections.abc import Callable

from holdfast.lab.ask import who_answers
from holdfast.lab.capture import Advert
from holdfast.lab.daemons import holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, NotInTimeError, Spawned, descendants, wait_until

VIP = "192.0.2.100"
CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    version 3
    virtual_router_id 51
    priority %d
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.100/24
    }
    %s
}
"""
BOOT_S = 8.0


class Site:
    """Two hosts with holdfast, one client, and the wire recorded."""

    def __init__(
        self, lab: Lab, more: str | Callable[[Host], str] = "", alone: bool = False, head: str = ""
    ) -> None:
        """`more`: lines for the instance, the same on both hosts or made for each; `head`: lines before it."""
        self.lab = lab
        self.head, self.more = head, more
        self.a, self.b, self.client = lab.host("a"), lab.host("b"), lab.host("client")
        self.overlap_s = 0.0  # the longest time in which both hosts were seen to hold the address
        self.wire = lab.capture(frozenset((112, 0x0806)))
        self.first = start_holdfast(self.a, self.text(self.a, 150))
        wait_until(lambda: self.a.holds(VIP), BOOT_S, "a is master")
        if not alone:
            self.second = start_holdfast(self.b, self.text(self.b, 100))
            wait_until(lambda: state(self.b) == "BACKUP", BOOT_S, "b is BACKUP", step=0.05)

    def text(self, host: Host, priority: int) -> str:
        """The configuration of `host`."""
        return self.head + CONFIGURATION % (priority, self.more if isinstance(self.more, str) else self.more(host))

    def reload(self, host: Host, text: str) -> None:
        """Give the daemon of `host` another configuration, and wait until it runs it."""
        host.write("keepalived.conf", text)
        daemon = self.first if host is self.a else self.second
        before = daemon.text().count("Reloaded: ")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: daemon.text().count("Reloaded: ") > before, 5, f"{host.name} has reloaded")

    def adverts(self, host: Host, after_ns: int = 0) -> list[Advert]:
        return [a for a in self.wire.adverts() if a.source == host.ip4 and a.time_ns > after_ns]

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """As `wait_until`, but both hosts are asked all the time whether they hold the address; see `overlap_s`."""
        begun, both_since = time.monotonic(), 0.0
        while not condition():
            now = time.monotonic()
            if now - begun > seconds:
                raise NotInTimeError(f"not within {seconds:g} s: {what}")
            if self.a.holds(VIP) and self.b.holds(VIP):
                both_since = both_since or now
                self.overlap_s = max(self.overlap_s, time.monotonic() - both_since)
            else:
                both_since = 0.0
            time.sleep(0.001)

    def only(self, host: Host, seconds: float = BOOT_S) -> None:
        """Within `seconds` only `host` answers for the address, and only it holds it."""
        others = [other for other in (self.a, self.b) if other is not host]
        wait_until(
            lambda: (
                who_answers(self.client, VIP, 0.02) == {host.mac}
                and host.holds(VIP)
                and not any(other.holds(VIP) for other in others)
            ),
            seconds,
            f"only {host.name} owns {VIP}",
        )

    def longest_gap_s(self, host: Host, since_ns: int) -> float:
        """The longest time between two adverts of `host` since `since_ns`."""
        times = [a.time_ns for a in self.adverts(host, since_ns)]
        return max(later - earlier for earlier, later in itertools.pairwise(times)) / 1e9

    def goes_on(self, host: Host, count: int) -> None:
        """`count` more adverts come from `host`."""
        since = time.time_ns()
        wait_until(lambda: len(self.adverts(host, since)) >= count, 0.2 * count + 3, f"{count} adverts of {host.name}")


def state(host: Host) -> str:
    """The state of the only instance as `holdfast status --json` gives it; "" while no daemon answers."""
    try:
        return str(holdfast_status(host)["instances"][0]["state"])
    except (subprocess.CalledProcessError, IndexError):
        return ""


def worker_of(daemon: Spawned) -> int:
    """The process that speaks VRRP: the supervisor's only lasting child."""
    seen: list[int] = []

    def one() -> bool:
        seen[:] = descendants(daemon.pid)
        return len(seen) == 1

    wait_until(one, 5, "one worker")
    return seen[0]


def written_state(host: Host, name: str) -> str:
    """What the state file of `host` says of an instance; "" when nothing."""
    path = host.run("sh", "-c", "cat /run/holdfast/state 2>/dev/null; true")
    return next((line.split()[2] for line in path.splitlines() if line.split()[1] == name), "")


def teller(host: Host, name: str = "notify") -> tuple[str, Callable[[], list[str]]]:
    """A notify script that writes its arguments down, and what it has written so far."""
    told = host.directory / f"{name}.told"
    path = host.write(name, f'#!/bin/sh\necho "$*" >> {told}\n', 0o755)
    return path, lambda: told.read_text().splitlines() if told.exists() else []
