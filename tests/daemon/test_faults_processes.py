"""Processes that are killed, frozen or refused: what the daemon's two halves do for each other, and for the peer."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import source_environment, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, descendants, wait_until
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site, state, teller, worker_of, written_state

pytestmark = pytest.mark.alone

SCHEDULING_S = 0.1
"""What a busy machine may add to any of the daemon's own times."""

OVERLAP_S = 0.05
"""How long both hosts may hold the address when the better one returns: the other yields on hearing its first advert."""


def notify(host: Host) -> str:
    return f'notify "{teller(host)[0]}"'


def run_files(host: Host) -> list[str]:
    """What is in the run directory, besides the journal of events, which stays."""
    return [name for name in host.run("sh", "-c", "ls /run/holdfast").split() if name != "events.jsonl"]


def running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()


# ---- the worker dies ------------------------------------------------------------------------------------------------


def test_a_killed_worker_s_addresses_are_released_at_once_and_never_owned_twice(lab: Lab) -> None:
    site = Site(lab, more=notify)
    told = teller(site.a)[1]
    killed = time.time_ns()
    os.kill(worker_of(site.first), signal.SIGKILL)
    site.until(lambda: site.b.holds(VIP), 2, "b takes over")
    resigned = [a for a in site.adverts(site.a, killed) if a.priority == 0]
    taken = [a for a in site.adverts(site.b, killed) if a.priority == 100]
    assert (resigned[0].time_ns - killed) / 1e9 < 0.1 + SCHEDULING_S
    assert 0.060 < (taken[0].time_ns - resigned[0].time_ns) / 1e9 < 0.061 + SCHEDULING_S  # skew: 156/256 of 0.1 s
    site.until(lambda: site.a.holds(VIP) and not site.b.holds(VIP), 10, "a leads again")
    site.until(lambda: written_state(site.a, "web") == "MASTER", 2, "and says so")
    assert site.overlap_s < OVERLAP_S
    assert "INSTANCE web FAULT 150" in told()
    assert told()[-1] == "INSTANCE web MASTER 150"
    site.only(site.a)


def test_a_worker_that_dies_again_is_restarted_later_and_only_once(lab: Lab) -> None:
    site = Site(lab, alone=True)
    first = worker_of(site.first)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "Starting it again in 0 s" in site.first.text(), 3, "at once")
    wait_until(lambda: descendants(site.first.pid) not in ([], [first]), 3, "the second worker")
    second = worker_of(site.first)
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: "Starting it again in 1 s" in site.first.text(), 3, "later")
    assert descendants(site.first.pid) == []
    died = time.monotonic()
    site.first.signal(signal.SIGHUP)  # a reload needs a worker now; the one that waits is then one too many
    wait_until(lambda: site.first.text().count("Starting VRRP child process") == 3, 3, "the third worker")
    third = worker_of(site.first)
    assert time.monotonic() - died < 0.9
    wait_until(lambda: time.monotonic() - died > 1.2, 3, "the time of the restart is over")
    assert descendants(site.first.pid) == [third]
    wait_until(lambda: site.a.holds(VIP), BOOT_S, "a leads")


def injected(host: Host, code: str, *words: str) -> Spawned:
    """`holdfast run` of the host's keepalived.conf, with `code` run first in it."""
    start = f"{code}\nfrom holdfast.cli.main import main\nmain()"
    path = str(host.directory / "keepalived.conf")
    command = (sys.executable, "-c", start, "run", "-f", path, "--run-dir", "/run/holdfast", *words)
    return host.spawn(*command, environment=source_environment())


ENDS_WITH = """
import os, holdfast.daemon.supervise as supervise
real = supervise.fork_vrrp_worker
def fork(*arguments):
    pid, end = real(*arguments)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pid = os.fork()
    if pid == 0:
        os._exit({status})
    return pid, end
supervise.fork_vrrp_worker = fork
"""


def test_permanent_errors_of_the_worker_end_the_daemon_others_do_not(lab: Lab) -> None:
    host = lab.host("a")
    host.write("keepalived.conf", CONFIGURATION % (150, ""))
    for status in (1, 2, 4):
        daemon = injected(host, ENDS_WITH.format(status=status))
        assert daemon.wait(5) == status
        assert f"exited with permanent error {status}. Terminating" in daemon.text()
    daemon = injected(host, ENDS_WITH.format(status=70))
    wait_until(lambda: "Starting it again in 1 s" in daemon.text(), 5, "tried again")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(5) == 0


