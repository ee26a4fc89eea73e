"""`holdfast lab` from configuration files: every fault once, expectations that fail, both makes, a prompt, nothing left."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
TEXT = """\
global_defs {{
    router_id {name}
}}
$INTERVAL=1
vrrp_script check_web {{
    script "/usr/bin/curl -fs http://localhost/"
    interval $INTERVAL
    fall 1
    rise 1
    weight -60
}}
vrrp_instance web {{
    state BACKUP
    interface eth0
    version 3
    advert_int 0.2
    virtual_router_id 51
    priority {priority}
    unicast_src_ip 10.1.2.{own}
    unicast_peer {{
        10.1.2.{other}
    }}
    virtual_ipaddress {{
        10.1.2.100/24
        10.9.9.9/32
    }}
    track_script {{
        check_web
    }}
    notify_master "/usr/local/bin/tell master"
    notify /usr/local/bin/note
}}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    one, two = tmp_path / "one.conf", tmp_path / "two.conf"
    one.write_text(TEXT.format(name="one", priority=150, own=11, other=12))
    two.write_text(TEXT.format(name="two", priority=100, own=12, other=11))
    return str(one), str(two)


def lab(*words: str, said: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [HOLDFAST, "lab", *words], capture_output=True, text=True, timeout=120, input=said, check=False
    )


def left(of: str) -> list[str]:
    """Processes that still have to do with a lab of the file `of`: the daemons, and the holders of its networks."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                command = Path(f"/proc/{entry}/cmdline").read_text()
            except OSError:
                continue
            if of in command:
                found.append(command)
    return found


FAULTS = """\
start one two
wait one alone; wait two BACKUP
title a check that fails, and is mended
fail one check_web
wait two alone
mend one check_web
wait one alone
title the wire
probe 10.1.2.100
isolate one
wait two MASTER
report the master is cut off
expect gap under 1s
heal
wait one alone
cut one -> two
wait two MASTER; expect one MASTER
who
heal
wait one alone
loss two 100%
wait two MASTER
heal
wait one alone
link one eth0 down
wait one FAULT; wait two alone
link one eth0 up
wait one alone
title daemons
pause one
wait two MASTER
resume one
wait one alone
crash one
wait two alone
start one
wait one alone
kill two
start two
wait two BACKUP
restart one two
wait one alone
stop one
wait two alone within 3s
start one
wait one alone
"""


@pytest.mark.parametrize("make", ["holdfast", "keepalived"])
def test_every_fault(files: tuple[str, str], tmp_path: Path, make: str) -> None:
    script = tmp_path / "faults.lab"
    hand_over = "switch two web here\nwait two alone\nrelease two web\nwait one alone\n" if make == "holdfast" else ""
    script.write_text(FAULTS + hand_over + "notes one\nshow\nend\n")
    done = lab(*files, "--on", f"one={make}", "--script", str(script), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(one.get("good", True) for one in told if one["event"] != "who")
    report = next(one for one in told if one["event"] == "report")
    assert 300 < report["gap_ms"] < 1000
    both = [one for one in told if one["event"] == "who"]
    assert all(one["owners"] == ["one", "two"] for one in both), both
    notes = next(one["text"] for one in told if one["event"] == "text" and "notify" in one["text"])
    assert "notify INSTANCE web MASTER 150" in notes
    assert "notify_master" in notes
    assert left(files[0]) == []


def test_what_is_expected_and_not_so_ends_it_with_its_line(files: tuple[str, str], tmp_path: Path) -> None:
    script = tmp_path / "wrong.lab"
    script.write_text("start one\nwait one alone\n\nexpect two MASTER\nsay never reached\n")
    done = lab(*files, "--script", str(script))
    assert done.returncode == 1
    assert f"{script}:4: expect two MASTER: not so" in done.stdout
    assert "never reached" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("start three", "there is no host 'three': there are one, two"),
        ("strat one", "did you mean `start`?"),
        ("fail one check_db", "one has no script 'check_db': it has check_web"),
        ("link one eth7 down", "one has no interface 'eth7': it has eth0"),
        ("probe 10.1.2.3", "there are 10.1.2.100, 10.9.9.9"),
        ("wait one SLEEPING", "'SLEEPING' is no state"),
        ("loss one much", "write `loss HOST 30%`"),
        ("report", "begin with `probe`"),
        ("wait one MASTER within soon", "'soon' is no time"),
        ("say 'unclosed; start 'one", "No closing quotation"),
    ],
)
def test_commands_not_understood(files: tuple[str, str], words: str, wanted: str) -> None:
    done = lab(*files, "-c", words.removeprefix("say 'unclosed; "))
    assert done.returncode == 1
    assert wanted in done.stdout


def test_files_that_do_not_do(files: tuple[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.conf"
    broken.write_text("vrrp_instance x {\n")
    for words, wanted in (
        ((str(broken), files[0]), "broken.conf"),
        ((*files, "--on", "three=keepalived"), "there is no host 'three'"),
        ((*files, "--on", "one=frr"), "a host runs holdfast or keepalived"),
    ):
        done = lab(*words, "-c", "show")
        assert done.returncode == 1
        assert wanted in done.stderr
    assert lab(*files, "--on", "one", "-c", "show").returncode == 2


def test_commands_from_a_pipe(files: tuple[str, str]) -> None:
    done = lab(*files, said="start one\nwait one alone\nshow\nquit\nnever reached\n")
    assert done.returncode == 0, done.stdout
    assert "│ one (holdfast) │" in done.stdout
    assert "10.1.2.100: one" in done.stdout


def test_the_prompt(files: tuple[str, str]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(HOLDFAST, [HOLDFAST, "lab", *files])
    said = b""

    def until(wanted: bytes) -> None:
        nonlocal said
        end = time.monotonic() + 30
        while wanted not in said:
            assert time.monotonic() < end, said.decode(errors="replace")
            if select.select([terminal], [], [], 0.5)[0]:
                said += os.read(terminal, 65536)
        said = said[said.index(wanted) + len(wanted) :]

    until(b"lab> ")
    os.write(terminal, b"sta\ttwo\n")  # the common beginning of start and status is completed no further
    until(b"lab> ")
    os.write(terminal, b"start one two\n")
    until(b"host two starts")
    until(b"lab> ")
    os.write(terminal, b"wait one alone\n")
    until("• 10.1.2.100".encode())
    until(b"lab> ")
    os.write(terminal, b"expect two MASTER\n")
    until(b"not so")
    os.write(terminal, b"quit\n")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    os.close(terminal)
