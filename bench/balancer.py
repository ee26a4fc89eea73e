"""Health checks beside keepalived's, in the user-mode kernel: how many are made, what each costs, and how soon.

The director is the user-mode kernel; the servers are one nginx outside, at the other end of a cable, which counts what
reaches it. So the CPU time of the user-mode kernel's processes on this machine is what the checks cost, with all that
the kernel does for them; inside, its clocks are too coarse to tell.
"""

import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.measure import cpu_seconds, percentile, pss_mb
from bench.table import Measured
from holdfast.kernel.namespaces import CLONE_NEWNET, unshare
from holdfast.lab.daemons import holdfast_command, keepalived
from holdfast.lab.hosts import descendants
from holdfast.lab.user_mode import run_inside

COUNT, MORE = 2000, 6000
A_SERVICE = 20
LONGEST_S = 120.0
SCALE_SERVICES, SCALE_SERVERS = 2277, 37205
SCALE = f"{SCALE_SERVERS} real servers in {SCALE_SERVICES} services"
IN_KERNEL = f"{COUNT} real servers: in the kernel after"
REMOVAL = "a dead server leaves (delay_loop 1 s, one retry after 1 s), median"
NETWORK = "10.1"  # a /16 that is all this host's own

NGINX = """
daemon off; error_log /dev/null; pid {place}/nginx.pid; worker_processes 1;
events {{ worker_connections 16384; multi_accept on; }}
http {{ access_log off; keepalive_timeout 0;
 server {{ listen 80 backlog=4096; location / {{ return 200 "fine\\n"; }} }}
 server {{ listen 127.0.0.1:81; location / {{ stub_status; }} }} }}
"""
CHECKS = {
    "TCP": "TCP_CHECK {\n connect_timeout 3\n }",
    "HTTP": "HTTP_GET {\n url {\n path /\n status_code 200\n }\n connect_timeout 3\n }",
}
INSTANCE = """
vrrp_instance beside {
 interface here
 virtual_router_id 7
 version 3
 advert_int 0.1
 virtual_ipaddress {
 192.0.2.77/32
 }
}
"""


