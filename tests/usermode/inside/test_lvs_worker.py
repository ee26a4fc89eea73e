"""The lvs worker beside a real kernel: real servers that stop and return, programs, reloads, crashes and their cure."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.base.ipvs import INET, Forwarding, Method, Service, ServiceKey
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.check.config import Check, MiscCheck, Pace, Target, TcpCheck
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.edge.channel import Ask, Channel, HoldServer, Reload, Reply, Stop, ToSupervisor, ToWorker
from holdfast.edge.loop import Loop
from holdfast.edge.lvs_worker import LvsWorker
from holdfast.edge.services import Memory
from holdfast.engine.messages import LogLine, RunScript, ScriptFinished
from holdfast.kernel.ipvs import IpvsSocket
from holdfast.lvs.config import LvsPlan, RealServerConfig, VirtualServerConfig

PACE = Pace(delay_loop_ns=200 * MILLISECOND, retry=1, delay_before_retry_ns=50 * MILLISECOND, warmup_ns=0)
KEY = ServiceKey(INET, 6, parse("127.0.1.1"), 80)


class Server:
    """Accepts connections on one address until it is closed."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._socket = socket.create_server((where, 8080), backlog=64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Supervisor:
    """The other end of a worker in a process of its own."""

    def __init__(self, plan: BalancerPlan, memory: str) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            mine.close()
            status = 1
            try:
                loop = Loop()
                held: list[LvsWorker] = []
                channel = Channel(its, ToWorker, loop, lambda m, fd: held[0].on_message(m, fd), lambda: os._exit(3))
                held.append(LvsWorker(plan, loop, channel, IpvsSocket(), Memory(memory)))
                held[0].start()
                held[0].run()
                status = 0
            finally:
                os._exit(status)
        its.close()
        self.loop = Loop()
        self.lines: list[str] = []
        self.programs: list[RunScript] = []
        self.replies: list[bytes] = []
        self.channel = Channel(mine, ToSupervisor, self.loop, self._take, lambda: None)

    def _take(self, message: Any, _fd: int | None) -> None:
        if isinstance(message, LogLine):
            self.lines.append(message.text)
        elif isinstance(message, RunScript):
            self.programs.append(message)
        elif isinstance(message, Reply):
            self.replies.append(message.piece)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 8) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (what, self.lines[-12:], pool())
            self.loop.wait(time.monotonic_ns() + 5_000_000)

    def ask(self, message: Any) -> Any:
        self.replies.clear()
        self.channel.send(message)
        self.until(lambda: bool(self.replies), "an answer")
        self.until(lambda: _whole(b"".join(self.replies)), "the whole answer")
        return json.loads(b"".join(self.replies))

    def reload(self, plan: BalancerPlan) -> None:
        octets = msgspec.msgpack.encode(plan)
        fd = os.memfd_create("plan")
        os.write(fd, octets)
        self.channel.send(Reload(len(octets)), fd)

    def stop(self) -> None:
        self.channel.send(Stop())
        _, status = os.waitpid(self.pid, 0)
        assert status == 0
        self.channel.drain()


def _whole(octets: bytes) -> bool:
    try:
        json.loads(octets)
    except ValueError:
        return False
    return True


def pool() -> dict[str, int]:
    """Last octet → weight of the servers in the kernel's pool."""
    asked = IpvsSocket()
    try:
        found = asked.destinations(KEY)
        return {f"{where.address[3]}": one.weight for where, one in found.items()}
    finally:
        asked.close()


def plan(*lasts: int, weight: int = 1, checks: tuple[Check, ...] | None = None) -> BalancerPlan:
    """One service with servers 127.0.1.LAST:8080, each with its own TCP check unless `checks` says otherwise."""
    own: tuple[Check, ...] = tuple(
        TcpCheck(pace=PACE, target=Target(address=parse(f"127.0.1.{n}"), port=8080, timeout_ns=SECOND)) for n in lasts
    )
    service = VirtualServerConfig(
        name="127.0.1.1:80",
        label="[127.0.1.1]:tcp:80",
        keys=(KEY,),
        service=Service(scheduler="rr"),
        protocol=6,
        servers=tuple(
            RealServerConfig(
                address=parse(f"127.0.1.{last}"),
                port=8080,
                weight=weight,
                forwarding=Forwarding(method=Method.NAT),
                checks=(number if checks is None else 0,),
            )
            for number, last in enumerate(lasts)
        ),
    )
    return BalancerPlan(lvs=LvsPlan(services=(service,)), checks=own if checks is None else checks)


