"""The control socket between a real server in a real loop and clients of every temper."""

import os
import queue
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.control import client, server
from holdfast.control.access import AlreadyRunningError, connect
from holdfast.control.messages import BadRequestError, Request, parse_request
from holdfast.edge.loop import Loop

SECOND = 1_000_000_000


class House:
    """A server in a loop that a thread turns; `later` holds the replies not given yet."""

    def __init__(self, path: Path) -> None:
        self.loop = Loop()
        self.path = str(path)
        self.later: list[server.Reply] = []
        self.seen: list[Request] = []
        self.failures: list[BaseException] = []
        self.server = server.ControlServer(self.path, self.handle, self.loop)
        self._errands: deque[Callable[[], None]] = deque()
        self._ended = False
        self._thread = threading.Thread(target=self._turn, daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        while not self._ended:
            try:
                self.loop.wait(time.monotonic_ns() + SECOND // 200)
                while self._errands:
                    self._errands.popleft()()
            except BaseException as failed:
                self.failures.append(failed)

    def handle(self, request: Request, reply: server.Reply) -> None:
        self.seen.append(request)
        match request.command:
            case "status":
                reply.send({"node": "ha01"})
            case "echo":
                reply.send(request.arguments)
            case "bytes":
                reply.send(b'{"raw": true}\n')
            case "long":
                for _ in range(64):
                    reply.write(b" " * 65536)
                reply.write(b'{"long": true}')
                reply.end()
            case "later":
                self.later.append(reply)
            case "boom":
                raise ZeroDivisionError("inside")
            case _:
                reply.fail(f"no command {request.command}", "ask for status")

    def in_loop(self, errand: Callable[[], Any]) -> Any:
        """What `errand` gives when run between two turns of the loop, as the daemon would."""
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._errands.append(lambda: results.put(errand()))
        return results.get(timeout=5)

    def until(self, holds: Callable[[], object]) -> None:
        for _ in range(1000):
            if holds():
                return
            time.sleep(0.005)
        raise AssertionError("not within 5 s")

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self.server.close()
        self.loop.close()
        assert self.failures == []


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "control.sock")
    yield made
    made.close()


def ask(house: House, **request: object) -> dict[str, object]:
    return client.ask(os.path.dirname(house.path), request, timeout_s=5)


def say(house: House, octets: bytes) -> bytes:
    """What comes back when `octets` are all a client ever sends."""
    with connect(house.path, 5) as link:
        link.sendall(octets)
        link.shutdown(socket.SHUT_WR)
        pieces = []
        while piece := link.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


def test_a_request_is_answered(house: House) -> None:
    assert ask(house, command="status") == {"node": "ha01"}
    assert ask(house, command="echo", a=1, b=["x"]) == {"a": 1, "b": ["x"]}
    assert ask(house, command="bytes") == {"raw": True}


def test_the_socket_is_for_root_alone(house: House) -> None:
    assert os.stat(house.path).st_mode & 0o7777 == 0o660


def test_an_answer_may_come_later_and_to_the_right_client(house: House) -> None:
    answers: dict[int, dict[str, object]] = {}
    askers = [threading.Thread(target=lambda n=n: answers.update({n: ask(house, command="later", n=n)})) for n in (0, 1)]
    for asker in askers:
        asker.start()
    house.until(lambda: len(house.later) == 2)
    for request, reply in zip(house.seen, house.later, strict=True):
        house.in_loop(partial(reply.send, {"n": request.arguments["n"]}))
    for asker in askers:
        asker.join()
    assert answers == {0: {"n": 0}, 1: {"n": 1}}


def test_several_requests_in_one_connection_are_answered_in_order(house: House) -> None:
    replies = say(house, b'{"command": "echo", "n": 1}\n\n{"command": "status"}\n{"command": "echo", "n": 2}')
    assert replies == b'{"n":1}\n{"node":"ha01"}\n{"n":2}\n'


def test_thousands_of_requests_at_once_neither_recurse_nor_pile_up(house: House) -> None:
    assert say(house, b'{"command":"status"}\n' * 3000) == b'{"node":"ha01"}\n' * 3000


def test_an_answer_longer_than_any_buffer_arrives_whole(house: House) -> None:
    assert ask(house, command="long") == {"long": True}


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"garbage\n", "the request is not JSON"),
        (b"\x00\xff\xfe\n", "the request is not JSON"),
        (b"[1]\n", "names no command"),
        (b'{"command": 5}\n', "names no command"),
        (b"[" * 60_000 + b"\n", "the request is not JSON"),
        (b"x" * 70_000, "at most 65536 bytes"),
        (b'{"command": "other"}\n', "no command other"),
        (b'{"command": "boom"}\n', "failed inside the daemon"),
    ],
)
def test_nonsense_gets_a_clear_error_and_the_server_lives(house: House, octets: bytes, says: str) -> None:
    failure = msgspec.json.decode(say(house, octets))
    assert says in failure["error"]
    assert failure["cure"]
    assert ask(house, command="status") == {"node": "ha01"}
    house.until(lambda: house.server.connections == 0)


@pytest.mark.parametrize("seed", range(40))
def test_any_bytes_are_answered_line_by_line_or_end_the_conversation(house: House, seed: int) -> None:
    chance = random.Random(seed)
    octets = b"\n".join(chance.randbytes(chance.randrange(300)) for _ in range(chance.randrange(1, 60)))
    for line in say(house, octets).splitlines():
        assert msgspec.json.decode(line)["error"]
    assert ask(house, command="status") == {"node": "ha01"}


def test_a_refusal_reaches_the_person(house: House) -> None:
    with pytest.raises(client.RefusedError, match="no command nothing: ask for status"):
        ask(house, command="nothing")


