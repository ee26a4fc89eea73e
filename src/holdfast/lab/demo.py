"""The main job, shown: hosts made on this machine keep one address alive while their master dies (`make demo`).

Every line printed has happened; the first thing that does not happen ends the demo with 1.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable

from holdfast.base.time import span_text
from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_state, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, NotInTimeError, Spawned, wait_until
from holdfast.lab.namespaces import NamespacesRefusedError, become_root_inside, check_allowed
from holdfast.lab.probe import Probe, Report

VIP = "192.0.2.100"
_CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    version 3
    virtual_router_id 51
    priority %d
    advert_int 0.1
    virtual_ipaddress {
        %s/24
    }
}
"""
_PATIENCE_S = 10.0


class NotShownError(Exception):
    """Something the demo was to show did not happen."""


class Screen:
    """Prints the steps as they happen, with the time since the start; colour only on a terminal."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._begun = time.monotonic()

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def title(self, text: str) -> None:
        """A heading."""
        print(f"\n{self._painted(text, '1')}", flush=True)

    def fact(self, text: str, good: bool = True) -> None:
        """One thing that has just happened."""
        mark = self._painted("✓" if good else "✗", "32" if good else "31")
        print(f"  {time.monotonic() - self._begun:6.2f} s  {mark} {text}", flush=True)

    def plain(self, text: str) -> None:
        """An explanation."""
        print(f"            {self._painted(text, '2')}", flush=True)

    def text(self, text: str) -> None:
        """Text as it is."""
        print(text, flush=True)

    def strong(self, text: str) -> str:
        """`text`, standing out on a terminal."""
        return self._painted(text, "1;36")


class Demo:
    """The steps, on one lab."""

    def __init__(self, lab: Lab, screen: Screen, start: Callable[[Host, str], Spawned], has_status: bool) -> None:
        self.lab, self.screen, self._start, self._has_status = lab, screen, start, has_status
        self.a, self.b, self.c = lab.host("a"), lab.host("b"), lab.host("c")
        self.client = lab.host("client")
        self.priorities = {"a": 150, "b": 100, "c": 120}
        self.daemons: dict[str, Spawned] = {}
        self.gaps: list[tuple[str, Report]] = []

    def start(self, host: Host) -> None:
        """Start the daemon on `host`."""
        priority = self.priorities[host.name]
        self.daemons[host.name] = self._start(host, _CONFIGURATION % (priority, VIP))
        self.screen.fact(f"host {host.name} ({host.ip4}) starts, priority {priority}")

    def alone(self, master: Host) -> None:
        """Show that `master`, and nobody else, owns the address: on its interface, on the wire, in its words."""
        daemon = self.daemons[master.name]

        def owns() -> bool:
            if not daemon.alive():
                raise NotInTimeError(f"the daemon of host {master.name} has ended\n{daemon.text()}")
            return master.holds(VIP)

        wait_until(owns, _PATIENCE_S, f"host {master.name} holds {VIP}")
        running = [host for host in (self.a, self.b, self.c) if host.name in self.daemons]
        others = [host for host in running if host is not master]
        wait_until(lambda: not any(host.holds(VIP) for host in others), 2, f"only {master.name} holds {VIP}")
        wait_until(
            lambda: who_answers(self.client, VIP) == {master.mac}, _PATIENCE_S, f"only {master.mac} answers for {VIP}"
        )
        self.screen.fact(f"host {self.screen.strong(master.name)} is master: it alone answers for {VIP}")
        if self._has_status:
            for host in running:
                self._say_state(host, "MASTER" if host is master else "BACKUP")

    def _say_state(self, host: Host, wanted: str) -> None:
        wait_until(
            lambda: holdfast_state(host) == wanted, 5, f"`holdfast status` on host {host.name} says {wanted}", step=0.1
        )
        self.screen.plain(f"holdfast status on {host.name}: web {wanted}, priority {self.priorities[host.name]}")

    def moved(self, what: str, act: Callable[[], None], to: Host) -> None:
        """Do `act` while the client asks a thousand times a second; show who answers afterwards, and the gap."""
        probe = Probe(self.client, VIP)
        wait_until(lambda: (seen := probe.now()) is not None and seen.answered > 20, _PATIENCE_S, f"{VIP} answers")
        act()
        probe.answered_by(to.mac, _PATIENCE_S)
        wait_until(
            lambda: (seen := probe.now()) is not None and seen.answerers[-1].answers > 50, 5, f"{VIP} answers on"
        )
        report = probe.finish()
        self.gaps.append((what, report))
        gap = self.screen.strong(span_text(report.outage_ns))
        self.screen.fact(
            f"the address has moved to host {to.name}; gap {gap} ({report.outage_lost} of {report.sent} probes lost)"
        )

    def kill_master(self) -> None:
        """The master loses power."""
        self.screen.title("The master dies (power off: its processes killed, its cable dead)")

        def die() -> None:
            self.a.power_off()
            del self.daemons["a"]
            self.screen.fact("host a is dead")

        self.moved("master killed", die, self.b)
        self.screen.plain("what VRRP allows: 3 adverts of 100 ms missed, and a little for the lower priority: 361 ms")
        self.alone(self.b)

    def third_host(self) -> None:
        """A third, better host joins; then the first one comes back."""
        self.screen.title("A third host joins, with a higher priority than the one now in charge")
        self.moved("hand-over to a better host", lambda: self.start(self.c), self.c)
        self.alone(self.c)
        self.screen.title("The dead host is repaired")

        def repair() -> None:
            self.a.power_on()
            self.start(self.a)

        self.moved("repaired host takes over", repair, self.a)
        self.alone(self.a)

    def clean_stop(self) -> None:
        """The master is stopped as an administrator would."""
        self.screen.title("The master is stopped politely (SIGTERM)")

        def stop() -> None:
            self.daemons["a"].signal(signal.SIGTERM)

        self.moved("clean stop", stop, self.c)
        status = self.daemons.pop("a").wait(5)
        if status != 0:
            raise NotShownError(f"host a's daemon ended with {status}, not 0")
        if self.a.holds(VIP):
            raise NotShownError(f"host a stopped but still has {VIP}")
        self.alone(self.c)

    def end(self) -> None:
        """Everything stops; nothing stays."""
        self.screen.title("Everything stops")
        for name in sorted(self.daemons):
            self.daemons[name].signal(signal.SIGTERM)
        for name in sorted(self.daemons):
            self.daemons[name].wait(5)
        left = [host.name for host in (self.a, self.b, self.c) if host.holds(VIP) or host.processes()]
        if left:
            raise NotShownError(f"something was left behind on host {', '.join(left)}")
        self.screen.fact(f"{VIP} is on no host, and no process is left")

    def run(self) -> None:
        """All steps."""
        self.screen.title(f"Two hosts, one address: {VIP}")
        self.start(self.a)
        self.start(self.b)
        self.alone(self.a)
        self.kill_master()
        self.third_host()
        self.clean_stop()
        self.end()


def _closing(screen: Screen, demo: Demo) -> None:
    screen.title("How long nobody answered, measured by a client asking 1,000 times a second")
    for what, report in demo.gaps:
        screen.text(f"  {what:<28} {span_text(report.outage_ns):>10}   {report.outage_lost:4} probes lost in the gap")
    screen.title("Next")
    screen.text("  holdfast check /etc/keepalived/keepalived.conf   what it makes of your own configuration")
    screen.text(
        "  holdfast run -f FILE                             the daemon; needs root or CAP_NET_ADMIN and CAP_NET_RAW"
    )
    screen.text("  README.md                                        how to put it on two real hosts")


def main() -> int:
    """0 when everything was really seen, 1 when something was not, or the machine does not allow it."""
    words = argparse.ArgumentParser(prog="demo", description=__doc__)
    words.add_argument("--daemon", choices=("holdfast", "keepalived"), default="holdfast", help="who plays the routers")
    chosen = words.parse_args()
    with contextlib.suppress(AttributeError, OSError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    screen = Screen()
    try:
        check_allowed()
        become_root_inside()
    except NamespacesRefusedError as refusal:
        print(f"demo: {refusal}", file=sys.stderr)
        return 1
    ours = chosen.daemon == "holdfast"
    try:
        with Lab() as lab:
            demo = Demo(lab, screen, start_holdfast if ours else start_keepalived, has_status=ours)
            try:
                demo.run()
            except (NotInTimeError, NotShownError, AssertionError) as failure:
                screen.fact(str(failure), good=False)
                kept = lab.directory.with_name(lab.directory.name + "-failed")
                shutil.copytree(lab.directory, kept)
                print(f"demo: did not work out; the hosts' logs are in {kept}", file=sys.stderr)
                return 1
            _closing(screen, demo)
    except KeyboardInterrupt:
        print("demo: interrupted; everything it made is gone", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
