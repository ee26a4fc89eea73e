"""One instance: how soon after its deadline a backup takes over, and whether it ever does so without cause."""

import select
import signal
import socket
import time

from bench.fake_master import advert
from bench.load import address_times
from bench.measure import median, ordinary_scheduling, percentile, realtime_scheduling
from bench.sites import STARTERS, Site, configuration, cores, site, vip
from bench.table import Measured
from holdfast.lab.capture import Capture, advert_of
from holdfast.lab.hosts import Lab, wait_until

PRIORITY = 200


def deadlines(products: list[str], interval_s: float, rounds: int) -> Measured:
    """From the deadline (last advert heard + Master_Down_Interval) to the address and to the first gratuitous ARP."""
    measured: Measured = {}
    for product in products:
        with site() as where:
            where.start(product, configuration(1, PRIORITY, interval_s))
            where.settled(1)
            to_address, to_garp = _rounds(where, interval_s, rounds)
        name = f"take-over at {interval_s * 1000:g} ms"
        measured[product] = [
            (f"{name}: deadline to address, median", "ms", median(to_address)),
            (f"{name}: deadline to address, p99", "ms", percentile(to_address, 99)),
            (f"{name}: deadline to first GARP, median", "ms", median(to_garp)),
            (f"{name}: deadline to first GARP, p99", "ms", percentile(to_garp, 99)),
        ]
    return measured


def _rounds(where: Site, interval_s: float, rounds: int) -> tuple[list[float], list[float]]:
    """(deadline → address, deadline → GARP) in ms, a value a round."""
    sender = where.advert_socket(0)
    octets = advert(0, 1, 255, interval_s)
    heard = where.listen(where.router, frozenset((112,)))
    said = where.listen(where.peer, frozenset((0x0806, 112)))
    monitor = where.address_monitor()
    down_ns = round((3 + (256 - PRIORITY) / 256) * interval_s * 1e9)
    to_address, to_garp = [], []
    realtime_scheduling()
    try:
        for _ in range(rounds):
            quiet = 0
            while quiet < 3:  # it has stepped down, and heard us since
                sender.sendto(octets, ("224.0.0.18", 0))
                time.sleep(min(interval_s, 0.1))  # more often than promised does no harm, and saves time
                quiet = 0 if where.held() else quiet + 1
            sender.sendto(octets, ("224.0.0.18", 0))
            heard.drain()
            said.drain()
            said.frames.clear()
            address_times(monitor)
            address_ns, garp_ns = _first_signs(monitor, said, 2 * down_ns / 1e9 + 1)
            heard.drain()
            last = max(frame.time_ns for frame in heard.frames if frame.octets[29] == 2)
            heard.frames.clear()
            to_address.append((address_ns - last - down_ns) / 1e6)
            to_garp.append((garp_ns - last - down_ns) / 1e6)
            time.sleep(min(interval_s, 0.03))
    finally:
        ordinary_scheduling()
    return to_address, to_garp


def _first_signs(monitor: socket.socket, said: Capture, seconds: float) -> tuple[int, int]:
    """When the address came, and when it was first announced."""
    address_ns = garp_ns = 0
    end = time.monotonic() + seconds
    while not (address_ns and garp_ns):
        assert time.monotonic() < end, "nobody took over"
        select.select([monitor.fileno(), said.fileno()], [], [], 1)
        if not address_ns:
            address_ns = next(iter(address_times(monitor)), 0)
        garp_ns = next((seen.time_ns for seen in said.announcements() if seen.address == vip(0, 1)), 0)
    return address_ns, garp_ns


def false_take_overs(products: list[str], seconds: float) -> Measured:
    """Two routers at 10 ms with a busy process on each core: how often the backup led without cause."""
    measured: Measured = {}
    for product in products:
        with Lab() as lab:
            measured[product] = [_false_take_overs(lab, product, seconds)]
    return measured


def _false_take_overs(lab: Lab, product: str, seconds: float) -> tuple[str, str, float]:
    master, backup = lab.host("master"), lab.host("backup")
    text = configuration(1, PRIORITY, 0.01).replace("interface x0", "interface eth0")
    STARTERS[product](master, text)
    wait_until(lambda: master.holds(vip(0, 1)), 20, "the master leads")
    STARTERS[product](backup, text.replace(f"priority {PRIORITY}", "priority 100"))
    time.sleep(1)
    capture = lab.capture(frozenset((112,)))
    busy = [lab.host(f"busy{n}").spawn("sh", "-c", "while :; do :; done") for n in range(cores())]
    end = time.monotonic() + seconds
    count, leading = 0, False
    while time.monotonic() < end:
        capture.wait(0.1)
        for frame in capture.drain():
            seen = advert_of(frame)
            if seen is not None and seen.priority:
                count += seen.source == backup.ip4 and not leading
                leading = seen.source == backup.ip4
        capture.frames.clear()
    for process in busy:
        process.signal(signal.SIGKILL)
    return f"10 ms adverts beside busy cores, {seconds:g} s: false take-overs", "", float(count)
