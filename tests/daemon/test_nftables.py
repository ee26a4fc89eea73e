"""Virtual servers by nftables, on a kernel that may have no IPVS: real connections through a real director."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from subprocess import CalledProcessError

import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from holdfast.lvs.nftables import TABLE
from tests.usermode.inside.test_balancing_daemon import VIP, Site, states

BACKEND = "global_defs {\n    lvs_backend nftables\n}\n"
ECHO = """
import socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(sys.argv[1].encode() + b"\\n")
        while said := self.request.recv(64):
            self.request.sendall(said)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    def handle_error(self, *peer):
        pass
Server(("", 8080), Echo).serve_forever()
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def soon(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, 10, what, step=0.05)


class NftSite(Site):
    """The site of the IPVS tests, balanced by nftables."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, ipvs=False)

    def text(self, *weights: int) -> str:
        return BACKEND + super().text(*weights)

    def start(self, text: str) -> Spawned:
        daemon = start_holdfast(self.director, text)
        soon(lambda: serving(self.director), "the table is there")
        return daemon

    def reload(self, daemon: Spawned, text: str) -> None:
        before = daemon.text().count("Reloading")
        self.director.write("keepalived.conf", text)
        daemon.signal(signal.SIGHUP)
        soon(lambda: daemon.text().count("Reloading") > before, "it reloads")

    def table(self) -> str:
        return self.director.run("nft", "list", "table", "ip", TABLE, check=False)


def serving(host: Host) -> bool:
    return " goto tcp_" in host.run("nft", "list", "table", "ip", TABLE, check=False)


def test_spread_death_return_weights_drain_and_leaving(lab: Lab) -> None:
    site = NftSite(lab)
    here = site.director.directory
    reader = site.director.write("reader", f'#!/bin/sh\nexec cat "$1" > {here}/lines\n', 0o755)
    fifos = f"    lvs_notify_fifo {here}/fifo\n    lvs_notify_fifo_script {reader}\n    vrrp_notify_fifo {here}/other\n"
    daemon = site.start(site.text(1, 1).replace("global_defs {\n", "global_defs {\n" + fifos))
    assert site.answers() == Counter(one=10, two=10)
    site.servers["one"].signal(signal.SIGKILL)
    soon(lambda: states(site.director) == ["down", "up"], "the dead one is gone")
    assert site.answers(6) == Counter(two=6)
    site.servers["one"] = site.serve(site.one)
    soon(lambda: states(site.director) == ["up", "up"], "it is back")
    assert site.answers(10) == Counter(one=5, two=5)
    server, service = f"[{site.one.ip4}]:tcp:8080", f"[{VIP}]:tcp:80"
    expected = [f"VS {service} UP", f"RS {server} {service} DOWN", f"RS {server} {service} UP"]
    soon(lambda: (here / "lines").read_text().replace("\0", "").splitlines() == expected, "the FIFO told it")
    assert f"Removing service {server} from VS {service}" in daemon.text()

    site.reload(daemon, site.text(3, 1).replace("lb_algo rr", "lb_algo wrr"))
    soon(lambda: "mod 4" in site.table(), "the weights count")
    assert site.answers(16) == Counter(one=12, two=4)
    command = (*holdfast_command("server"), "drain", f"{VIP}:80", f"{site.one.ip4}:8080", "--timeout", "60s")
    assert "is drained" in site.director.run(*command, seconds=90)
    assert site.answers(4) == Counter(two=4)
    rows = holdfast_status(site.director)["virtual_servers"][0]["real_servers"]
    assert [row["state"] for row in rows] == ["drained", "up"]
    assert rows[1]["connections"]["total"] >= 4

    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert site.table() == ""


def test_reloads_and_a_killed_worker_cut_no_connection_and_a_drained_server_keeps_its_own(lab: Lab) -> None:
    site = NftSite(lab)
    for host in (site.one, site.two):
        site.servers[host.name].signal(signal.SIGKILL)
        host.spawn("/usr/bin/python3", "-c", ECHO, host.name)
    daemon = site.start(site.text(1, 1))
    soon(lambda: states(site.director) == ["up", "up"], "both are up")
    with site.client.inside():
        open_ones = [socket.create_connection((VIP, 80), 3) for _ in range(4)]
    names = [one.recv(64) for one in open_ones]
    assert sorted(names) == [b"one\n", b"one\n", b"two\n", b"two\n"]

    def all_alive() -> bool:
        for one in open_ones:
            one.sendall(b"ping")
        return [one.recv(64) for one in open_ones] == [b"ping"] * 4

    assert all_alive()
    site.reload(daemon, site.text(1, 5))
    assert all_alive()
    (worker,) = [pid for pid in site.director.processes() if _name(pid) == "holdfast_lvs"]
    os.kill(worker, signal.SIGKILL)
    assert all_alive()
    soon(lambda: daemon.text().count("Starting Healthchecker child process") == 2, "it is started again")
    soon(lambda: states(site.director) == ["up", "up"], "it answers")
    assert all_alive()
    command = (*holdfast_command("server"), "drain", f"{VIP}:80", f"{site.one.ip4}:8080", "--timeout", "1s")
    said = site.director.run(*command, check=False)
    assert "still has 2 connections" in said
    assert all_alive()
    assert site.answers(4) == Counter(two=4)
    daemon.signal(signal.SIGKILL)  # the whole daemon dies: what serves goes on serving, the next run takes it over
    wait_until(lambda: not site.director.processes() or not daemon.alive(), 5, "it is dead")
    assert site.answers(2) == Counter(two=2)
    again = start_holdfast(site.director, site.text(1, 1))
    soon(lambda: _states(site) == ["drained", "up"], "what an operator holds is remembered")
    assert all_alive()
    site.director.run(*holdfast_command("server"), "enable", f"{VIP}:80", f"{site.one.ip4}:8080")
    soon(lambda: "mod 2" in site.table(), "it is as configured")
    assert all_alive()
    again.signal(signal.SIGTERM)
    assert again.wait(10) == 0
    for one in open_ones:
        one.close()


def _states(site: Site) -> list[str]:
    try:
        return states(site.director)
    except CalledProcessError:
        return []


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""


@pytest.mark.parametrize("words", ["lb_algo sh", "lb_algo rr\n    persistence_timeout 60"])
def test_a_client_stays_with_its_server(lab: Lab, words: str) -> None:
    site = NftSite(lab)
    daemon = site.start(site.text(1, 1).replace("lb_algo rr", words))
    (mine,) = site.answers(6)
    site.servers[mine].signal(signal.SIGKILL)
    other = "two" if mine == "one" else "one"
    soon(lambda: "down" in states(site.director), "its server is gone")
    assert site.answers(6) == Counter({other: 6})
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0


def test_a_service_without_servers_refuses_at_once_and_strangers_are_left_alone(lab: Lab) -> None:
    site = NftSite(lab)
    site.director.run("nft", "add", "table", "ip", "strangers")
    daemon = site.start(site.text(1, 1))
    for server in site.servers.values():
        server.signal(signal.SIGKILL)
    soon(lambda: states(site.director) == ["down", "down"], "both are gone")
    with site.client.inside(), pytest.raises(ConnectionRefusedError):
        socket.create_connection((VIP, 80), 3)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert "strangers" in site.director.run("nft", "list", "tables")


def test_a_table_of_that_name_that_is_not_ours_is_said(lab: Lab) -> None:
    site = NftSite(lab)
    site.director.run("nft", "add", "table", "ip", TABLE, '{ comment "mine"; }')
    daemon = start_holdfast(site.director, site.text(1, 1))
    soon(lambda: f"nft delete table ip {TABLE}" in daemon.text(), "it is said")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert 'comment "mine"' in site.table()
