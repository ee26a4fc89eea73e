"""Hosts, faults and what is left of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from holdfast.lab.ask import who_answers
from holdfast.lab.hosts import Host, Lab, NotInTimeError, descendants, wait_until
from holdfast.lab.namespaces import NamespacesRefusedError, check_allowed


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def reaches(client: Host, host: Host) -> tuple[bool, bool]:
    """Whether `client` gets an answer from `host`, over IPv4 and over IPv6."""
    four, six = who_answers(client, host.ip4, 0.03), who_answers(client, host.link_local, 0.03)
    return four == {host.mac}, six == {host.mac}


def test_hosts_have_their_addresses_and_names(lab: Lab) -> None:
    first, second = lab.host("first"), lab.host("second")
    assert {held.address for held in second.addresses()} == {
        "127.0.0.1", "::1", "192.0.2.2", "2001:db8:1::2", "fe80::2"
    }  # fmt: skip
    assert second.links.mac("eth0") == "02:00:00:00:00:02"
    assert second.run("uname", "-n") == "second\n"
    assert reaches(first, second) == (True, True)
    assert who_answers(first, "2001:db8:1::2") == {second.mac}


def test_each_host_has_its_own_run(lab: Lab) -> None:
    first, second = lab.host("first"), lab.host("second")
    first.run("touch", "/run/mark")
    assert second.run("ls", "/run") == ""
    assert first.run("ls", "/run") == "mark\n"
    assert not os.path.exists("/run/mark")


def test_faults_of_the_wire(lab: Lab) -> None:
    a, b, c = (lab.host(name) for name in "abc")
    lab.cut(a)
    assert reaches(c, a) == (False, False)
    assert reaches(c, b) == (True, True)
    lab.heal(a)
    assert reaches(c, a) == (True, True)
    lab.split(a, b)
    assert (reaches(a, b), reaches(a, c), reaches(c, b)) == ((False, False), (True, True), (True, True))
    lab.heal()
    assert reaches(a, b) == (True, True)


@pytest.mark.parametrize("fault", ["mute", "deafen"])
def test_one_way_cuts(lab: Lab, fault: str) -> None:
    a, b = lab.host("a"), lab.host("b")
    heard = {"a": 0, "b": 0}
    getattr(lab, fault)(a)
    for host in (a, b):
        with host.inside():
            from holdfast.lab.capture import Capture, tap_here

            tap = Capture(tap_here(), "eth0", protocols=frozenset((0x0806,)))
        other = b if host is a else a
        who_answers(other, "192.0.2.77", 0.03)
        heard[host.name] = len(tap.drain())
        tap.close()
    assert heard == ({"a": 1, "b": 0} if fault == "mute" else {"a": 0, "b": 1})
    lab.heal()
    assert reaches(a, b) == (True, True)


def test_a_dead_host_comes_back_as_after_a_boot(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    sleeper = a.spawn("sleep", "1000")
    a.run("touch", "/run/stale")
    a.links.add_address("eth0", "192.0.2.100", 24)
    a.power_off()
    assert not sleeper.alive()
    assert reaches(b, a) == (False, False)
    a.power_on()
    assert reaches(b, a) == (True, True)
    assert not a.holds("192.0.2.100")
    assert a.run("ls", "/run") == ""


def test_freezing_a_process_tree(lab: Lab) -> None:
    host = lab.host("a")
    path = host.directory / "beats"
    daemon = host.spawn("sh", "-c", "(while :; do echo beat >> beats; sleep 0.01; done) & wait")
    wait_until(lambda: path.exists() and len(descendants(daemon.pid)) >= 1, 3, "it beats")
    host.stop(daemon)
    time.sleep(0.03)  # what was under way
    size = path.stat().st_size
    with pytest.raises(NotInTimeError):
        wait_until(lambda: path.stat().st_size > size, 0.2, "frozen")
    host.resume(daemon)
    wait_until(lambda: path.stat().st_size > size, 3, "it beats again")


def test_nothing_is_left_behind() -> None:
    pids: list[int] = []
    lab = Lab()

    def fail_inside() -> None:
        with lab:
            host = lab.host("a")
            host.spawn("sh", "-c", "trap '' TERM INT HUP; (setsid sleep 1000 &) ; while :; do sleep 1; done")
            wait_until(lambda: len(host.processes()) >= 2, 3, "both run")
            pids.extend((*host.processes(), host.namespaces.holder, lab.namespaces.holder))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_inside()
    assert len(pids) >= 4
    assert not [pid for pid in pids if _runs(str(pid))]
    assert not lab.directory.exists()


def test_a_killed_lab_leaves_no_process() -> None:
    """The holder and the daemons end with the process that made them, even by SIGKILL."""
    script = (
        "import time\nfrom holdfast.lab.hosts import Lab\nlab = Lab()\nhost = lab.host('a')\n"
        "process = host.spawn('sleep', '1000')\nprint(process.pid, host.namespaces.holder, lab.directory, flush=True)\n"
        "time.sleep(1000)\n"
    )
    maker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    sleeper, holder, directory = maker.stdout.readline().split()
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    subprocess.run(["rm", "-r", directory], check=True)
    for pid in (sleeper, holder):
        wait_until(lambda pid=pid: not _runs(pid), 3, f"{pid} ends")  # type: ignore[misc]


def _runs(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_machine_without_namespaces_gets_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_flags: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    check_allowed()
    monkeypatch.setattr("holdfast.lab.namespaces.unshare", refuse)
    with pytest.raises(NamespacesRefusedError, match=r"--privileged|run as root"):
        check_allowed()
