"""`kill -9` of the lvs worker while connections and checks come in numbers: nobody notices."""

import itertools
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from tests.usermode.inside.test_balancing_daemon import VIP, Site, soon

ECHO = """
import socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(sys.argv[1].encode() + b"\\n")
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128
Server(("", 8080), Echo).serve_forever()
"""
INSTANCE = """
vrrp_instance one {
    state MASTER
    interface eth0
    version 3
    virtual_router_id 51
    priority 200
    advert_int 0.5
    virtual_ipaddress {
        192.0.2.201
    }
}
"""
CHECKED = 200  # each every 300 ms
INTERVAL_MS = 500


class Many:
    """A listener for the many servers on the director itself; counts whom it accepted."""

    def __init__(self, host: Host) -> None:
        self.accepted = 0
        with host.inside():
            self._listener = socket.create_server(("", 9000), backlog=1024)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return
            self.accepted += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class EchoSite(Site):
    """Its servers keep a connection and echo."""

    def serve(self, host: Host) -> Spawned:
        return host.spawn("/usr/bin/python3", "-c", ECHO, host.name)

    def configuration(self) -> str:
        """The two servers, an instance, and a service with many servers for the checks' sake."""
        pool = "".join(f" real_server 127.1.0.{n + 1} 9000 {{\n TCP_CHECK {{\n }}\n }}\n" for n in range(CHECKED))
        many = f"virtual_server 192.0.2.202 80 {{\n delay_loop 0.3\n warmup 0\n lb_kind NAT\n protocol TCP\n{pool}}}\n"
        return INSTANCE + self.text(1, 1) + many

    def connect(self) -> socket.socket:
        with self.client.inside():
            return socket.create_connection((VIP, 80), 5)


@pytest.fixture
def site() -> Iterator[EchoSite]:
    with Lab() as lab:
        yield EchoSite(lab)


def _named(host: Host, name: str) -> list[int]:
    found = []
    for pid in host.processes():
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read().strip() == name:
                    found.append(pid)
        except OSError:
            pass  # it ended meanwhile
    return found


def test_no_connection_is_cut_no_service_lost_and_no_advert_late(site: EchoSite) -> None:
    many = Many(site.director)
    daemon = start_holdfast(site.director, site.configuration())
    everything = 2 + 2 + CHECKED
    soon(lambda: len(site.rules()) == everything, "all are in the kernel")
    soon(lambda: site.director.holds("192.0.2.201") and many.accepted > CHECKED, "it is MASTER, and checks")
    before, workers = set(site.rules()), site.director.processes()
    held = [site.connect() for _ in range(50)]
    talks = [one.makefile("rw") for one in held]
    assert sorted({talk.readline() for talk in talks}) == ["one\n", "two\n"]
    capture = site.director.lab.capture(frozenset((112,)))

    (worker,) = _named(site.director, "holdfast_lvs")
    os.kill(worker, signal.SIGKILL)
    lost = 0
    for n in range(200):
        with site.connect() as one:
            assert one.makefile().readline() in ("one\n", "two\n")
        lost += len(before - set(site.rules())) if n % 20 == 0 else 0
    for number, talk in enumerate(talks):
        talk.write(f"{number}\n")
        talk.flush()
        assert talk.readline() == f"{number}\n"
    soon(lambda: daemon.text().count("Starting Healthchecker child process") == 2, "it is started again")
    asked = many.accepted
    soon(lambda: many.accepted > asked + CHECKED, "the checks go on")
    wait_until(lambda: bool(capture.drain()) and sum(1 for _ in capture.adverts()) > 8, 10, "adverts")
    assert lost == 0
    assert set(site.rules()) == before
    assert set(workers) - set(site.director.processes()) == {worker}
    moments = [advert.time_ns / 1e6 for advert in capture.adverts()]
    gaps = [after - earlier for earlier, after in itertools.pairwise(moments)]
    assert max(gaps) < 3 * INTERVAL_MS, sorted(gaps)[-5:]  # no backup would have taken over
    for one in held:
        one.close()
    capture.close()
    daemon.signal(signal.SIGTERM)  # in the midst of checks, of which no more are begun
    assert daemon.wait(10) == 0
    many.close()
    assert site.rules() == []
    assert "made by somebody else" not in daemon.text()
    assert "failed: Traceback" not in daemon.text()
