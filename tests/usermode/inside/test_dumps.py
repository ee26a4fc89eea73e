"""Runs inside the user-mode kernel: SIGUSR1 makes keepalived and us write the same of one file."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from holdfast.lab.daemons import holdfast_command, keepalived, source_environment
from holdfast.lab.hosts import wait_until
from tests.export.dump_shapes import shape
from tests.usermode.inside.ipvs import fresh

CONFIGURATION = Path(__file__).parents[2] / "export" / "recorded" / "checker.conf"


def dumped(command: Sequence[str], directory: Path) -> str:
    """The file of a daemon, once both servers on ports nobody listens at have failed."""
    directory.mkdir()
    wanted = directory / "keepalived_check.data"
    with (directory / "log").open("wb") as log:
        environment = os.environ | source_environment() | {"TMPDIR": str(directory)}
        daemon = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def failed() -> bool:
        text = wanted.read_text() if wanted.exists() else ""
        if text.count("Has run = yes") == 5 and text.rstrip().endswith(("200-299", "Failed URL = /b")):
            return True
        if "Starting" in (directory / "log").read_text():
            os.kill(daemon.pid, signal.SIGUSR1)
        return False

    try:
        wait_until(failed, 20, f"{wanted} tells of every check", step=0.5)
        return wanted.read_text()
    finally:
        os.kill(daemon.pid, signal.SIGTERM)
        daemon.wait(20)


def test_the_same_lines(tmp_path: Path) -> None:
    pids = [word for name in "pcr" for word in (f"-{name}", str(tmp_path / f"{name}.pid"))]
    with fresh():
        theirs = dumped([keepalived(), "-n", "-l", "-D", "-f", str(CONFIGURATION), *pids], tmp_path / "theirs")
    run_dir = ("--run-dir", str(tmp_path / "run"))
    with fresh():
        ours = dumped([*holdfast_command("run", "-f", str(CONFIGURATION)), *run_dir], tmp_path / "ours")
    assert shape(ours, "LVS Topology") == shape(theirs, "LVS Topology")
    for line in ("alive = ", "quorum_state_up = ", "num failed checkers = ", "Up = "):
        told = [[one for one in dump.splitlines() if one.strip().startswith(line)] for dump in (ours, theirs)]
        assert told[0] == told[1], line
