"""Many instances: CPU as master and as backup, how late adverts are, memory, and what a reload disturbs."""

import signal
import socket
import struct
import sys
import time

from bench.measure import cpu_seconds, median, ordinary_scheduling, percentile, pss_mb, realtime_scheduling
from bench.sites import Site, configuration, site
from bench.table import Measured
from holdfast.lab.capture import Capture, advert_of
from holdfast.lab.daemons import source_environment
from holdfast.lab.hosts import Spawned, wait_until

COUNT = 1000


def start_fake_master(where: Site, count: int, priority: int, interval_s: float) -> Spawned:
    """The fake master, on the peer."""
    environment = source_environment()
    environment["PYTHONPATH"] += ":" + ":".join(path for path in sys.path if path)
    words = (sys.executable, "-m", "bench.fake_master", str(count), str(priority), str(interval_s))
    return where.peer.spawn(*words, environment=environment)


def _cpu_share(where: Site, seconds: float) -> float:
    """CPU of everything on the router in ms a second."""
    pids = where.processes()
    used, begun = cpu_seconds(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pids) - used) / (time.monotonic() - begun) * 1000


def gaps_ms(capture: Capture) -> list[float]:
    """The times between two adverts of one instance, over all instances."""
    last: dict[tuple[str, int], int] = {}
    found = []
    for frame in capture.frames:
        seen = advert_of(frame)
        if seen is None:
            continue
        key = (frame.port, seen.vrid)
        if key in last:
            found.append((seen.time_ns - last[key]) / 1e6)
        last[key] = seen.time_ns
    return found


def _watched(where: Site, seconds: float) -> list[float]:
    capture = where.listen(where.peer, frozenset((112,)))
    time.sleep(seconds)  # the kernel keeps and stamps the frames: reading them meanwhile would hold up the sender
    capture.drain()
    capture.close()
    return gaps_ms(capture)


def steady(products: list[str], interval_s: float, seconds: float) -> Measured:
    """1,000 instances in their steady state, as master and as backup."""
    measured: Measured = {}
    for product in products:
        rows = measured.setdefault(product, [])
        name = f"{COUNT} at {interval_s:g} s"
        with site() as where:
            where.start(product, configuration(COUNT, 200, interval_s))
            where.settled(COUNT)
            time.sleep(6)  # the second round of gratuitous ARP, 5 s after the first, belongs to the start
            share = _cpu_share(where, seconds)
            rows.append((f"{name}: CPU as master", "ms/s", share))
            rows.append((f"{name}: CPU an advert sent", "µs", share / COUNT * interval_s * 1000))
            gaps = _watched(where, seconds)
            rows.append((f"{name}: latest advert", "ms late", max(gaps) - interval_s * 1000))
            rows.append((f"{name}: advert lateness p99", "ms late", percentile(gaps, 99) - interval_s * 1000))
            rows.append((f"{name}: adverts sent", "of due", len(gaps) / (COUNT * (seconds / interval_s - 1))))
            rows.append((f"{name}: PSS as master", "MB", pss_mb(where.processes())))
        with site() as where:
            master = start_fake_master(where, COUNT, 250, interval_s)
            where.start(product, configuration(COUNT, 100, interval_s))
            time.sleep(3 * interval_s + 4)
            assert master.alive(), master.text()
            share = _cpu_share(where, seconds)
            assert where.held() == 0, "a backup beside a living master holds addresses"
            rows.append((f"{name}: CPU as backup", "ms/s", share))
            rows.append((f"{name}: CPU an advert heard", "µs", share / COUNT * interval_s * 1000))
    return measured


