"""The page open by ten clients: what that costs the process that elects. With and without, in turn, of one daemon."""

import contextlib
import signal
import sys
import time
from pathlib import Path

from bench.load import COUNT, gaps_ms, start_fake_master
from bench.measure import cpu_seconds, median, percentile, pss_mb
from bench.sites import Site, configuration, site
from bench.table import Measured
from holdfast.lab.daemons import holdfast_command, source_environment
from holdfast.lab.hosts import wait_until

PORT = 9650
CLIENTS = 10
INTERVAL_S = 1.0
HEAD = f"{COUNT} at 1 s, page open by {CLIENTS}"
MASTER_CPU, BACKUP_CPU = f"{HEAD}: CPU of the vrrp worker as master, beyond that", f"{HEAD}: the same as backup"
MEMORY = f"{HEAD}: PSS of the vrrp worker, of that without"
LATER = f"{HEAD}: advert lateness p99, beyond that"


class Phases:
    """What was measured with and without onlookers."""

    def __init__(self) -> None:
        self.cpu: dict[bool, list[float]] = {True: [], False: []}  # ms a second
        self.web_cpu: list[float] = []
        self.gaps: dict[bool, list[float]] = {True: [], False: []}
        self.pss: dict[bool, list[float]] = {True: [], False: []}
        self.web_pss: list[float] = []


def _names(where: Site) -> dict[str, int]:
    found = {}
    for pid in where.processes():
        with contextlib.suppress(OSError):  # one that was there for a moment
            found[Path(f"/proc/{pid}/comm").read_text().strip()] = pid
    return found


def _environment() -> dict[str, str]:
    environment = source_environment()
    environment["PYTHONPATH"] += ":" + ":".join(path for path in sys.path if path)
    return environment


def _phase(where: Site, found: Phases, seen: bool, seconds: float, listens: bool) -> None:
    names = _names(where)
    vrrp, web = names["holdfast_vrrp"], names["holdfast_web"]
    clients = None
    if seen:
        words = (sys.executable, "-m", "bench.onlookers", str(PORT), str(CLIENTS))
        clients = where.router.spawn(*words, environment=_environment())
        time.sleep(3)
    capture = where.listen(where.peer, frozenset((112,))) if listens else None
    used, web_used, begun = cpu_seconds([vrrp]), cpu_seconds([web]), time.monotonic()
    time.sleep(seconds)
    span_s = time.monotonic() - begun
    found.cpu[seen].append((cpu_seconds([vrrp]) - used) / span_s * 1000)
    found.pss[seen].append(pss_mb([vrrp]))
    if capture is not None:
        capture.drain()
        found.gaps[seen] += [gap - INTERVAL_S * 1000 for gap in gaps_ms(capture)]
        capture.close()
    if clients is not None:
        found.web_cpu.append((cpu_seconds([web]) - web_used) / span_s * 1000)
        found.web_pss.append(pss_mb([web]))
        assert clients.alive(), clients.text()
        clients.signal(signal.SIGKILL)
        time.sleep(2)


def _phases(where: Site, seconds: float, rounds: int, listens: bool) -> Phases:
    found = Phases()
    for turn in range(rounds):
        for seen in (False, True) if turn % 2 == 0 else (True, False):
            _phase(where, found, seen, seconds, listens)
    return found


def _start(where: Site, priority: int) -> None:
    path = where.router.write("keepalived.conf", configuration(COUNT, priority, INTERVAL_S))
    words = holdfast_command("run", "-f", path, "--run-dir", "/run/holdfast", "--web", f"127.0.0.1:{PORT}")
    where.router.spawn(*words, environment=source_environment())
    wait_until(lambda: {"holdfast_vrrp", "holdfast_web"} <= _names(where).keys(), 20, "both workers run")


def page(products: list[str], seconds: float, rounds: int) -> Measured:
    """1,000 instances, with and without ten clients that hold the event stream and scrape every 5 s."""
    if "holdfast" not in products:
        return {product: [] for product in products}
    with site() as where:
        _start(where, 200)
        where.settled(COUNT)
        time.sleep(6)  # the second round of gratuitous ARP belongs to the start
        found = _phases(where, seconds, rounds, True)
    with site() as where:
        start_fake_master(where, COUNT, 250, INTERVAL_S)
        _start(where, 100)
        time.sleep(3 * INTERVAL_S + 5)
        assert where.held() == 0, "a backup beside a living master holds addresses"
        behind = _phases(where, seconds, rounds, False)
    late = {seen: percentile(gaps, 99) for seen, gaps in found.gaps.items()}
    return {
        "holdfast": [
            (f"{COUNT} at 1 s, nobody looks: CPU of the vrrp worker as master", "ms/s", median(found.cpu[False])),
            (MASTER_CPU, "ms/s", median(found.cpu[True]) - median(found.cpu[False])),
            (f"{COUNT} at 1 s, nobody looks: CPU of the vrrp worker as backup", "ms/s", median(behind.cpu[False])),
            (BACKUP_CPU, "ms/s", median(behind.cpu[True]) - median(behind.cpu[False])),
            (MEMORY, "×", median(found.pss[True]) / median(found.pss[False])),
            (f"{COUNT} at 1 s, nobody looks: advert lateness p99", "ms late", late[False]),
            (LATER, "ms", late[True] - late[False]),
            (f"{HEAD}: latest advert", "ms late", max(found.gaps[True])),
            (f"{HEAD}: CPU of the web worker", "ms/s", median(found.web_cpu)),
            (f"{HEAD}: PSS of the web worker", "MB", median(found.web_pss)),
        ]
    }