def test_a_thousand_idle_clients_lock_nobody_out(house: House) -> None:
    idle = [connect(house.path, 5) for _ in range(1000)]
    assert ask(house, command="status") == {"node": "ha01"}
    assert house.server.connections <= server.PLACES
    for link in idle:
        link.close()
    house.until(lambda: house.server.connections == 0)


def test_a_client_that_asks_nothing_is_dropped_in_time(house: House) -> None:
    def due_in(span_ns: int) -> bool:
        due = house.in_loop(house.server.due_at)
        return due is not None and due - time.monotonic_ns() <= span_ns

    with connect(house.path, 5) as idle, connect(house.path, 5) as trickling:
        house.until(lambda: house.server.connections == 2)
        assert not due_in(server.IDLE_NS - SECOND)
        trickling.sendall(b'{"comm')
        house.until(lambda: due_in(server.PROGRESS_NS))
        house.in_loop(lambda: house.server.on_due(time.monotonic_ns() + server.PROGRESS_NS))
        assert house.server.connections == 1
        house.in_loop(lambda: house.server.on_due(time.monotonic_ns() + server.IDLE_NS))
        assert (house.server.connections, house.in_loop(house.server.due_at)) == (0, None)
        assert idle.recv(1) == b""


def test_an_answer_that_never_comes_is_told(house: House) -> None:
    with connect(house.path, 5) as link:
        link.sendall(b'{"command": "later"}\n')
        house.until(lambda: house.later)
        house.in_loop(lambda: house.server.on_due(time.monotonic_ns() + server.PROGRESS_NS + 1))
        assert b"did not answer in time" in link.recv(4096)
        assert not house.later[0].wanted
        house.in_loop(lambda: house.later[0].send({"too": "late"}))
        assert link.recv(1) == b""


def test_a_slow_reader_costs_a_bounded_memory(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_BOUND_BYTES", 6 * 1024 * 1024)
    with connect(house.path, 5) as first, connect(house.path, 5) as second:
        for link in (first, second):
            link.sendall(b'{"command": "long"}\n')
        house.until(lambda: len(house.seen) == 2)
        house.until(lambda: house.server.connections == 1)
        assert 0 < house.server.unread_bytes <= 6 * 1024 * 1024
    house.until(lambda: house.server.connections == 0)
    assert house.server.unread_bytes == 0


def test_a_client_that_leaves_before_its_answer_disturbs_nobody(house: House) -> None:
    with connect(house.path, 5) as link:
        link.sendall(b'{"command": "later"}\n')
        house.until(lambda: house.later)
    house.in_loop(lambda: house.later[0].send({"x": "y" * 1_000_000}))
    house.until(lambda: house.server.connections == 0)
    assert ask(house, command="status") == {"node": "ha01"}


def test_a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    assert os.path.exists(path)
    loop = Loop()
    first = server.ControlServer(path, lambda request, reply: None, loop)
    with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()} already answers at .*--run-dir") as refused:
        server.ControlServer(path, lambda request, reply: None, loop)
    assert refused.value.pid == os.getpid()
    first.close()
    assert os.listdir(tmp_path) == []
    loop.close()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    loop = Loop()
    with pytest.raises(FileExistsError, match="is not a socket"):
        server.ControlServer(str(path), lambda request, reply: None, loop)
    assert path.read_text() == "precious"
    loop.close()


def test_closing_leaves_a_successors_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    loop = Loop()
    first = server.ControlServer(path, lambda request, reply: None, loop)
    os.unlink(path)
    second = server.ControlServer(path, lambda request, reply: None, loop)
    first.close()
    assert os.path.exists(path)
    second.close()
    loop.close()


def test_a_path_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    made = House(deep / "control.sock")
    assert ask(made, command="status") == {"node": "ha01"}
    with pytest.raises(AlreadyRunningError):
        server.ControlServer(made.path, made.handle, made.loop)
    made.close()
    assert os.listdir(deep) == []


def test_another_user_is_turned_away_with_a_reason(house: House) -> None:
    os.chmod(house.path, 0o666)
    os.chmod(os.path.dirname(house.path), 0o711)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.chdir(os.path.dirname(house.path))
            os.setgroups([])
            os.setuid(65534)
            with connect("control.sock", 5) as link:
                os.write(writer, link.recv(4096))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert b"only root may ask this daemon" in answer.read()
    os.waitpid(pid, 0)


def test_nobody_there_is_said_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(client.NoDaemonError, match=r"no daemon answers at .*is holdfast running\? start it with"):
        client.ask(str(tmp_path), {"command": "status"})
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "control.sock"))
    stale.close()
    with pytest.raises(client.NoDaemonError, match="ended without cleaning up"):
        client.ask(str(tmp_path), {"command": "status"})
    monkeypatch.setenv("HOLDFAST_RUN_DIR", "/nowhere/at/all")
    assert client.run_dirs(None) == ("/nowhere/at/all",)
    assert client.run_dirs("/other") == ("/other",)
    monkeypatch.delenv("HOLDFAST_RUN_DIR")
    assert client.run_dirs(None) == ("/run/holdfast", "/run/keepalived", "/run")


def test_a_daemon_that_stands_still_is_named(tmp_path: Path) -> None:
    frozen = socket.socket(socket.AF_UNIX)
    frozen.bind(str(tmp_path / "control.sock"))
    frozen.listen(1)
    with pytest.raises(client.AskError, match=r"has not answered for 0\.05 s: it is overloaded or stopped"):
        client.ask(str(tmp_path), {"command": "status"}, timeout_s=0.05)
    frozen.close()


def test_a_request_is_read() -> None:
    assert parse_request(b'{"command": "switch", "instance": "VI_1"}') == Request("switch", {"instance": "VI_1"})
    with pytest.raises(BadRequestError):
        parse_request(b"{}")