def configuration(check: str, servers: int, delay_s: float = 1, services: int = 0) -> str:
    """So many servers, spread over services of A_SERVICE each (or over so many services)."""
    services = services or -(-servers // A_SERVICE)
    lines: list[str] = []
    for number in range(services):
        first, last = servers * number // services, servers * (number + 1) // services
        lines.append(f"virtual_server 192.0.{number // 250}.{number % 250 + 1} 80 {{\n delay_loop {delay_s:g}\n"
                     " lvs_sched rr\n lvs_method NAT\n protocol TCP\n retry 1\n delay_before_retry 1")  # fmt: skip
        for one in range(first, last):
            lines.append(f" real_server {address(one)} 80 {{\n {CHECKS[check]}\n }}")
        lines.append("}")
    return "\n".join(lines) + "\n"


def address(number: int) -> str:
    """The address of a server."""
    return f"{NETWORK}.{number // 250}.{number % 250 + 1}"


CARD = "vec0:transport=tap,ifname=tap0,depth=128"
OUTSIDE, INSIDE_ADDRESS = "10.99.0.1", "10.99.0.2"


class Servers:
    """This process's network namespace: servers at every address of NETWORK, and the end of the cable."""

    def __init__(self, place: Path) -> None:
        unshare(CLONE_NEWNET)
        for words in (
            "link set lo up",
            f"route add local {NETWORK}.0.0/16 dev lo",
            "tuntap add tap0 mode tap",
            f"addr add {OUTSIDE}/24 dev tap0",
            "link set tap0 txqueuelen 20000 up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        Path("/proc/sys/net/core/somaxconn").write_text("4096")
        (place / "nginx.conf").write_text(NGINX.format(place=place))
        self.nginx = subprocess.Popen(["nginx", "-c", str(place / "nginx.conf")], stderr=subprocess.DEVNULL)
        until(_answers, 20)
        self._asked = 0

    def served(self) -> int:
        """How many connections the servers have taken, our own questions left out."""
        with urllib.request.urlopen("http://127.0.0.1:81/", timeout=20) as page:
            self._asked += 1
            return int(page.read().split()[7]) - self._asked


def cable() -> None:
    """The director's end of the cable, and one for its adverts."""
    for words in (
        "link set lo up",
        f"addr add {INSIDE_ADDRESS}/24 dev vec0",
        "link set vec0 txqueuelen 20000 up",
        f"route add {NETWORK}.0.0/16 via {OUTSIDE}",
        "link add here up type veth peer name there",
        "link set there up",
        "addr add 192.0.2.76/24 dev here",
    ):
        subprocess.run(["ip", *words.split()], check=True)


def start(place: Path, product: str, text: str) -> "subprocess.Popen[bytes]":
    """The product with this configuration."""
    path = place / "lb.conf"
    path.write_text(text)
    if product == "keepalived":
        command = [keepalived(), "-n", "-G", "-f", str(path), "-p", f"{place}/k.pid", "-c", f"{place}/c.pid",
                   "-r", f"{place}/v.pid"]  # fmt: skip
    else:
        command = [*holdfast_command("run", "-f", str(path), "--run-dir", f"{place}/run", "--log-file", f"{place}/log")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _answers() -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", 81)) == 0


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for a condition; the seconds that took, nan when it never came."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            return float("nan")
        time.sleep(0.01)
    return time.monotonic() - begun


def in_kernel() -> int:
    """How many real servers the kernel has."""
    try:
        return Path("/proc/net/ip_vs").read_text().count("  -> ") - 1
    except OSError:
        return 0


def _at_most(count: int) -> bool:
    return in_kernel() <= count


def processes(daemon: "subprocess.Popen[bytes]") -> list[int]:
    """The daemon's processes."""
    return [daemon.pid, *descendants(daemon.pid)]


def steady(place: Path, product: str, check: str, asked: int, told: Path) -> dict[str, float]:
    """Inside: run the checks until the file `told` is there; adverts beside them, memory."""
    daemon = start(place, product, configuration(check, asked) + INSTANCE)
    found = {"in kernel": until(lambda: in_kernel() >= asked, 60)}
    lateness = Adverts()
    until(lambda: lateness.watch(1) or told.exists(), LONGEST_S)
    found["late"] = lateness.latest_ms()
    found["pss"] = pss_mb(processes(daemon))
    found["alive"] = in_kernel()
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(60)
    return found


class Adverts:
    """The adverts that reach the other end of the cable: how far apart they are."""

    def __init__(self) -> None:
        self._ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._ear.bind(("there", 0x0800))
        self._ear.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self._times: list[float] = []

    def watch(self, seconds: float) -> bool:
        """Listen for so long; False, for it is never enough."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._ear.settimeout(left)
            try:
                _, ancillary, _, _ = self._ear.recvmsg(256, 64)
            except TimeoutError:
                break
            for _, _, octets in ancillary:
                whole, part = struct.unpack("=qq", octets[:16])
                self._times.append(whole + part / 1e9)
        return False

    def latest_ms(self) -> float:
        """The worst of the intervals, less the interval itself."""
        gaps = [after - before for before, after in zip(self._times, self._times[1:], strict=False)]
        return max((percentile(gaps, 99) - 0.1) * 1000, 0.0) if gaps else float("nan")


def removal(place: Path, product: str, tries: int) -> dict[str, float]:
    """How long a server that stops answering stays in the kernel, with a delay_loop of 1 s and one retry after 1 s."""
    daemon = start(place, product, configuration("TCP", 40))
    until(lambda: in_kernel() >= 40, 30)
    time.sleep(2.5)
    spans = []
    for number in range(tries):
        gone = address(number)
        subprocess.run(["ip", "route", "add", "unreachable", f"{gone}/32"], check=True)
        spans.append(until(partial(_at_most, 39 - number), 10))
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(30)
    return {"median": statistics.median(spans)}


def scale(place: Path, product: str) -> dict[str, float]:
    """The published production size: how long until it is in the kernel, and what it takes."""
    text = configuration("TCP", SCALE_SERVERS, 600, SCALE_SERVICES)
    daemon = start(place, product, text)
    found = {"loaded": until(lambda: in_kernel() >= SCALE_SERVERS, 240)}
    time.sleep(3)
    pids = processes(daemon)
    found["pss"] = pss_mb(pids)
    before = cpu_seconds(pids)
    daemon.send_signal(signal.SIGHUP)
    time.sleep(25)
    found["reload"] = cpu_seconds(processes(daemon)) - before
    found["alive"] = in_kernel()
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(120)
    return found


def inside(words: list[str]) -> None:
    """One measurement, in the user-mode kernel; a JSON document."""
    what, product, *rest = words
    cable()
    with tempfile.TemporaryDirectory(dir="/run") as name:
        place = Path(name)
        if what == "steady":
            found = steady(place, product, rest[0], int(rest[1]), Path(rest[3]))
        elif what == "removal":
            found = removal(place, product, int(rest[0]))
        else:
            found = scale(place, product)
    print("RESULT " + json.dumps(found), flush=True)


def outside(words: list[str]) -> None:
    """One measurement, from outside: the servers, the user-mode kernel, what it uses; a JSON document."""
    with tempfile.TemporaryDirectory() as name:
        servers = Servers(Path(name))
        enough = Path(name, "enough")
        output: list[str] = []

        def boot() -> None:
            command = [sys.executable, "-m", "bench.balancer", "inside", *words, str(enough)]
            output.append(run_inside(command, memory="2G", timeout_s=500, boot_words=[CARD])[1])

        booted = threading.Thread(target=boot)
        booted.start()
        found: dict[str, float] = {}
        if words[0] == "steady":
            seconds = float(words[4])
            until(lambda: servers.served() > 2 * int(words[3]), 30)  # two rounds: it is in its stride
            director = [pid for pid in descendants(os.getpid()) if pid not in (servers.nginx.pid, *_of(servers))]
            made, used, begun = servers.served(), cpu_seconds(director), time.monotonic()
            time.sleep(seconds)
            made, used, span = servers.served() - made, cpu_seconds(director) - used, time.monotonic() - begun
            found = {"made": made / span, "cpu": used / max(made, 1) * 1e6, "busy": used / span}
            enough.touch()
        booted.join()
        servers.nginx.terminate()
        servers.nginx.wait()
    told = [line[7:] for line in output[0].splitlines() if line.startswith("RESULT ")]
    if not told:
        raise RuntimeError(output[0][-2000:])
    print("RESULT " + json.dumps(json.loads(told[0]) | found), flush=True)


def _of(servers: Servers) -> list[int]:
    return descendants(servers.nginx.pid)


def measured(*words: str) -> dict[str, float]:
    """One measurement, in a process (and a network) of its own."""
    done = subprocess.run([sys.executable, "-m", "bench.balancer", "outside", *words], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line[7:]))
    raise RuntimeError(f"{words}: {done.stdout[-1000:]} {done.stderr[-2000:]}")


def balancer(products: list[str], seconds: float) -> Measured:
    """All of it, for the products."""
    return {product: list(_rows(product, seconds)) for product in products}


def _rows(product: str, seconds: float) -> Iterator[tuple[str, str, float]]:
    for check in CHECKS:
        one = measured("steady", product, check, str(COUNT), str(seconds))
        if check == "TCP":
            yield IN_KERNEL, "s", one["in kernel"]
            yield f"{COUNT} real servers: PSS of all processes", "MB", one["pss"]
        name = f"{COUNT} {check} checks a second asked"
        yield f"{name}: made", "1/s", one["made"]
        yield f"{name}: CPU a check", "µs", one["cpu"]
        yield f"{name}: advert lateness beside them, p99", "ms late", one["late"]
        more = measured("steady", product, check, str(MORE), str(seconds))
        yield f"{MORE} {check} checks a second asked: made", "1/s", more["made"]
    yield REMOVAL, "s", measured("removal", product, "5")["median"]
    whole = measured("scale", product)
    yield f"{SCALE}: in the kernel after", "s", whole["loaded"]
    yield f"{SCALE}: PSS of all processes", "MB", whole["pss"]
    yield f"{SCALE}: CPU of a reload that changes nothing", "s", whole["reload"]


if __name__ == "__main__":
    {"inside": inside, "outside": outside}[sys.argv[1]](sys.argv[2:])
