"""`holdfast run` with virtual servers, from a plain keepalived.conf: real connections, servers that stop, a reload."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

VIP = "192.0.2.200"
SERVE = """
import socketserver, sys
class Who(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(sys.argv[1].encode() + b"\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("", 8080), Who).serve_forever()
"""
ASK = "import socket,sys\nfor n in range(int(sys.argv[2])):\n print(socket.create_connection((sys.argv[1], 80), 3).makefile().readline().strip())"
CONFIGURATION = """
virtual_server {vip} 80 {{
    delay_loop 0.3
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
    retry 1
    delay_before_retry 0.1
    connect_timeout 1
    quorum_down "{here}/note quorum down"
    quorum_up "{here}/note quorum up"
{servers}}}
"""
SERVER = """\
    real_server {address} 8080 {{
        weight {weight}
        notify_down "{here}/note {address} down"
        notify_up "{here}/note {address} up"
        TCP_CHECK {{
        }}
    }}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


class Site:
    """A director with the address, two servers behind it, a client."""

    def __init__(self, lab: Lab, ipvs: bool = True) -> None:
        self.director, self.one, self.two, self.client = (
            lab.host(name) for name in ("director", "one", "two", "client")
        )
        self.director.links.add_address("eth0", VIP, 32)
        self.director.sysctl("net/ipv4/ip_forward", "1")
        if ipvs:
            self.director.sysctl("net/ipv4/vs/conntrack", "0")
        self.director.sysctl("net/ipv4/conf/all/send_redirects", "0")
        self.director.sysctl("net/ipv4/conf/eth0/send_redirects", "0")
        for host in (self.one, self.two):  # answers go back through the director, also to a client beside them
            host.run("ip", "route", "replace", f"{self.client.ip4}/32", "via", self.director.ip4)
            host.sysctl("net/ipv4/conf/all/accept_redirects", "0")
            host.sysctl("net/ipv4/conf/eth0/accept_redirects", "0")
        self.client.run("ip", "route", "replace", f"{VIP}/32", "via", self.director.ip4)
        self.servers = {host.name: self.serve(host) for host in (self.one, self.two)}
        self.notes = self.director.directory / "notes"
        self.director.write("note", f'#!/bin/sh\necho "$*" >> {self.notes}\n', 0o755)

    def serve(self, host: Host) -> Spawned:
        return host.spawn("/usr/bin/python3", "-c", SERVE, host.name)

    def text(self, *weights: int) -> str:
        here = str(self.director.directory)
        servers = "".join(
            SERVER.format(address=host.ip4, weight=weight, here=here)
            for host, weight in zip((self.one, self.two), weights, strict=False)
        )
        return CONFIGURATION.format(vip=VIP, servers=servers, here=here)

    def answers(self, count: int = 20) -> Counter[str]:
        return Counter(self.client.run("/usr/bin/python3", "-c", ASK, VIP, str(count)).split())

    def rules(self) -> list[str]:
        return self.director.run("ipvsadm", "-Sn").split("\n")[:-1]

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


def states(host: Host) -> list[str]:
    services = holdfast_status(host)["virtual_servers"]
    return [server["state"] for server in services[0]["real_servers"]] if services else []


def served(host: Host) -> int:
    return int(holdfast_status(host)["virtual_servers"][0]["connections"]["total"])


def soon(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, 12, what, step=0.1)


def test_connections_spread_a_dead_server_leaves_and_returns_and_a_reload_changes_weights(lab: Lab) -> None:
    site = Site(lab)
    daemon = start_holdfast(site.director, site.text(1, 1))
    soon(lambda: len(site.rules()) == 3, "both servers are in the kernel")
    assert site.rules() == [
        f"-A -t {VIP}:80 -s rr",
        f"-a -t {VIP}:80 -r {site.one.ip4}:8080 -m -w 1",
        f"-a -t {VIP}:80 -r {site.two.ip4}:8080 -m -w 1",
    ]
    assert site.answers() == Counter(one=10, two=10)
    assert states(site.director) == ["up", "up"]

    site.servers["one"].signal(signal.SIGKILL)
    soon(lambda: states(site.director) == ["down", "up"], "the dead one is gone")
    assert site.answers(6) == Counter(two=6)
    soon(lambda: f"{site.one.ip4} down" in site.noted(), "its script has run")
    why = site.director.run(*holdfast_command("why"), f"{VIP}:80", site.one.ip4)
    assert "1 of 1 checks failed: it is taken out" in why
    assert "if TCP_CHECK passes once (it is made every 300 ms): it serves again" in why
    assert f"server [{site.one.ip4}]:tcp:8080 down: TCP_CHECK: {site.one.ip4}:8080: connection refused" in why
    assert f"if {site.two.ip4}:8080 fails: weight 0 is left" in site.director.run(*holdfast_command("why"), f"{VIP}:80")
    site.serve(site.one)
    soon(lambda: states(site.director) == ["up", "up"], "it is back")
    soon(lambda: f"{site.one.ip4} up" in site.noted(), "its script has run, too")

    site.director.write("keepalived.conf", site.text(5, 7))
    daemon.signal(signal.SIGHUP)
    soon(lambda: f"-a -t {VIP}:80 -r {site.two.ip4}:8080 -m -w 7" in site.rules(), "the new weights are there")
    command = (*holdfast_command("server"), "drain", f"{VIP}:80", f"{site.one.ip4}:8080", "--timeout", "60s")
    assert "is drained" in site.director.run(*command, seconds=90)
    assert f"-a -t {VIP}:80 -r {site.one.ip4}:8080 -m -w 0" in site.rules()
    assert site.answers(4) == Counter(two=4)
    soon(lambda: served(site.director) == 30, "the kernel has counted all of them, which it does every 2 s")
    shown = site.director.run(*holdfast_command("status"))
    assert "drained  " in shown
    assert "0 of 5" in shown
    daemon.signal(signal.SIGHUP)
    soon(lambda: daemon.text().count("Reloading") == 2, "it reloads")
    assert states(site.director) == ["drained", "up"]
    site.director.run(*holdfast_command("server"), "enable", f"{VIP}:80", f"{site.one.ip4}:8080")
    soon(lambda: f"-a -t {VIP}:80 -r {site.one.ip4}:8080 -m -w 5" in site.rules(), "it has its weight again")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        site.director.run(*holdfast_command("server"), "disable", f"{VIP}:80", "10.9.9.9:1")
    assert "no server 10.9.9.9:1" in refused.value.stderr

    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert site.rules() == []


def test_a_killed_lvs_worker_cuts_nothing_and_is_started_again(lab: Lab) -> None:
    site = Site(lab)
    daemon = start_holdfast(site.director, site.text(1, 1))
    soon(lambda: len(site.rules()) == 3, "both servers are in the kernel")
    (worker,) = [pid for pid in site.director.processes() if _name(pid) == "holdfast_lvs"]
    os.kill(worker, signal.SIGKILL)
    assert site.answers(4) == Counter(one=2, two=2)
    soon(lambda: daemon.text().count("Starting Healthchecker child process") == 2, "it is started again")
    soon(lambda: states(site.director) == ["up", "up"], "it answers")
    site.servers["two"].signal(signal.SIGKILL)
    soon(lambda: states(site.director) == ["up", "down"], "checks go on")
    assert "made by somebody else" not in daemon.text()


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""
