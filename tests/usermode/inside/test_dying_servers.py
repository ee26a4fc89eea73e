"""Runs inside the user-mode kernel: servers die and return, and our pools are keepalived's at every step."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from holdfast.check.config import TcpCheck
from holdfast.config.check import read_file
from holdfast.edge.services import Memory, Services
from holdfast.lab.daemons import keepalived
from holdfast.lab.hosts import wait_until
from holdfast.lvs import machine
from holdfast.lvs.messages import CheckReported
from tests.config.golden import PlainDisk
from tests.usermode.inside.beside import saved
from tests.usermode.inside.ipvs import fresh

FILE = Path(__file__).with_name("configurations") / "dying" / "pools.conf"


class Ours:
    """Our services, their checks' verdicts told by the port that each check asks."""

    def __init__(self) -> None:
        balancer = read_file(str(FILE), disk=PlainDisk()).built.balancer
        self.port_of = {n: one.target.port for n, one in enumerate(balancer.checks) if isinstance(one, TcpCheck)}
        self.services = balancer.lvs.services
        self.states = [machine.begin(one)[0] for one in self.services]

    def report(self, port: int, ok: bool) -> None:
        """All checks of this port have this verdict."""
        for number, service in enumerate(self.services):
            for check, asked in self.port_of.items():
                if asked == port:
                    self.states[number], _ = machine.step(service, self.states[number], CheckReported(check, ok))

    def saved(self) -> list[str]:
        """`ipvsadm -Sn` of our table."""
        with fresh() as ipvs:
            kernel = Services(ipvs, Memory(""))
            pools = [machine.wanted_pools(one, state) for one, state in zip(self.services, self.states, strict=True)]
            assert kernel.begin({key: pool for table in pools for key, pool in table.items()}) == []
            return saved()


def listen(port: int) -> socket.socket:
    made = socket.create_server(("0.0.0.0", port))
    return made


def test_the_same_pools_at_every_step(tmp_path: Path) -> None:
    ours = Ours()
    log = tmp_path / "log"
    with fresh():
        open_ports = {port: listen(port) for port in (7001, 7002)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    keepalived(),
                    "-C",
                    "-n",
                    "-l",
                    "-D",
                    "-f",
                    str(FILE),
                    "-p",
                    str(tmp_path / "a"),
                    "-c",
                    str(tmp_path / "b"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            for port, up in ((7001, True), (7002, True), (7002, False), (7001, False), (7001, True), (7002, True)):
                if up and port not in open_ports:
                    open_ports[port] = listen(port)
                elif not up:
                    open_ports.pop(port).close()
                ours.report(port, up)
                if len(open_ports) == 2 and port == 7001:
                    continue  # both are there from the start
                wanted = ours.saved()
                wait_until(lambda wanted=wanted: saved() == wanted, 15, f"{port} {up}: {wanted}", step=0.1)  # type: ignore[misc]
        except Exception as error:
            error.add_note("\n".join(saved()) + "\n" + log.read_text(errors="replace")[-3000:])
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            process.wait(20)
            for one in open_ports.values():
                one.close()
