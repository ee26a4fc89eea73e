"""Tracked files, processes and polled links on the real kernel: told when they change, and of nothing else."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.edge.link_polls import LinkPolls
from holdfast.edge.loop import Loop
from holdfast.edge.track_files import FileWatch
from holdfast.edge.track_processes import ProcessWatch
from holdfast.engine.messages import LinkPolled, ProcessesCounted, TrackerReported
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.process_events import ProcessEvents, What, decode
from holdfast.track.config import FileConfig, LinkConfig, Match, ProcessConfig
from holdfast.vrrp.messages import Level
from tests.kernel.namespaces import Namespace, ip


class Stage:
    """A loop with timers, what was told and what was said."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.told: list[Any] = []
        self.said: list[str] = []
        self.timers: list[tuple[int, Callable[[Nanoseconds], None]]] = []
        self.running: list[subprocess.Popen[bytes]] = []

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """A program, once its command line can be seen: it lags behind its name by some microseconds."""
        begun = subprocess.Popen(words)
        self.running.append(begun)
        self.until(Path(f"/proc/{begun.pid}/cmdline").read_bytes)
        return begun

    def close(self) -> None:
        for program in self.running:
            program.kill()
            program.wait()
        self.loop.close()

    def tell(self, event: Any) -> None:
        self.told.append(event)

    def say(self, _level: Level, text: str) -> None:
        self.said.append(text)

    def after(self, span_ns: Nanoseconds, call: Callable[[Nanoseconds], None]) -> None:
        self.timers.append((time.monotonic_ns() + span_ns, call))

    def until(self, met: Callable[[], object], within_s: float = 5) -> None:
        end = time.monotonic_ns() + int(within_s * SECOND)
        while not met():
            now = time.monotonic_ns()
            assert now < end, (self.told, self.said)
            self.loop.wait(min([end, now + SECOND // 100, *(at for at, _ in self.timers)]))
            now = time.monotonic_ns()
            due = [call for at, call in self.timers if at <= now]
            self.timers = [(at, call) for at, call in self.timers if at > now]
            for call in due:
                call(now)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


# ---- files ----------------------------------------------------------------------------------------------------------


def values(stage: Stage) -> list[int]:
    return [event.value for event in stage.told]


def test_whatever_happens_to_a_file_is_told(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "load"
    watch = FileWatch(stage.loop, stage.tell, stage.say)
    watch.load([FileConfig(name="load", path=str(path))], first=True)
    assert stage.told == [TrackerReported("file", "load", 0, f"{path}: no such file or directory, which counts as 0")]

    def write(octets: bytes) -> None:
        path.write_bytes(octets)

    def replace() -> None:
        (tmp_path / "new").write_text("8")
        (tmp_path / "new").rename(path)

    def directory_instead() -> None:
        path.unlink()
        path.mkdir()

    def fifo_instead() -> None:
        path.rmdir()
        os.mkfifo(path)

    steps: list[tuple[Callable[[], Any], int]] = [
        (lambda: write(b"5\n"), 5),
        (lambda: write(b"garbage"), 0),
        (lambda: write(b"0x10 and more"), 16),
        (replace, 8),
        (path.unlink, 0),
        (lambda: write(b"3" + b" " * 10_000_000), 3),
        (lambda: path.rename(tmp_path / "elsewhere"), 0),
        (lambda: (tmp_path / "elsewhere").rename(path), 3),
        (directory_instead, 0),
        (fifo_instead, 0),
        (path.unlink, 0),
        (lambda: write(b"4"), 4),
    ]
    for number, (step, value) in enumerate(steps):
        step()
        stage.until(lambda: stage.told[-1].value == value)  # noqa: B023
        assert values(stage)[-1] == value, number
    before = len(stage.told)
    (tmp_path / "another").write_text("7")
    write(b"4 again")
    write(b"99999999999")  # does not fit: what was there goes on, and it is said
    stage.until(lambda: len(stage.told) > before)
    assert stage.told[before:] == [
        TrackerReported("file", "load", 4, f"the number in {path} does not fit 32 bits: 4 goes on")
    ]
    assert stage.said == []


def test_a_directory_that_comes_and_goes_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "load"
    watch = FileWatch(stage.loop, stage.tell, stage.say)
    watch.load([FileConfig(name="load", path=str(path))], first=True)
    for value in (5, 6):
        path.parent.mkdir(parents=True)
        path.write_text(str(value))
        stage.until(lambda: values(stage)[-1] == value)  # noqa: B023
        shutil.rmtree(tmp_path / "a")
        stage.until(lambda: values(stage)[-1] == 0)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "load").write_text("9")
    (tmp_path / "a").mkdir()
    (tmp_path / "c").rename(tmp_path / "a" / "b")
    stage.until(lambda: values(stage)[-1] == 9)


def test_files_are_made_at_the_start_and_only_then(stage: Stage, tmp_path: Path) -> None:
    for name in ("kept", "overwritten"):
        (tmp_path / name).write_text("1")
    configs = [
        FileConfig(name="made", path=str(tmp_path / "made"), init_value=-3),
        FileConfig(name="kept", path=str(tmp_path / "kept"), init_value=7),
        FileConfig(name="overwritten", path=str(tmp_path / "overwritten"), init_value=7, init_overwrite=True),
        FileConfig(name="refused", path=str(tmp_path / "none" / "x"), init_value=7),
    ]
    watch = FileWatch(stage.loop, stage.tell, stage.say)
    watch.load(configs, first=True)
    assert values(stage) == [-3, 1, 7, 0]
    assert [line.rpartition(": ")[2] for line in stage.said] == ["no such file or directory"]
    (tmp_path / "made").unlink()
    watch.load(configs, first=False)
    assert not (tmp_path / "made").exists()
    stage.told.clear()
    watch.tell_all()
    assert values(stage) == [0, 1, 7, 0]


# ---- processes ------------------------------------------------------------------------------------------------------


def counts(stage: Stage, name: str) -> list[int]:
    return [event.count for event in stage.told if event.name == name]


def copy_of_sleep(folder: Path) -> str:
    """A program whose name nobody else has."""
    path = folder / f"hf{os.getpid()}"
    shutil.copy("/bin/sleep", path)
    return str(path)


def test_processes_are_counted_as_they_come_and_go(stage: Stage, tmp_path: Path) -> None:
    program = copy_of_sleep(tmp_path)
    short = Path(program).name
    configs = [
        ProcessConfig(name="short", command=short),
        ProcessConfig(name="full", command=program, full_command=True),
        ProcessConfig(name="exact", command=program, parameters=("71",), match=Match.EXACT),
        ProcessConfig(name="bare", command=program, match=Match.EXACT),
    ]
    early = stage.spawn(program, "70")
    watch = ProcessWatch(stage.loop, stage.tell, stage.say, stage.after)
    watch.load(configs)
    assert stage.told == [ProcessesCounted(name, count) for name, count in
                          (("short", 1), ("full", 1), ("exact", 0), ("bare", 0))]  # fmt: skip
    second = stage.spawn(program, "71")
    stage.until(lambda: counts(stage, "exact")[-1] == 1 and counts(stage, "short")[-1] == 2)
    early.kill()
    stage.until(lambda: counts(stage, "full")[-1] == 1)
    second.kill()
    stage.until(lambda: counts(stage, "exact")[-1] == counts(stage, "short")[-1] == counts(stage, "full")[-1] == 0)
    for ended in (early, second):
        ended.wait()
    assert counts(stage, "bare") == [0]
    stage.told.clear()
    watch.tell_all()
    assert len(stage.told) == 4
    watch.load([])


def test_a_fork_counts_until_it_executes_something_else(stage: Stage, tmp_path: Path) -> None:
    """A shell of that name forks: the child counts, and no longer once it is another program."""
    shell = tmp_path / f"hs{os.getpid()}"
    shutil.copy("/bin/sh", shell)
    watch = ProcessWatch(stage.loop, stage.tell, stage.say, stage.after)
    watch.load([ProcessConfig(name="shell", command=shell.name)])
    stage.until(lambda: watch.by_events or stage.said)
    if stage.said:
        pytest.xfail("the kernel tells nothing of processes here: a container")
    fifo, end = tmp_path / "fifo", tmp_path / "end"
    os.mkfifo(fifo)
    os.mkfifo(end)
    running = subprocess.Popen([str(shell), "-c", f"(read x < {fifo}; exec cat {end}) & wait"])
    stage.until(lambda: counts(stage, "shell")[-1] == 2)
    fifo.write_text("on\n")
    stage.until(lambda: counts(stage, "shell")[-1] == 1)  # the child is cat now
    end.write_text("")
    running.wait()
    stage.until(lambda: counts(stage, "shell")[-1] == 0)


def test_threads_are_not_told_of_and_processes_are() -> None:
    try:
        events = ProcessEvents()
    except KernelRefused:
        pytest.xfail("the kernel tells nothing of processes here: a container")
    threads = [threading.Thread(target=lambda: None) for _ in range(20)]
    for thread in threads:
        thread.start()
        thread.join()
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    happened, end = [], time.monotonic() + 5
    while time.monotonic() < end and (What.EXIT, child.pid) not in happened:
        happened += [(one.what, one.pid) for one in events.read(1000)[0]]
    events.close()
    mine = [what for what, pid in happened if pid == child.pid]
    assert [what for what in mine if what is not What.COMM] == [What.FORK, What.EXEC, What.EXIT]
    tasks = {thread.native_id for thread in threads}
    assert not tasks & {pid for _, pid in happened}


def test_cut_short_events_are_passed_over() -> None:
    whole = bytes(36) + b"\x01\0\0\0" + bytes(12) + b"\1\0\0\0\2\0\0\0\3\0\0\0\3\0\0\0"
    told = decode(whole)
    assert told is not None
    assert (told.what, told.parent, told.pid) == (What.FORK, 2, 3)
    for length in range(len(whole)):
        assert decode(whole[:length]) is None


def test_lost_events_make_the_table_be_read_again(stage: Stage, tmp_path: Path) -> None:
    program = copy_of_sleep(tmp_path)
    watch = ProcessWatch(stage.loop, stage.tell, stage.say, stage.after)
    watch.load([ProcessConfig(name="short", command=Path(program).name)], buffer_bytes=4096, force=False)
    stage.until(lambda: watch.by_events or stage.said)
    if stage.said:
        pytest.xfail("the kernel tells nothing of processes here: a container")
    for _ in range(60):  # nobody reads meanwhile
        subprocess.run(["/bin/true"], check=True)
    running = stage.spawn(program, "70")
    stage.until(lambda: counts(stage, "short")[-1] == 1)
    assert any("events were lost; the buffer is" in line for line in stage.said)
    running.kill()
    running.wait()
    stage.until(lambda: counts(stage, "short")[-1] == 0)


def test_without_the_kernels_word_the_table_is_read_every_second(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> ProcessEvents:
        raise KernelRefused("be told of processes", "", 111)

    monkeypatch.setattr("holdfast.edge.track_processes.ProcessEvents", refused)
    program = copy_of_sleep(tmp_path)
    watch = ProcessWatch(stage.loop, stage.tell, stage.say, stage.after)
    watch.load([ProcessConfig(name="short", command=Path(program).name)])
    assert len(stage.said) == 1
    assert "the process table is read every second instead" in stage.said[0]
    running = stage.spawn(program, "70")
    stage.until(lambda: counts(stage, "short") == [0, 1])
    running.kill()
    running.wait()
    stage.until(lambda: counts(stage, "short") == [0, 1, 0])


# ---- links ----------------------------------------------------------------------------------------------------------


def test_a_link_is_asked_for_where_the_interface_answers(stage: Stage) -> None:
    with Namespace().entered():
        ip("link", "add", "one", "type", "veth", "peer", "name", "two")
        ip("link", "set", "one", "up")
        polls = LinkPolls(stage.tell, stage.say, stage.after)
        polls.load([LinkConfig(name="one", polled="any"), LinkConfig(name="two", polled="MII"), LinkConfig(name="lo")])
        assert stage.told == [LinkPolled("one", False)]
        assert len(stage.said) == 1
        assert stage.said[0].startswith("cannot ask for the link by MII on two: operation not supported; name another")
        ip("link", "set", "two", "up")
        stage.until(lambda: stage.told[-1] == LinkPolled("one", True))
        ip("link", "set", "two", "down")
        stage.until(lambda: stage.told[-1] == LinkPolled("one", False))
        ip("link", "delete", "one")  # nothing answers: the kernel's word is taken, and that is said once
        stage.until(lambda: stage.told[-1] == LinkPolled("one", True))
        assert len(stage.said) >= 2
