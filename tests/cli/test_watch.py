"""`holdfast status --watch`: the lines of a screen of any size, and the manners of a program that takes the terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.watch import ENTER, LEAVE, frame
from tests.cli.test_status import STATUS
from tests.cli.test_status import run_dir as run_dir

EVENTS = [
    {"time": f"2026-11-23T01:00:0{number}.000+00:00", "kind": "state", "name": "web", "what": f"event {number}",
     "cause": "", "state": "BACKUP"}
    for number in range(6)
]  # fmt: skip


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def lines(rows: int, columns: int = 120, events: list[dict[str, Any]] = EVENTS) -> list[str]:
    return [plain(line).rstrip() for line in frame(STATUS, "", events, 1.0, columns, rows)]


@pytest.mark.parametrize("rows", [1, 2, 5, 10, 16, 24, 60])
@pytest.mark.parametrize("columns", [20, 80, 200])
def test_a_frame_fills_the_screen_and_never_more(rows: int, columns: int) -> None:
    assert len(lines(rows, columns)) == max(rows, 2)


def test_what_a_frame_shows_by_its_room() -> None:
    roomy = lines(40)
    assert roomy[0] == "ha01: holdfast 0.1.0, pid 4711"
    assert roomy[-1] == "every 1 s; Ctrl-C ends"
    begin = roomy.index("last events")
    assert [line.split()[-1] for line in roomy[begin + 1 : begin + 7]] == list("012345")
    tight = lines(18)
    assert [line.split()[-1] for line in tight[-4:-1]] == list("345")  # the latest, three at the least
    assert any(line.startswith("… ") and "more lines" in line for line in tight)
    assert "last events" not in lines(8)
    assert "last events" not in lines(40, events=[])


def test_no_daemon_is_said_in_the_frame() -> None:
    assert plain(frame(None, "no daemon answers", EVENTS, 1.0, 80, 24)[0]) == "no daemon answers"


class Terminal:
    """`holdfast status --watch` on a terminal of its own."""

    def __init__(self, run_dir: Path, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.size(30, 100)
        self.before = termios.tcgetattr(self.slave)
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli.main", "status", "--watch", "--run-dir", str(run_dir), *words],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, condition: Callable[[str], bool], what: str) -> None:
        """Read until what was said since the last such call meets the condition."""
        said, end = "", time.monotonic() + 10
        while not condition(said):
            assert time.monotonic() < end, f"{what}: {said[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                said += os.read(self.master, 65536).decode()
        self.said += said

    def frames(self, count: int) -> str:
        begun = len(self.said)
        self.until(lambda said: said.count("Ctrl-C ends") >= count, f"{count} frames")
        return self.said[begun:]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(run_dir: Path) -> Iterator[Terminal]:
    (run_dir / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in EVENTS))
    made = Terminal(run_dir, "--every", "0.2")
    yield made
    made.close()


def test_a_life_on_a_terminal(terminal: Terminal, run_dir: Path) -> None:
    first = terminal.frames(2)
    assert first.startswith(ENTER)
    assert "ha01: holdfast" in plain(first)
    assert "event 5" in plain(first)
    assert not termios.tcgetattr(terminal.slave)[3] & termios.ECHO
    with (run_dir / "events.jsonl").open("a") as file:
        file.write(json.dumps({**EVENTS[0], "what": "something new"}) + "\n")
    terminal.until(lambda said: "something new" in said, "a new event")
    terminal.size(10, 60)
    terminal.until(lambda said: "more lines" in said, "a smaller screen")
    (run_dir / "control.sock").rename(run_dir / "away")
    terminal.until(lambda said: "no daemon answers" in said, "the daemon is gone")
    (run_dir / "away").rename(run_dir / "control.sock")
    terminal.until(lambda said: "ha01: holdfast" in said, "and back")
    os.write(terminal.master, b"typed\x03")
    terminal.until(lambda said: said.endswith(LEAVE), "the screen is given back")
    assert terminal.process.wait(5) == 0
    assert termios.tcgetattr(terminal.slave)[3] == terminal.before[3]
    assert "typed" not in terminal.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.frames(1)
    os.write(terminal.master, b"typed\n")
    terminal.frames(1)
    terminal.process.send_signal(number)
    terminal.until(lambda said: said.endswith(LEAVE), "the screen is given back")
    assert terminal.process.wait(5) == 0
    assert termios.tcgetattr(terminal.slave)[3] & termios.ECHO
    assert not select.select([terminal.slave], [], [], 0)[0]  # what was typed is no command for the shell


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(terminal: Terminal) -> None:
    terminal.frames(1)
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.until(lambda said: said.endswith(LEAVE), "the screen is given back")
    assert os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED) is not None
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until(lambda said: ENTER in said and "Ctrl-C ends" in said, "it goes on")


def run(run_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "holdfast.cli.main", "status", "--run-dir", str(run_dir), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def test_in_a_pipe_it_prints_once(run_dir: Path) -> None:
    assert run(run_dir, "--watch").stdout == run(run_dir).stdout


def test_with_json_a_document_a_line(run_dir: Path) -> None:
    command = [sys.executable, "-m", "holdfast.cli.main", "status", "--watch", "--every", "0.1", "--json"]
    watching = subprocess.Popen([*command, "--run-dir", str(run_dir)], stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    read = [json.loads(watching.stdout.readline()) for _ in range(3)]
    watching.send_signal(signal.SIGINT)
    assert watching.wait(5) == 0
    assert read == [STATUS] * 3
    watching.stdout.close()


@pytest.mark.parametrize("words", [["--every", "1s"], ["--watch", "--every", "0.01s"], ["--watch", "--every", "often"]])
def test_times_that_can_t_be(tmp_path: Path, words: list[str]) -> None:
    assert run(tmp_path, *words).returncode == 2


def test_no_daemon_at_the_start(tmp_path: Path) -> None:
    refused = run(tmp_path, "--watch", "--json")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no daemon answers" in refused.stderr