def reload(products: list[str], reloads: int, interval_s: float) -> Measured:
    """The longest advert gap while 1,000 unchanged instances are reloaded."""
    measured: Measured = {}
    for product in products:
        with site() as where:
            daemon = where.start(product, configuration(COUNT, 200, interval_s))
            where.settled(COUNT)
            time.sleep(6)
            worst = []
            for _ in range(reloads):
                capture = where.listen(where.peer, frozenset((112,)))
                time.sleep(0.5)
                daemon.signal(signal.SIGHUP)
                time.sleep(2.5 + 2 * interval_s)
                capture.drain()
                worst.append(max(gaps_ms(capture)) - interval_s * 1000)
                capture.close()
            assert where.held() == COUNT
        measured[product] = [
            (f"reload of {COUNT} at {interval_s:g} s: longest gap beyond the interval", "ms", max(worst)),
            (f"reload of {COUNT} at {interval_s:g} s: the same, median reload", "ms", median(worst)),
        ]
    return measured


def memory(products: list[str]) -> Measured:
    """PSS with one instance, as master."""
    measured: Measured = {}
    for product in products:
        with site() as where:
            where.start(product, configuration(1, 200, 1))
            where.settled(1)
            time.sleep(1)
            measured[product] = [("1 instance: PSS of all processes", "MB", pss_mb(where.processes()))]
    return measured


def together(products: list[str], rounds: int, interval_s: float) -> Measured:
    """1,000 instances whose master dies: from the first address (and announcement) to the last."""
    measured: Measured = {}
    for product in products:
        spread_vip, spread_garp, after = [], [], []
        for _ in range(rounds):
            with site() as where:
                vip_ms, garp_ms, late_ms = _one_fail_over(where, product, interval_s)
                spread_vip.append(vip_ms)
                spread_garp.append(garp_ms)
                after.append(late_ms)
        name = f"{COUNT} fail over together"
        measured[product] = [
            (f"{name}: first to last address", "ms", median(spread_vip)),
            (f"{name}: first to last instance's first GARP", "ms", median(spread_garp)),
            (f"{name}: deadline to last first GARP", "ms", median(after)),
        ]
    return measured


def _one_fail_over(where: Site, product: str, interval_s: float) -> tuple[float, float, float]:
    priority = 254
    master = start_fake_master(where, COUNT, 255, interval_s)
    where.start(product, configuration(COUNT, priority, interval_s))
    time.sleep(3 * interval_s + 3)
    assert where.held() == 0
    heard = where.listen(where.router, frozenset((112,)))
    said = where.listen(where.peer, frozenset((0x0806,)))
    monitor = where.address_monitor()
    heard.collect(2 * interval_s)
    realtime_scheduling()
    try:
        master.signal(signal.SIGKILL)
        times: list[int] = []
        down_s = 3 * interval_s + (256 - priority) / 256 * interval_s
        end = time.monotonic() + down_s + 6
        while time.monotonic() < end and len(times) < COUNT:
            time.sleep(0.0005)  # the kernel stamps the frames of `said`; addresses are read twice a millisecond
            times += address_times(monitor)
        time.sleep(0.5)
    finally:
        ordinary_scheduling()
        monitor.close()
    wait_until(lambda: where.held() == COUNT, 5, "all addresses")
    heard.drain()
    last_heard = max(f.time_ns for f in heard.frames if f.octets[26:30][3] == 2)
    first_garp: dict[str, int] = {}
    for announced in said.announcements():
        first_garp.setdefault(announced.address, announced.time_ns)
    assert len(first_garp) == COUNT, f"{len(first_garp)} of {COUNT} announced"
    deadline = last_heard + round(down_s * 1e9)
    return (
        (max(times) - min(times)) / 1e6,
        (max(first_garp.values()) - min(first_garp.values())) / 1e6,
        (max(first_garp.values()) - deadline) / 1e6,
    )


def address_times(monitor: socket.socket) -> list[int]:
    """When new addresses were told, one time an address (several share a read)."""
    found: list[int] = []
    while True:
        try:
            octets = monitor.recv(1 << 16)
        except BlockingIOError:
            return found
        now, at = time.time_ns(), 0
        while at + 16 <= len(octets):
            length, kind = struct.unpack_from("=IH", octets, at)
            if kind == 20:  # RTM_NEWADDR
                found.append(now)
            at += (length + 3) & ~3
