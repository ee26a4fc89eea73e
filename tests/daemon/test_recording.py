"""The recording of a running daemon: on SIGUSR1, for `holdfast dump --record`, when the worker fails; and replayed."""

import json
import signal
from pathlib import Path

from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from tests.daemon.test_faults_processes import injected
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site

SECRET = "gehe1m"
PASS = f"authentication {{\n        auth_type PASS\n        auth_pass {SECRET}\n    }}"
HOLDFAST = (str(Path(__file__).parents[2] / ".venv/bin/holdfast"),)


def recording(host: Host, name: str = "holdfast.rec") -> str:
    """The path of a file in the host's run directory, as this process sees it."""
    return host.run("sh", "-c", f"ls /run/holdfast/{name} 2>/dev/null || true").strip()


def replayed(host: Host, path: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(host.run(*HOLDFAST, "replay", path, "--json", "--explain"))
    return answer


def says(daemon: Spawned, words: str) -> None:
    wait_until(lambda: words in daemon.text(), 5, words)


def test_a_life_is_recorded_and_decides_the_same_again(lab: Lab) -> None:
    site = Site(lab)
    site.first.signal(signal.SIGUSR1)
    says(site.first, "The recording is in /run/holdfast/holdfast.rec")
    assert recording(site.a) == "/run/holdfast/holdfast.rec"
    site.a.run("ip", "link", "set", "eth0", "down")
    site.until(lambda: site.b.holds(VIP), 5, "b takes over")
    site.a.run("ip", "link", "set", "eth0", "up")
    site.until(lambda: site.a.holds(VIP) and not site.b.holds(VIP), 10, "a leads again")
    for host in (site.a, site.b):
        said = json.loads(host.run(*HOLDFAST, "dump", "--record", "--json"))
        assert said["record"] == "/run/holdfast/holdfast.rec"
        assert said["bytes"] < 64 * 1024
        answer = replayed(host, said["record"])
        assert answer["same"] is True, answer["difference"]
        assert answer["damage"] == ""
    told = [(one["instance"], one["was"], one["became"]) for one in answer["transitions"]]  # type: ignore[attr-defined]
    assert told[:3] == [("web", "INIT", "BACKUP"), ("web", "BACKUP", "MASTER"), ("web", "MASTER", "BACKUP")]
    assert recording(site.a, "holdfast.rec.1") == "/run/holdfast/holdfast.rec.1"
    assert recording(site.a, "holdfast.rec.new") == ""


def test_dump_to_a_file_leaves_the_run_directory_alone_and_holds_no_password(lab: Lab, tmp_path: Path) -> None:
    import zlib

    host = lab.host("a")
    start_holdfast(host, CONFIGURATION.replace("version 3", "version 2").replace("0.1", "1") % (255, PASS))
    wait_until(lambda: host.holds(VIP), BOOT_S, "master")
    mine = tmp_path / "mine.rec"
    host.run(*HOLDFAST, "dump", "--record", str(mine))
    assert recording(host) == ""
    assert mine.stat().st_mode & 0o777 == 0o600
    header, _, body = mine.read_bytes().partition(b"\n")
    frames = zlib.decompress(body)
    assert b'"reason":"holdfast dump --record"' in header
    assert b"web" in frames
    assert b"hidden 1" in frames
    assert SECRET.encode() not in header + frames
    places = json.loads(host.run(*HOLDFAST, "dump", "--json"))
    assert places["record"] == "/run/holdfast/holdfast.rec"
    assert places["dumps"]["stats"].endswith("/keepalived.stats")


FAILS_IN_ENGINE = """
import holdfast.engine.engine as engine
def fail(*arguments):
    raise ValueError("a mistake of ours")
engine.lines.address_lost = fail
"""


def test_a_failing_worker_leaves_its_recording_and_the_one_before_is_kept(lab: Lab) -> None:
    host = lab.host("a")
    host.write("keepalived.conf", CONFIGURATION % (150, PASS))
    daemon = injected(host, FAILS_IN_ENGINE)
    for name in ("holdfast.rec", "holdfast.rec.1"):
        wait_until(lambda: host.holds(VIP), BOOT_S, "master")
        host.run("ip", "address", "del", f"{VIP}/24", "dev", "eth0")
        wait_until(lambda name=name: recording(host, name) != "", 5, "it fails, and leaves it")  # type: ignore[misc]
    hint = "what led to it: holdfast replay /run/holdfast/holdfast.rec --explain"
    wait_until(lambda: daemon.text().count(hint) == 2, 5, "it is said")
    wait_until(lambda: len(host.run("ls", "/run/holdfast").split("holdfast.rec")) == 3, 5, "nothing else is left")
    answer = json.loads(host.run("sh", "-c", f"{HOLDFAST[0]} replay /run/holdfast/holdfast.rec --json || true"))
    assert answer["header"]["reason"] == "the worker failed: ValueError: a mistake of ours"
    assert answer["difference"]["what"] == "the engine failed over it then, and does not now"
    assert answer["difference"]["event"] == f"somebody removed {VIP} from eth0"
    assert answer["difference"]["recorded"] is None
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(5) == 0
