"""Pid files as locks, and what the service manager hears."""

import os
import socket
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.base.time import SECOND
from holdfast.daemon.service import AlreadyRunning, PidFile, Service


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Options as the command line gives them."""

    run_dir: str
    parent_pid_file: str = ""
    vrrp_pid_file: str = ""


class Other:
    """Another process that holds a pid file until it is told to end."""

    def __init__(self, path: str) -> None:
        ready, says_ready = os.pipe()
        reading, self._let_go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._let_go)
            PidFile.acquire(path)
            os.write(says_ready, b"x")
            os.read(reading, 1)
            os._exit(0)
        os.read(ready, 1)
        for fd in (ready, says_ready, reading):
            os.close(fd)

    def end(self) -> None:
        os.close(self._let_go)
        os.waitpid(self.pid, 0)


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "holdfast.pid")
    first = Other(path)
    try:
        assert Path(path).read_text() == f"{first.pid}\n"
        Path(path).write_text("1\n")  # whatever is written there: the kernel knows who holds it
        with pytest.raises(AlreadyRunning) as refused:
            PidFile.acquire(path)
    finally:
        first.end()
    assert refused.value.pid == first.pid
    assert str(refused.value) == (
        f"another daemon is running already with pid {first.pid} ({path} is locked): "
        "stop it, or give this one a --run-dir of its own"
    )
    ours = PidFile.acquire(path)  # the first ended without a word: its file is stale
    assert Path(path).read_text() == f"{os.getpid()}\n"
    assert os.stat(path).st_mode & 0o777 == 0o644
    ours.release()
    assert not os.path.exists(path)


def test_a_pid_file_replaced_meanwhile_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    ours = PidFile.acquire(str(path))
    path.unlink()
    path.write_text("77\n")
    ours.release()
    assert path.read_text() == "77\n"


@pytest.mark.parametrize("abstract", [False, True])
def test_what_the_service_manager_hears(tmp_path: Path, abstract: bool) -> None:
    address = f"\0holdfast-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.setblocking(False)
    environment = {
        "NOTIFY_SOCKET": address.replace("\0", "@"),
        "WATCHDOG_USEC": "4000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    service = Service(Wanted(run_dir=str(tmp_path)), environment)
    assert environment == {"HOME": "/"}  # no script may speak for us

    def heard() -> list[str]:
        return listener.recv(1000).decode().split("\n")

    service.ready("1000 VRRP instances\n")
    assert heard() == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=1000 VRRP instances"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    service.reloading()
    word, moment, _ = heard()
    assert word == "RELOADING=1"
    assert 0 <= int(moment.removeprefix("MONOTONIC_USEC=")) - before < 1_000_000
    service.say_status("busy")
    service.say_status("busy")
    assert heard() == ["STATUS=busy"]
    due = service.due_at()
    assert due is not None
    service.on_due(due)
    assert heard() == ["WATCHDOG=1"]
    assert service.due_at() == due + 2 * SECOND
    service.on_due(due + SECOND)
    service.on_due(due + 2 * SECOND, alive=False)  # a worker that is stuck is not covered up
    service.stopping()
    assert heard() == ["STOPPING=1", "STATUS=leaving"]
    listener.close()
    service.ready()  # nobody listens: no error
    service.close()


def test_without_a_service_manager(tmp_path: Path) -> None:
    service = Service(Wanted(run_dir=str(tmp_path)), {"WATCHDOG_USEC": "1"})
    assert service.due_at() is None
    service.ready()
    service.worker_started(4711)
    assert (tmp_path / "vrrp.pid").read_text() == "4711\n"
    assert (tmp_path / "holdfast.pid").read_text() == f"{os.getpid()}\n"
    service.close()
    assert list(tmp_path.iterdir()) == []


def test_pid_files_by_name(tmp_path: Path) -> None:
    parent, vrrp = str(tmp_path / "keepalived.pid"), str(tmp_path / "v.pid")
    service = Service(Wanted(run_dir="/nowhere", parent_pid_file=parent, vrrp_pid_file=vrrp), {})
    service.worker_started(1)
    assert sorted(os.listdir(tmp_path)) == ["keepalived.pid", "v.pid"]
    Path(vrrp).write_text("2\n")  # somebody else's by now
    service.close()
    assert os.listdir(tmp_path) == ["v.pid"]
