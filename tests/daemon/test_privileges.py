"""What is missing, found out in processes that lack it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.daemon.privileges import missing_capabilities, missing_line, scripts_as_others
from holdfast.kernel.process import Capabilities

UNIT = Path(__file__).parents[2] / "packaging/systemd/holdfast.service"


def in_child(before: str, ask: str) -> str:
    """What `ask` comes to in a process of its own, after `before`."""
    code = f"import os\nfrom holdfast.daemon.privileges import *\nfrom holdfast.kernel.process import *\n{before}\nprint({ask})"
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_as_root_nothing_is_missing() -> None:
    assert missing_capabilities() == []
    assert missing_line() == ""


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        ("os.setresuid(65534, 65534, 65534)", "['CAP_NET_ADMIN', 'CAP_NET_RAW']"),
        ("keep_only(['NET_ADMIN'])", "['CAP_NET_RAW']"),
        ("keep_only(['NET_RAW'])", "['CAP_NET_ADMIN']"),
        ("keep_only(['NET_RAW', 'NET_ADMIN'])", "[]"),
    ],
)
def test_missing(before: str, missing: str) -> None:
    assert in_child(before, "missing_capabilities()") == missing


def test_the_line_says_the_cure() -> None:
    line = in_child("os.setresuid(65534, 65534, 65534)", "missing_line()")
    assert line == (
        "holdfast needs CAP_NET_ADMIN and CAP_NET_RAW here (it runs as user 65534): run it as root, or give it "
        "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in its systemd unit, or run it in a network namespace of its own "
        "(unshare --user --map-root-user --net)"
    )


def test_scripts_as_others() -> None:
    none: frozenset[str] = frozenset()
    held = Capabilities(effective=frozenset({"SETGID", "KILL"}), permitted=none, bounding=none)
    assert scripts_as_others(held).startswith("scripts can't run as other users: CAP_SETUID missing")
    assert scripts_as_others() == ""


def test_the_unit_is_valid_and_grants_what_is_needed(tmp_path: Path) -> None:
    text = UNIT.read_text()
    sets = [line.partition("=")[2].split() for line in text.splitlines() if line.startswith("CapabilityBoundingSet=")]
    kept = [name.removeprefix("CAP_") for names in sets for name in names]
    assert in_child(f"keep_only({kept})", "(missing_capabilities(), scripts_as_others())") == "([], '')"
    unit = tmp_path / "holdfast.service"
    unit.write_text(text.replace("/usr/local/bin/holdfast", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