@pytest.fixture
def servers() -> Iterator[dict[int, Server]]:
    made = {last: Server(f"127.0.1.{last}") for last in (2, 3)}
    yield made
    for one in made.values():
        one.close()


def test_a_server_that_stops_leaves_and_returns(servers: dict[int, Server], tmp_path: Any) -> None:
    run = Supervisor(plan(2, 3), str(tmp_path / "services"))
    run.until(lambda: pool() == {"2": 1, "3": 1}, "both serve")
    servers.pop(2).close()
    run.until(lambda: pool() == {"3": 1}, "the stopped one is gone")
    run.until(lambda: any("Removing service [127.0.1.2]:tcp:8080" in line for line in run.lines), "it is said")
    rows = run.ask(Ask(1))
    assert [server["state"] for server in rows[0]["real_servers"]] == ["down", "up"]
    assert "refused" in rows[0]["real_servers"][0]["checks"][0]["detail"]
    servers[2] = Server("127.0.1.2")
    run.until(lambda: pool() == {"2": 1, "3": 1}, "it is back")
    held = run.ask(HoldServer(ask=2, service="127.0.1.1:80", server="127.0.1.3:8080", weight=0))
    assert held["held"] == 0
    run.until(lambda: pool() == {"2": 1, "3": 0}, "one is drained")
    run.stop()
    assert pool() == {}
    assert not (tmp_path / "services").exists()


def test_a_reload_and_a_program(servers: dict[int, Server], tmp_path: Any) -> None:
    run = Supervisor(plan(2), str(tmp_path / "services"))
    run.until(lambda: pool() == {"2": 1}, "one serves")
    run.reload(plan(2, 3, weight=5))
    run.until(lambda: pool() == {"2": 5, "3": 5}, "both serve, with the new weight")
    misc = MiscCheck(pace=PACE, command=Command(argv=("/bin/weigh",)), dynamic=True)
    run.reload(plan(2, 3, checks=(misc,)))
    run.until(lambda: bool(run.programs), "the program is wanted")
    asked = run.programs.pop()
    run.channel.send(ScriptFinished(asked.name, asked.run, 9))
    run.until(lambda: pool() == {"2": 7, "3": 7}, "its exit status is the weight")
    run.until(lambda: bool(run.programs), "the program is wanted again")
    asked = run.programs.pop()
    run.channel.send(ScriptFinished(asked.name, asked.run, 1))
    run.until(lambda: bool(run.programs), "it is tried once more")
    asked = run.programs.pop()
    run.channel.send(ScriptFinished(asked.name, asked.run, 1))
    run.until(lambda: pool() == {}, "both have left")
    run.stop()


def test_a_killed_worker_leaves_the_services_and_the_next_goes_on_with_them(
    servers: dict[int, Server], tmp_path: Any
) -> None:
    first = Supervisor(plan(2, 3), str(tmp_path / "services"))
    first.until(lambda: pool() == {"2": 1, "3": 1}, "both serve")
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert pool() == {"2": 1, "3": 1}
    servers.pop(3).close()
    second = Supervisor(plan(2, 3), str(tmp_path / "services"))
    second.until(lambda: pool() == {"2": 1}, "checks go on")
    assert not any("made by somebody else" in line for line in second.lines)
    second.stop()
    assert pool() == {}


class StopsWhenDue(Loop):
    """Waits until a check is due, and then the worker is told to stop."""

    worker: LvsWorker

    def wait(self, deadline: int | None, idle: bool = True) -> None:
        while (due_at := self.worker.balancer.deadline()) is None or due_at > time.monotonic_ns():
            super().wait(due_at, idle)
        self.worker.leave("told to stop")


def test_a_worker_that_was_told_to_stop_begins_no_check(servers: dict[int, Server]) -> None:
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = StopsWhenDue()
    channel = Channel(its, ToWorker, loop, lambda m, fd: None, lambda: None)
    loop.worker = worker = LvsWorker(plan(2, 3), loop, channel, IpvsSocket(), Memory(""))
    worker.start()
    worker.run()
    assert worker.finished
    assert pool() == {}
    mine.close()
