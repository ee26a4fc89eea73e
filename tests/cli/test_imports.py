"""What a start brings in: the daemon lives in that process, and `status` is to answer at once."""

import os
import subprocess
import sys

import pytest

HEAVY = {
    "argparse", "asyncio", "click", "concurrent", "dataclasses", "difflib", "email", "getopt", "gettext", "http",
    "ipaddress", "json", "logging", "optparse", "pyroute2", "rich", "shutil", "ssl", "subprocess", "tempfile",
    "threading", "unittest", "urllib",
}  # fmt: skip

PROBE = """
import sys, types
daemon = types.ModuleType("holdfast.daemon.main")
daemon.run = lambda options: print(options.config_file, *sys.modules, sep="\\n") or 7
sys.modules["holdfast.daemon.main"] = daemon
from holdfast.cli.{module} import main
main()
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [("main", ["run", "-f", "/x/y.conf", "-v", "--run-dir", "/run/b"]), ("keepalived", ["-nlDf", "/x/y.conf", "-x"])],
)
def test_a_start_goes_straight_to_the_daemon_and_imports_nothing_heavy(module: str, words: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module), *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 7, ran.stderr
    path, *modules = ran.stdout.splitlines()
    assert path == "/x/y.conf"
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()
    ours = {name for name in modules if name.startswith("holdfast.")}
    assert ours <= {
        "holdfast.cli", f"holdfast.cli.{module}", "holdfast.cli.parsing", "holdfast.cli.run", "holdfast.control",
        "holdfast.control.messages", "holdfast.daemon", "holdfast.daemon.main", "holdfast.daemon.options",
    }  # fmt: skip


def test_status_answers_at_once() -> None:
    """Well under 200 ms of processor time on any machine; the best of a few, for this one may be busy."""
    spans = []
    for _ in range(5):
        before = os.times()
        ran = subprocess.run(
            [sys.executable, "-m", "holdfast.cli.main", "status", "--run-dir", "/nowhere"], capture_output=True, check=False
        )
        after = os.times()
        spans.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert ran.returncode == 1
        assert b"no daemon answers at /nowhere/control.sock" in ran.stderr
    assert min(spans) < 0.2, spans


def test_status_imports_neither_rich_nor_the_engine() -> None:
    probe = (
        "import sys; sys.argv = ['holdfast', 'status', '--run-dir', '/nowhere']\n"
        "from holdfast.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)\n"
    )
    modules = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert "holdfast.cli.status" in modules
    assert not {"rich", "asyncio", "subprocess", "holdfast.engine", "holdfast.config", "holdfast.kernel"} & set(modules)