NO_FORK_AT_FIRST = """
import errno, holdfast.daemon.supervise as supervise
real, refusals = supervise.fork_vrrp_worker, [errno.EAGAIN]
def fork(*arguments):
    if refusals:
        raise OSError(refusals.pop(), "resource temporarily unavailable")
    return real(*arguments)
supervise.fork_vrrp_worker = fork
"""


def test_a_worker_that_cannot_be_forked_is_tried_again(lab: Lab) -> None:
    host = lab.host("a")
    host.write("keepalived.conf", CONFIGURATION % (150, ""))
    daemon = injected(host, NO_FORK_AT_FIRST)
    wait_until(lambda: host.holds(VIP), BOOT_S, "a leads")
    assert "No vrrp worker can be started" in daemon.text()


def test_without_respawn_a_dead_worker_ends_the_daemon_and_frees_the_addresses(lab: Lab) -> None:
    host = lab.host("a")
    path = host.write("keepalived.conf", CONFIGURATION % (150, ""))
    command = str(Path(sys.executable).with_name("holdfast-keepalived"))
    words = ("-n", "-l", "-D", "-G", "-R", "-f", path, "-p", "/run/k/k.pid", "-r", "/run/k/v.pid")
    host.run("mkdir", "/run/k")
    daemon = host.spawn(command, *words)
    wait_until(lambda: host.holds(VIP), BOOT_S, "a leads")
    os.kill(worker_of(daemon), signal.SIGKILL)
    assert daemon.wait(5) == 1
    assert not host.holds(VIP)
    assert host.run("ls", "/run/k") == "events.jsonl\nstate\n"
    assert host.run("cat", "/run/k/state") == ""


# ---- the supervisor dies --------------------------------------------------------------------------------------------


def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_start_is_free(lab: Lab) -> None:
    site = Site(lab, more=notify)
    told = teller(site.a)[1]
    worker = worker_of(site.first)
    asked = time.time_ns()
    site.first.signal(signal.SIGKILL)
    site.until(lambda: site.b.holds(VIP), 2, "b takes over")
    assert [a for a in site.adverts(site.a, asked) if a.priority == 0]
    site.until(lambda: not running(worker), 3, "the worker leaves")
    assert not site.a.holds(VIP)
    assert site.overlap_s < OVERLAP_S
    assert told()[-1] == "INSTANCE web STOP 150"
    assert "The supervisor was killed" in site.first.text()
    assert run_files(site.a) == ["state"]
    assert site.a.run("cat", "/run/holdfast/state") == ""
    start_holdfast(site.a, site.text(site.a, 150))
    site.only(site.a)
    assert '"what":"supervisor killed"' in site.a.run("cat", "/run/holdfast/events.jsonl")
    assert "did not end in an orderly way" not in site.a.run("cat", "/run/holdfast/events.jsonl")


def test_an_orphaned_worker_with_slow_scripts_leaves_the_next_daemon_s_files_alone(lab: Lab) -> None:
    host = lab.host("a")
    began = host.directory / "began"
    slow = host.write("slow", f"#!/bin/sh\ntouch {began}\nsleep 5\n", 0o755)
    daemon = start_holdfast(host, CONFIGURATION % (150, f'notify_stop "{slow}"'))
    wait_until(lambda: host.holds(VIP), BOOT_S, "a leads")
    worker = worker_of(daemon)
    daemon.signal(signal.SIGKILL)
    wait_until(began.exists, 3, "the stop script runs")
    again = start_holdfast(host, CONFIGURATION % (150, ""))
    wait_until(lambda: written_state(host, "web") == "MASTER", BOOT_S, "the next daemon leads")
    wait_until(lambda: not running(worker), 5, "the orphan ends")
    assert written_state(host, "web") == "MASTER"
    assert set(run_files(host)) == {"control.sock", "holdfast.pid", "state", "vrrp.pid"}
    assert state(host) == "MASTER"
    assert again.alive()


