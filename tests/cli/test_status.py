"""`holdfast status` from its JSON document: what a person sees, in a pipe and on terminals of any width."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.base.cure import cure
from holdfast.cli.drawing import Sheet, fitted, wrap
from holdfast.cli.status import draw, since_text
from holdfast.control.server import ControlServer
from holdfast.edge.loop import Loop


def instance(**more: Any) -> dict[str, Any]:
    fields = {
        "name": "cluster", "state": "MASTER", "vrid": 1, "interface": "eth0", "family": "ipv4", "version": 2,
        "priority": 102, "effective_priority": 102, "advert_interval_s": 1.0, "vips": [],
        "master": {"address": "10.201.36.9", "priority": 102}, "excluded_vips": ["10.201.36.14/32"],
        "since": "2026-11-22T23:20:13.508+00:00", "cause": "no master heard",
        "next": "stays master until one of higher rank is heard", "faults": [], "held": None, "statistics": {},
    }  # fmt: skip
    return {**fields, **more}


STATUS: dict[str, Any] = {
    "node": "ha01", "pid": 4711, "version": "0.1.0", "time": "2026-11-22T23:24:23.600+00:00",
    "instances": [
        instance(),
        instance(name="web", vrid=51, state="BACKUP", priority=100, effective_priority=98,
                 master={"address": "192.0.2.2", "priority": 150}, vips=["192.0.2.10/24", "192.0.2.11/24"],
                 excluded_vips=[], cause="started", next="takes over when 192.0.2.2 falls silent"),
        instance(name="db", vrid=52, state="FAULT", interface="eth1", master=None, excluded_vips=[],
                 cause="interface eth1 is down", next="returns when its faults are gone",
                 faults=["interface eth1 is down"]),
    ],
    "sync_groups": [{"name": "G", "state": "MASTER", "members": ["cluster", "web"]}],
    "trackers": [
        {"kind": "script", "name": "check_things", "up": False, "weight": -2, "detail": "exit status 1",
         "last_run": "2026-11-22T23:24:22.000+00:00", "runs": 120, "running": False},
        {"kind": "interface", "name": "eth1", "up": None, "weight": 0, "detail": "down", "last_run": None},
    ],
}  # fmt: skip

PIPE = """\
ha01: holdfast 0.1.0, pid 4711
master of 1, backup of 1, in fault: 1

STATE   INSTANCE  INTERFACE  VRID  PRIORITY   MASTER           SINCE           ADDRESSES
MASTER  cluster   eth0       1     102        this node        4 min 10 s ago  10.201.36.14/32
  why       no master heard
BACKUP  web       eth0       51    98 of 100  192.0.2.2 (150)  4 min 10 s ago  192.0.2.10/24 192.0.2.11/24
  why       started; takes over when 192.0.2.2 falls silent
FAULT   db        eth1       52    102        -                4 min 10 s ago  -
  fault     interface eth1 is down: see `ip link show eth1`; bring it up with `ip link set eth1 up`, or look at its cable

STATE   SYNC GROUP  MEMBERS
MASTER  G           cluster web

