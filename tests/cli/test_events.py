"""`holdfast events` and the daemon that writes them: causes, commands, reloads, restarts, following, all on real hosts."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_status, source_environment, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

CONFIGURATION = """\
vrrp_script check_web {
    script "/bin/sh -c 'test ! -e %s'"
    interval 1
    timeout 1
    weight -60
}
vrrp_instance web {
    interface eth0
    version 3
    virtual_router_id 51
    priority %d
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.100/24
    }
    track_script {
        check_web
    }
}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def configuration(host: Host, priority: int) -> str:
    return CONFIGURATION % (host.directory / "ill", priority)


def events(host: Host, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.run(*holdfast_command("events", "--json", *words)).splitlines()]


def told(host: Host, kind: str, what: str) -> list[dict[str, Any]]:
    try:
        return [row for row in events(host, "-n", "1000") if row["kind"] == kind and row["what"] == what]
    except subprocess.CalledProcessError:
        return []


def await_event(host: Host, kind: str, what: str, seconds: float = 8) -> dict[str, Any]:
    wait_until(lambda: bool(told(host, kind, what)), seconds, f"{host.name}: event {kind} {what}", step=0.1)
    return told(host, kind, what)[-1]


def refused(host: Host, *words: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        host.run(*holdfast_command(*words))


def follow(host: Host) -> tuple[Spawned, Callable[[], str]]:
    following = host.spawn(
        *holdfast_command("events", "--follow", "-n", "0"), environment=source_environment(), log="follow.log"
    )
    return following, following.text


def test_a_day_in_the_life(lab: Lab) -> None:
    """One story, for its hosts take seconds to start: each event carries what made it happen."""
    a, b = lab.host("a"), lab.host("b")
    start_holdfast(b, configuration(b, 100))
    daemon = start_holdfast(a, configuration(a, 150))
    await_event(a, "state", "BACKUP → MASTER")
    await_event(b, "state", "BACKUP")
    assert told(a, "daemon", "started")[0]["cause"].startswith("holdfast ")
    assert told(a, "tracker", "script up")[0]["name"] == "check_web"
    following, followed = follow(a)
    wait_until(lambda: bool(following.alive() and _open_files(following, "events.jsonl")), 5, "it follows")

    # why the one is master and the other is not, from what they heard last and what happened
    told_why = json.loads(b.run(*holdfast_command("why", "web", "--json")))
    assert [reason["slug"] for reason in told_why["against"]] == ["lower-priority"]
    assert told_why["against"][0]["text"] == "priority 100 < 150: 192.0.2.1 outranks this node"
    assert float(told_why["reasons"][1]["text"].split("heard ")[1].split(" s ago")[0]) < 1
    waits = holdfast_status(b)["instances"][0]
    assert 0.1 < waits["takes_over_in_s"] <= waits["master_down_interval_s"] == 0.361  # 3 × 0.1 s + 156/256 × 0.1 s
    assert "what led here" in a.run(*holdfast_command("why", "web"))
    with pytest.raises(subprocess.CalledProcessError) as unknown:
        a.run(*holdfast_command("why", "wbe"))
    assert (unknown.value.returncode, unknown.value.stderr) == (
        1, "holdfast: there is no instance wbe: did you mean web?\n"
    )  # fmt: skip

    # a check fails, and recovers
    (a.directory / "ill").touch()
    lost = await_event(a, "state", "MASTER → BACKUP")
    assert lost["cause"] == "192.0.2.2 advertises priority 100, we have 90"
    fell = told(a, "priority", "priority 150 → 90")[0]
    assert fell["cause"] == "base 150; script check_web is down: -60"
    down = told(a, "tracker", "script down")[0]
    assert (down["name"], down["cause"], down["instances"]) == ("check_web", "exited with 1", ["web"])
    assert down["time"] <= fell["time"] <= lost["time"]
    assert "if script check_web succeeds here (+60), priority 150 > 100: this node takes over" in a.run(
        *holdfast_command("why", "web")
    )
    (a.directory / "ill").unlink()
    wait_until(lambda: len(told(a, "state", "BACKUP → MASTER")) == 2, 8, "a is master again", step=0.1)
    assert told(a, "tracker", "script up")[-1]["cause"] == "exited with 0"
    wait_until(lambda: followed().count("BACKUP → MASTER") == 1, 5, "the follower sees it")
    assert "script down: exited with 1" in followed()

    # an operator's commands, and one that can't be carried out
    a.run(*holdfast_command("switch", "web", "--away"))
    asked = told(a, "command", "switch --away")[0]
    assert (asked["name"], asked["by"], asked["uid"]) == ("web", "root", 0)
    a.run(*holdfast_command("release", "web"))
    assert told(a, "command", "release")
    refused(a, "switch", "wbe", "--here")
    assert await_event(a, "command", "switch --here refused")["cause"] == "there is no instance wbe"

    # reloads
    a.write("keepalived.conf", configuration(a, 140))
    daemon.signal(signal.SIGHUP)
    reloaded = await_event(a, "reload", "reloaded, 1 change")
    assert (reloaded["cause"], reloaded["changes"]) == ("SIGHUP", ["instance web: priority: 150 → 140"])
    a.run(*holdfast_command("reload"))
    assert told(a, "reload", "reloaded, nothing changed")[0]["cause"] == "holdfast reload by root (uid 0)"
    a.write("keepalived.conf", "vrrp_instance web {\n")
    daemon.signal(signal.SIGHUP)
    await_event(a, "reload", "refused, the old configuration goes on")

    # the worker dies; then the daemon stops, and its events stay
    a.run("sh", "-c", "kill -9 $(cat /run/holdfast/vrrp.pid)")
    assert await_event(a, "daemon", "vrrp worker ended")["cause"].endswith("was ended by signal 9")
    wait_until(lambda: len(told(a, "daemon", "vrrp worker started")) == 2, 8, "it is started again", step=0.1)
    daemon.signal(signal.SIGTERM)
    daemon.wait(10)
    before = events(a, "-n", "1000")
    assert [row["what"] for row in before][-1] == "stopped"
    assert told(a, "daemon", "stopping")[0]["cause"] == "SIGTERM"
    start_holdfast(a, configuration(a, 150))
    wait_until(lambda: len(told(a, "daemon", "started")) == 2, 8, "a second run", step=0.1)
    assert events(a, "-n", "1000")[: len(before)] == before
    wait_until(lambda: "stopped" in followed() and followed().count(" started: ") >= 1, 5, "the follower goes on")
    following.signal(signal.SIGINT)
    assert following.wait(5) == 0

    # what is shown of them
    assert len(events(a, "-n", "3")) == 3
    assert {row["name"] for row in events(a, "check_web", "-n", "1000")} <= {"check_web", ""}
    assert any(row["name"] == "check_web" for row in events(a, "web", "-n", "1000"))  # a tracker it uses
    assert len(events(a, "--since", "1h")) == len(events(a, "-n", "1000"))
    shown = a.run(*holdfast_command("events", "web"))
    assert "MASTER → BACKUP: 192.0.2.2 advertises priority 100, we have 90" in shown
    assert "\x1b" not in shown


def _open_files(process: Spawned, name: str) -> bool:
    try:
        return any(name in os.readlink(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd"))
    except OSError:
        return False


ROWS = [
    {"time": "2026-11-23T01:00:00.000+00:00", "kind": "daemon", "name": "", "what": "started", "cause": "pid 1"},
    {"time": "2026-11-23T01:00:01.000+00:00", "kind": "state", "name": "web", "what": "BACKUP → MASTER", "cause": "x",
     "state": "MASTER"},
    {"time": "2026-11-23T01:00:02.000+00:00", "kind": "tracker", "name": "chk", "what": "script down",
     "cause": "said \x1b[2J this", "left_out": 7},
]  # fmt: skip


def run(run_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "events", "--run-dir", str(run_dir), *words],
        capture_output=True, text=True, check=False, timeout=20, env=os.environ | {"TZ": "UTC"},
    )  # fmt: skip


def test_every_kind_can_be_asked_for() -> None:
    from holdfast.cli.events import KINDS
    from holdfast.engine import journal

    assert KINDS == journal.KINDS


def test_it_reads_what_a_daemon_left_and_says_what_is_wrong(tmp_path: Path) -> None:
    absent = run(tmp_path)
    assert (absent.returncode, absent.stdout) == (1, "")
    assert str(tmp_path / "events.jsonl") in absent.stderr
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    shown = run(tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        "2026-11-23 01:00:00.000  daemon    -             started: pid 1",
        "2026-11-23 01:00:01.000  state     web           BACKUP → MASTER: x",
        "2026-11-23 01:00:02.000  tracker   chk           script down: said  [2J this (7 like this before it are left out)",
    ]
    near = run(tmp_path, "wbe")
    assert (near.returncode, near.stderr) == (1, "holdfast: no event names wbe: there are web\n")
    only = run(tmp_path, "--kind", "state", "--kind", "tracker", "-n", "1", "--json").stdout
    assert [json.loads(line)["kind"] for line in only.splitlines()] == ["tracker"]
    assert run(tmp_path, "--kind", "state", "--json").stdout.count("\n") == 1
    assert run(tmp_path, "--kind", "weather").returncode == 2
    assert run(tmp_path, "--since", "never").returncode == 2
    assert run(tmp_path, "--since", "1s").stdout == ""
    closed = subprocess.run(
        f"{sys.executable} -m holdfast.cli.main events --run-dir {tmp_path} | true", shell=True, stderr=subprocess.PIPE,
        check=False, timeout=20,
    )  # fmt: skip
    assert closed.stderr == b""