def test_both_killed_at_once_the_next_start_sweeps_and_says_so(lab: Lab) -> None:
    site = Site(lab)
    for pid in (site.first.pid, *descendants(site.first.pid)):
        os.kill(pid, signal.SIGSTOP)  # so that none of them can clean up after another
    site.a.kill_everything()
    site.until(lambda: site.b.holds(VIP), 3, "b takes over")
    assert site.a.holds(VIP)  # nobody was left who could have removed it
    again = start_holdfast(site.a, site.text(site.a, 150))
    wait_until(lambda: "left behind by an earlier run" in again.text(), BOOT_S, "said so")
    assert f"Removed {VIP}/24 from eth0" in again.text()
    site.only(site.a)


# ---- SIGTERM --------------------------------------------------------------------------------------------------------


def test_sigterm_as_master_runs_the_stop_script_within_a_second(lab: Lab) -> None:
    site = Site(lab, more=notify)
    told = teller(site.a)[1]
    site.first.signal(signal.SIGTERM)
    begun = time.monotonic()
    site.until(lambda: not site.first.alive(), 3, "a leaves")
    assert time.monotonic() - begun < 1.0
    assert told()[-1] == "INSTANCE web STOP 150"
    assert site.overlap_s == 0
    assert run_files(site.a) == ["state"]


def test_sigterm_as_backup_says_nothing_on_the_wire(lab: Lab) -> None:
    site = Site(lab, more=notify)
    told = teller(site.b)[1]
    site.second.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert site.second.wait(3) == 0
    assert time.monotonic() - begun < 1.0
    assert told() == ["INSTANCE web BACKUP 100", "INSTANCE web STOP 100"]
    site.goes_on(site.a, 5)
    assert site.adverts(site.b) == []
    site.only(site.a)


def test_sigterm_of_the_worker_alone_hands_over_and_comes_back(lab: Lab) -> None:
    site = Site(lab)
    asked = time.time_ns()
    worker = worker_of(site.first)
    os.kill(worker, signal.SIGTERM)
    site.until(lambda: site.b.holds(VIP), 2, "b takes over")
    assert [a for a in site.adverts(site.a, asked) if a.priority == 0]
    site.until(lambda: site.a.holds(VIP) and not site.b.holds(VIP), 10, "a leads again")
    assert worker_of(site.first) != worker
    assert site.overlap_s < OVERLAP_S


def test_sigterm_with_a_frozen_worker_frees_the_addresses_all_the_same(lab: Lab) -> None:
    site = Site(lab, head="child_wait_time 1\n")
    worker = worker_of(site.first)
    os.kill(worker, signal.SIGSTOP)
    site.first.signal(signal.SIGTERM)
    site.first.wait(4)
    assert not running(worker)
    assert not site.a.holds(VIP)
    assert "does not leave" in site.first.text()
    site.only(site.b)


# ---- stalls ---------------------------------------------------------------------------------------------------------


def test_only_the_worker_frozen_as_master(lab: Lab) -> None:
    site = Site(lab, more="nopreempt")
    worker = worker_of(site.first)
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: site.b.holds(VIP), 3, "b takes over")
    site.goes_on(site.b, 5)
    resumed = time.time_ns()
    os.kill(worker, signal.SIGCONT)
    site.only(site.b)
    site.goes_on(site.b, 5)
    assert site.adverts(site.a, resumed) == []
    assert worker_of(site.first) == worker  # nobody took it for stuck
    assert "another may have taken over" in site.first.text() or "advertises priority" in site.first.text()


def test_frozen_supervisors_hold_up_no_election(lab: Lab) -> None:
    site = Site(lab, more=notify)
    since = time.time_ns()
    for daemon in (site.first, site.second):
        daemon.signal(signal.SIGSTOP)
    site.goes_on(site.a, 15)
    assert site.longest_gap_s(site.a, since) < 0.1 + SCHEDULING_S
    assert site.adverts(site.b) == []
    worker = descendants(site.first.pid)[0]
    os.kill(worker, signal.SIGTERM)
    site.until(lambda: site.b.holds(VIP), 2, "b takes over, its supervisor frozen")
    wait_until(lambda: who_answers(site.client, VIP, 0.02) == {site.b.mac}, 2, "b answers")
    assert not site.a.holds(VIP)
    for daemon in (site.first, site.second):
        daemon.signal(signal.SIGCONT)
    wait_until(lambda: written_state(site.a, "web") == "MASTER", 8, "a leads again")
    wait_until(lambda: teller(site.b)[1]()[-2:] == ["INSTANCE web MASTER 100", "INSTANCE web BACKUP 100"], 3, "told b")
    site.only(site.a)