STATE    TRACKER              WEIGHT  LAST RUN  DETAIL
DOWN     script check_things  -2      1 s ago   exit status 1
waiting  interface eth1       -       -         down
"""


def drawn(status: dict[str, Any], colour: bool = False, width: int | None = None) -> str:
    out = io.StringIO()
    sheet = Sheet(out, colour=colour, width=width)
    draw(status, sheet)
    sheet.flush()
    return out.getvalue()


def test_a_pipe_gets_it_whole_plain_and_aligned() -> None:
    assert drawn(STATUS) == PIPE


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminal_gets_nothing_wider_than_itself(width: int) -> None:
    text = drawn(STATUS, width=width)
    table_bound = 80  # the columns themselves are not cut
    assert max(map(len, text.splitlines())) <= max(width, table_bound)
    for word in ("10.201.36.14/32", "192.0.2.10/24", "192.0.2.11/24", "look at its cable"):
        assert word in " ".join(text.split())


def test_many_addresses_take_no_more_than_the_width_or_their_own_lines() -> None:
    vips = [f"192.0.2.{n}/24" for n in range(1, 41)]
    text = drawn({**STATUS, "instances": [instance(vips=vips, excluded_vips=[])]}, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "192.0.2.1/24 (+39)" in text


def test_colour_is_where_the_eye_should_go() -> None:
    text = drawn(STATUS, colour=True)
    assert "\x1b[32mMASTER\x1b[0m" in text
    assert "\x1b[31mFAULT \x1b[0m" in text
    assert "\x1b[31minterface eth1 is down" in text
    assert "\x1b[" not in drawn(STATUS)


def test_an_empty_node_and_an_unknown_one() -> None:
    assert drawn({"node": "x", "instances": []}).splitlines()[1] == "no virtual router is configured"
    assert "PONDERING" in drawn({"instances": [{"state": "PONDERING", "name": "n", "vrid": 1}]})


def test_what_is_held_is_shown_with_the_way_out() -> None:
    text = drawn({"instances": [instance(held={"by": "operator", "until": "2026-11-22T23:30:00Z"})]})
    assert "  held      by operator until 2026-11-22T23:30:00Z; `holdfast release cluster` ends it" in text


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("interface eth9 does not exist", "see `ip link`"),
        ("interface eth9 is down", "`ip link set eth9 up`"),
        ("no IPv4 address on eth0", "`ip address show eth0`"),
        ("no IPv6 link-local address on eth0", "`ip address show eth0`"),
        ("source address 10.0.0.1 is not on eth0", "`ip address add 10.0.0.1 dev eth0`"),
        ("script check_things is down", "run it by hand"),
        ("sync group G: VI_2 is in fault", ""),
    ],
)
def test_a_fault_comes_with_its_cure(fault: str, part: str) -> None:
    assert part in cure(fault)
    assert bool(part) == bool(cure(fault))


def test_since() -> None:
    now = __import__("datetime").datetime.fromisoformat("2026-11-22T23:24:23.600+00:00")
    assert since_text("2026-11-22T23:24:23.100+00:00", now) == "just now"
    assert since_text("2026-11-22T23:25:00+00:00", now) == "just now"  # a clock set back
    assert since_text("2026-11-21T20:24:23+01:00", now) == "1 d 4 h ago"
    assert since_text("yesterday", now) == "yesterday"
    assert since_text(None, now) == "-"


def test_fitting_and_wrapping() -> None:
    assert fitted(["aa", "bb", "cc"], 8) == "aa bb cc"
    assert fitted(["aa", "bb", "cc"], 7) == "aa (+2)"
    assert fitted(["aaaaaaaaaa", "b"], 3) == "aaaaaaaaaa (+1)"
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("indivisible word", 4) == ["indivisible", "word"]


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    """A directory in which something answers like the daemon."""
    loop = Loop()
    server = ControlServer(str(tmp_path / "control.sock"), lambda request, reply: reply.send(STATUS), loop)
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            loop.wait(time.monotonic_ns() + 5_000_000)

    thread = threading.Thread(target=turn)
    thread.start()
    yield tmp_path
    ended.set()
    thread.join()
    server.close()
    loop.close()


def holdfast(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_the_command_finds_the_daemon_and_prints_its_document(run_dir: Path) -> None:
    ran = holdfast("status", "--json", "--run-dir", str(run_dir))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("}\n")
    assert msgspec.json.decode(ran.stdout) == STATUS
    assert holdfast("status", HOLDFAST_RUN_DIR=str(run_dir)).stdout == PIPE


def test_exit_statuses(run_dir: Path) -> None:
    assert holdfast("status", "--run-dir", "/nowhere").returncode == 1
    unknown = holdfast("status", "--bogus")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    near = holdfast("statsu")
    assert near.returncode == 2
    assert "did you mean `status`?" in near.stderr
    assert holdfast("run", "--bogus").returncode == 2
    assert holdfast("run", "surplus").returncode == 2


def test_help_teaches() -> None:
    page = holdfast("--help")
    assert page.returncode == 0
    assert "holdfast run -f keepalived.conf" in page.stdout
    for command in ("run", "check", "status"):
        assert f"\n  {command} " in page.stdout
    for command in ("run", "status"):
        assert "Examples:" in holdfast(command, "--help").stdout
    assert holdfast("--version").stdout == "holdfast 0.1.0\n"
    assert holdfast("--version", "status").stdout == "holdfast 0.1.0\n"
