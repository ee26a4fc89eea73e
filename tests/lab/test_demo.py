"""`make demo`, as root and as an ordinary user; and that it does not claim what did not happen."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
# the shell in between: setpriv itself still has its powers when it starts a program
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'exec "$@"', "sh")


def _demo(*words: str, as_nobody: bool = False, path: str = "") -> "subprocess.CompletedProcess[str]":
    import msgspec

    python, environment = sys.executable, dict(os.environ)
    environment["PYTHONPATH"] = f"{SOURCE}:{Path(msgspec.__file__).parents[1]}"
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["PATH"] = path or environment["PATH"]
    command = [python, "-m", "holdfast.lab.demo", *words]
    if as_nobody:
        command[0] = _python_for_nobody()
        command = [*AS_NOBODY, *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd="/", check=False)


def _python_for_nobody() -> str:
    """An interpreter of this version that an ordinary user may run: ours may live in root's home."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, system):
        tried = subprocess.run(
            [*AS_NOBODY, candidate, "-c", "import ctypes"],
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return candidate
    raise AssertionError(f"no interpreter that an ordinary user may run: install {system}")


@pytest.mark.parametrize("as_nobody", [False, True], ids=["root", "ordinary-user"])
def test_the_demo_shows_it_all(as_nobody: bool) -> None:
    done = _demo(as_nobody=as_nobody)
    assert done.returncode == 0, done.stdout + done.stderr
    gaps = re.findall(
        r"^  (master killed|hand-over to a better host|repaired host takes over|clean stop) +([\d.]+) ms",
        done.stdout,
        re.M,
    )
    assert [what for what, _gap in gaps] == [
        "master killed", "hand-over to a better host", "repaired host takes over", "clean stop"
    ]  # fmt: skip
    assert 200 < float(gaps[0][1]) < 600
    assert "is on no host" in done.stdout
    assert "holdfast check" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_same_show_by_keepalived() -> None:
    done = _demo("--daemon", "keepalived")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_daemon_that_does_not_start_is_no_success(tmp_path: Path) -> None:
    broken = tmp_path / "keepalived"
    broken.write_text("#!/bin/sh\necho cannot\nexit 1\n")
    broken.chmod(0o755)
    done = _demo("--daemon", "keepalived", path=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "the daemon of host a has ended" in done.stdout
    assert "cannot" in done.stdout
    kept = re.search(r"logs are in (\S+)", done.stderr)
    assert kept
    subprocess.run(["rm", "-r", kept[1]], check=True)
