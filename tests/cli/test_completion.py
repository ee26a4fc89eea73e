"""Completion as a shell's user meets it: bash, zsh and fish on a terminal, beside a daemon and without one."""

import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.completing import BY_METAVAR, BY_PLACE, known
from holdfast.cli.main import COMMANDS, group
from holdfast.cli.shells import SHELLS
from holdfast.control.server import ControlServer
from holdfast.edge.loop import Loop

ROOT = Path(__file__).parents[2]
FILES = {"bash": "holdfast.bash", "zsh": "_holdfast", "fish": "holdfast.fish"}
BIN = str(Path(sys.executable).parent)
PATIENCE_S, ATTEMPTS = 20, 4
"""On a busy machine the stand-in for the daemon may answer too late for a shell: then the key is pressed again."""

STATUS: dict[str, Any] = {
    "node": "ha01", "pid": 4711, "version": "0.1.0", "time": "2026-11-22T23:24:23.600+00:00",
    "instances": [
        {"name": "web", "state": "MASTER", "interface": "eth0", "vips": ["192.0.2.10/24"], "excluded_vips": ["2001:db8::10/64"]},
        {"name": "database", "state": "BACKUP", "interface": "eth1", "vips": ["198.51.100.7/32"], "excluded_vips": []},
    ],
    "sync_groups": [{"name": "everything", "state": "MASTER", "members": ["web", "database"]}],
    "trackers": [{"name": "check_nginx"}],
    "virtual_servers": [
        {"name": "192.0.2.10:80", "real_servers": [{"address": "10.0.0.7", "port": 8080, "weight": 3, "state": "up"}]},
        {"name": "[2001:db8::10]:443", "real_servers": [{"address": "2001:db8::a7", "port": 8443, "weight": 1, "state": "down"}]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which something answers like the daemon."""
    directory = tmp_path_factory.mktemp("run")
    loop = Loop()
    server = ControlServer(str(directory / "control.sock"), lambda request, reply: reply.send(STATUS), loop)
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            loop.wait(time.monotonic_ns() + 5_000_000)

    thread = threading.Thread(target=turn)
    thread.start()
    yield directory
    ended.set()
    thread.join()
    server.close()
    loop.close()


class Terminal:
    """A shell on a terminal of its own, with the completion loaded as its users load it."""

    def __init__(self, shell: str, home: Path, run_dir: Path) -> None:
        script = ROOT / "packaging" / "completions" / FILES[shell]
        environment = {
            "PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8",
            "HOLDFAST_RUN_DIR": str(run_dir), "PS1": "> ",
        }  # fmt: skip
        words = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
        begin = {
            "bash": f"bind 'set enable-bracketed-paste off'; bind 'set page-completions off'; bind 'set bell-style none'; source {script}",
            "zsh": f"PROMPT='> '; unsetopt zle_bracketed_paste beep list_beep; setopt auto_list; zstyle ':completion:*' list-prompt ''; "
            f"fpath+=({script.parent}); autoload -Uz compinit; compinit -u -d {home}/dump",
        }[shell]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(home)
            os.execvpe(words[0], words, environment)
        self.seen = ""
        self.type(begin + "; echo rea''dy\n")
        self.await_text(r"\bready\b")

    def type(self, text: str) -> None:
        """Keys, as they are pressed."""
        os.write(self.terminal, text.encode())

    def await_text(self, pattern: str, patience_s: float = 15) -> str:
        """What has come since the last look, once `pattern` is in it."""
        until = time.monotonic() + patience_s
        while not re.search(pattern, self.seen):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
            self.seen += os.read(self.terminal, 65536).decode(errors="replace")
        text, self.seen = self.seen, ""
        return text

    def completed(self, line: str, expected: str) -> None:
        """Type `line` and a tab: `expected` stands there; then the line is thrown away."""
        self._proposed(line + "\t", re.escape(expected))

    def listed(self, line: str, *expected: str) -> None:
        """Type `line` and two tabs: every `expected` is proposed."""
        self._proposed(line + "\t\t", "".join(rf"(?=[\s\S]*{re.escape(word)})" for word in expected))

    def _proposed(self, keys: str, pattern: str) -> None:
        for attempt in range(ATTEMPTS):
            self.type(keys)
            try:
                self.await_text(pattern, PATIENCE_S / ATTEMPTS)
                break
            except AssertionError:
                if attempt == ATTEMPTS - 1:
                    raise
            finally:
                self.type("\x15echo ne''xt\n")  # C-u
                self.await_text(r"\bnext\b")

    def close(self) -> None:
        """End the shell."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_on_a_terminal(shell: str, tmp_path: Path, run_dir: Path) -> None:
    (tmp_path / "keepalived.conf").write_text("")
    (tmp_path / "subdirectory").mkdir()
    terminal = Terminal(shell, tmp_path, run_dir)
    try:
        terminal.completed("holdfast stat", "holdfast status ")
        terminal.completed("holdfast status --j", "holdfast status --json ")
        terminal.completed("holdfast events --kind inc", "holdfast events --kind incident ")
        terminal.completed("holdfast switch we", "holdfast switch web ")
        terminal.listed("holdfast switch ", "web", "database", "everything")
        terminal.listed("holdfast s", "status", "switch", "server", "simulate", "sniff")
        terminal.completed("holdfast who 2001:db8:", "holdfast who 2001:db8::10 ")
        terminal.completed("holdfast why 192.0.2.10:80 10", "10.0.0.7:8080 ")
        terminal.completed("holdfast server drain [2001:db8::10]:443 ", "[2001:db8::a7]:8443 " if shell == "bash" else r"\[2001:db8::a7\]:8443 ")
        terminal.completed("holdfast check keep", "keepalived.conf ")
        terminal.completed("holdfast run -f keep", "keepalived.conf ")
        terminal.completed("holdfast lab a=keep", "a=keepalived.conf ")
        terminal.completed("holdfast status --run-dir sub", "subdirectory/")
        terminal.completed("holdfast status --run-dir=sub", "--run-dir=subdirectory/")
    finally:
        terminal.close()


def fish(line: str, run_dir: str, home: Path) -> dict[str, str]:
    """What fish proposes, and what it says of it."""
    script = f"source {ROOT}/packaging/completions/holdfast.fish; complete -C {line!r}"
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", "HOLDFAST_RUN_DIR": run_dir}
    ran = subprocess.run(["fish", "--no-config", "-c", script], cwd=home, capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == ""
    return {row.partition("\t")[0]: row.partition("\t")[2] for row in ran.stdout.splitlines()}


def test_in_fish(tmp_path: Path, run_dir: Path) -> None:
    (tmp_path / "keepalived.conf").write_text("")
    (tmp_path / "subdirectory").mkdir()
    answers = {
        "holdfast stat": {"status": "who is master here, why, since when, and what is wrong"},
        "holdfast release ": {
            "web": "MASTER 192.0.2.10/24", "database": "BACKUP 198.51.100.7/32", "everything": "sync group",
        },
        "holdfast who 2001": {"2001:db8::10": "of web"},
        "holdfast events check": {"check_nginx": "tracker"},
        "holdfast server drain [2001:db8::10]:443 ": {"[2001:db8::a7]:8443": "down, weight 1"},
        "holdfast check keep": {"keepalived.conf": ""},
        "holdfast lab a=keep": {"a=keepalived.conf": ""},
        "holdfast drift keepalived.conf sub": {"subdirectory/": ""},
        "holdfast switch web --for ": {"90s": "", "10m": "", "2h": "", "1d": ""},
    }  # fmt: skip
    assert {line: fish(line, str(run_dir), tmp_path) for line in answers} == answers


def proposals(line: str, **environment: str) -> list[str]:
    """What a shell is given for a line up to its cursor: the values."""
    given = {**os.environ, "_HOLDFAST_COMPLETE": "zsh_complete", "COMP_WORDS": line, **environment}
    ran = subprocess.run([f"{BIN}/holdfast"], capture_output=True, text=True, check=True, env=given)
    assert ran.stderr == ""
    return [row.split("\t")[1] for row in ran.stdout.splitlines() if row]


def test_what_stands_on_the_line_already_is_not_proposed_again(run_dir: Path) -> None:
    assert proposals("holdfast who web ", HOLDFAST_RUN_DIR=str(run_dir)) == [
        "192.0.2.10", "2001:db8::10", "database", "198.51.100.7",
    ]  # fmt: skip


def test_the_daemon_is_the_one_that_the_line_names(run_dir: Path) -> None:
    assert proposals(f"holdfast switch --run-dir {run_dir} w", HOLDFAST_RUN_DIR="/nowhere") == ["web"]


@pytest.mark.parametrize("line", ["holdfast nonsense ", "holdfast 'switch ", "", "holdfast switch \\", "holdfast run -f x y z "])
def test_a_line_that_makes_no_sense_gives_nothing_and_says_nothing(line: str) -> None:
    proposals(line, HOLDFAST_RUN_DIR="/nowhere")


def test_without_a_daemon_the_configuration_is_asked(tmp_path: Path) -> None:
    """In a mount namespace of its own, where /etc/keepalived is ours."""
    (tmp_path / "keepalived.conf").write_text("include instances/*.conf\n")
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances" / "a.conf").write_text(
        "vrrp_instance cluster {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n"
    )
    (tmp_path / "run").mkdir()
    inside = (
        f"mkdir -p /etc/keepalived && mount --bind {tmp_path} /etc/keepalived && mount -t tmpfs none /run && "
        "COMP_WORDS='holdfast who ' _HOLDFAST_COMPLETE=fish_complete exec " + f"{BIN}/holdfast"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HOLDFAST_RUN_DIR"}
    ran = subprocess.run(["unshare", "-m", "sh", "-c", inside], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.splitlines() == ["plain\tcluster\teth0 192.0.2.1", "plain\t192.0.2.1\tof cluster"]


def test_a_daemon_that_is_stuck_costs_no_more_than_a_blink(tmp_path: Path) -> None:
    """A socket that takes the question and never answers: the shell is free again after PATIENCE_S and a start."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(tmp_path / "control.sock"))
        deaf.listen()
        begun = time.monotonic()
        assert proposals("holdfast switch ", HOLDFAST_RUN_DIR=str(tmp_path)) == []
    assert time.monotonic() - begun < 3  # a command would wait 20 s


def test_an_answer_costs_little(run_dir: Path) -> None:
    """Processor time, the best of a few: others may be at work here."""
    spans = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        proposals("holdfast switch ", HOLDFAST_RUN_DIR=str(run_dir))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spans.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spans) < 0.3, spans


def test_every_place_for_a_value_is_thought_of() -> None:
    """An argument or option that is in no table would complete to nothing without anybody having decided so."""
    import click

    commands = group()
    missing, places = [], set()
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        for parameter in command.params:
            places.add(f"{name} {parameter.name}")
            takes_value = not (getattr(parameter, "is_flag", False) or getattr(parameter, "count", False))
            by_itself = isinstance(parameter.type, click.Choice | click.Path | click.File)
            if takes_value and not by_itself and known(name, parameter) is None:
                missing.append(f"{name} {parameter.name} ({parameter.metavar})")
    assert not missing, "add them to BY_PLACE or BY_METAVAR in cli/completing.py"
    assert set(BY_PLACE) <= places
    assert BY_METAVAR


@pytest.mark.parametrize("shell", SHELLS)
def test_the_packaged_script_is_what_the_command_prints(shell: str) -> None:
    printed = subprocess.run([f"{BIN}/holdfast", "completion", shell], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "packaging" / "completions" / FILES[shell]).read_text() == printed, "make completions"
    assert subprocess.run([shell, "-n"], input=printed, text=True, check=False).returncode == 0
