"""The vrrp worker on a real host when the kernel is not itself: full queues, lost notifications, a machine that slept."""

import errno
import gc
import os
import socket
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.edge.channel import Channel, Reload, Stop, ToSupervisor, ToWorker
from holdfast.edge.clock import asleep_ns
from holdfast.edge.loop import Loop
from holdfast.edge.worker import VrrpWorker
from holdfast.engine.messages import LogLine, StateNotice
from holdfast.kernel.ports import Overrun
from holdfast.lab.hosts import Host, Lab, wait_until
from holdfast.vrrp.config import Family, InstanceConfig, VirtualAddress
from holdfast.vrrp.machine import Backup

VIP = "192.0.2.100"


def plan(priority: int, notify_priority_changes: bool = False) -> VrrpPlan:
    instance = InstanceConfig(
        name="web", vrid=51, interface="eth0", family=Family.IPV4, version=3, priority=priority,
        adver_interval_ns=50 * MILLISECOND, group=parse("224.0.0.18"),
        addresses=(VirtualAddress(address=parse(VIP), prefix_length=24),),
        notify_priority_changes=notify_priority_changes,
    )  # fmt: skip
    return VrrpPlan(instances=(instance,))


class Running:
    """A worker in a thread of its own, in a host's network, and what it told."""

    def __init__(self, host: Host, priority: int = 150) -> None:
        self.host, self.priority = host, priority
        self.told: list[object] = []
        self.worker: VrrpWorker | None = None
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._its = its
        self._loop = Loop()
        self._channel = Channel(mine, ToSupervisor, self._loop, lambda message, _: self.told.append(message), lambda: None)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        with self.host.inside():
            loop = Loop()
            channel = Channel(self._its, ToWorker, loop, lambda *said: self.at_work.on_message(*said), lambda: None)
            self.worker = VrrpWorker(plan(self.priority), loop, channel, None)
            self.worker.start()
        self.worker.run()
        self.worker.close()
        channel.close()
        loop.close()

    @property
    def at_work(self) -> VrrpWorker:
        assert self.worker is not None
        return self.worker

    def listen(self) -> None:
        self._loop.wait(time.monotonic_ns() + MILLISECOND)

    def until(self, text: str) -> None:
        def said() -> bool:
            self.listen()
            return text in self.text()

        wait_until(said, 5, f"{text!r} in {self.text()}")

    def text(self) -> str:
        lines = [t.text for t in self.told if isinstance(t, LogLine)]
        return "\n".join(lines + [f"{t.name} is {t.state}: {t.cause}" for t in self.told if isinstance(t, StateNotice)])

    def reload(self, wanted: VrrpPlan) -> None:
        octets = msgspec.msgpack.encode(wanted)
        fd = os.memfd_create("plan")
        os.write(fd, octets)
        self._channel.send(Reload(len(octets)), fd)
        self.until("Reloaded: ")

    def end(self) -> None:
        self._channel.send(Stop())
        self._thread.join(5)
        self._channel.close()
        self._loop.close()
        assert not self._thread.is_alive()


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("a")


@pytest.fixture
def running(host: Host) -> Iterator[Running]:
    made = Running(host)
    try:
        wait_until(lambda: host.holds(VIP), 5, "the worker leads")
        yield made
    finally:
        made.end()
        gc.unfreeze()
        gc.enable()


def test_full_buffers_are_named_counted_and_survived(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = running.at_work.engine.slots[1]
    with monkeypatch.context() as broken:
        broken.setattr(running.at_work.adverts, "send_beat", lambda beat, version, slots: [(1, errno.ENOBUFS)])
        running.until("cannot send an advert on eth0 (224.0.0.18): no buffer space available; the kernel ran out of buffer")
        wait_until(lambda: slot.counters["send_errors"] >= 3, 3, "counted")
    failed = slot.counters["send_errors"]
    capture = running.host.lab.capture(frozenset((112,)))
    wait_until(lambda: len(list(capture.adverts())) >= 3, 3, "adverts go out again")
    capture.close()
    assert slot.counters["send_errors"] <= failed + 1
    assert slot.role.name == "MASTER"
    assert running.host.holds(VIP)


def test_an_address_lost_with_its_notification_is_put_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = running.at_work._monitor
    read = monitor.read
    with monkeypatch.context() as deaf:
        deaf.setattr(monitor, "read", lambda: read() and [])
        running.host.links.remove_address("eth0", VIP, 24)
        time.sleep(0.05)  # nothing can be awaited: that nothing happens is the point
        assert not running.host.holds(VIP)
        deaf.setattr(monitor, "read", lambda: read() and [Overrun()])
        running.host.links.add_address("eth0", "192.0.2.200", 24)  # any change makes it look
        wait_until(lambda: running.host.holds(VIP), 3, "put back")
    running.until(f"{VIP} was removed from eth0")


def test_a_master_that_slept_listens_before_it_speaks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.until("web is MASTER")
    running.told.clear()
    capture = running.host.lab.capture(frozenset((112,)))
    monkeypatch.setattr("holdfast.edge.worker.asleep_ns", lambda: asleep_ns() + 5 * SECOND)
    woken = time.time_ns()
    running.until("web is BACKUP")
    running.until("web is MASTER: no master heard")
    notices = [t for t in running.told if isinstance(t, StateNotice)]
    assert [t.state for t in notices] == ["BACKUP", "MASTER"]
    assert "was not running for about 5 s" in notices[0].cause
    spoke = [advert.time_ns for advert in capture.adverts() if advert.time_ns > woken]
    capture.close()
    assert (spoke[0] - woken) / 1e9 > 0.05  # an interval of listening, at least, before the first word


def test_a_reload_does_not_forget_when_the_master_was_last_heard(running: Running) -> None:
    follower = Running(running.host.lab.host("b"), priority=100)
    try:
        wait_until(lambda: follower.worker is not None and 1 in follower.worker.engine.slots, 5, "b has begun")
        slot = follower.at_work.engine.slots[1]
        wait_until(lambda: slot.watched and follower.at_work.adverts.heard_since(1)[1] > 10, 5, "routine is absorbed")
        follower.reload(plan(100, notify_priority_changes=True))
        assert isinstance(slot.state, Backup)
        assert slot.state.master_down_at > time.monotonic_ns()  # and not as of when the routine began
        assert slot.config.notify_priority_changes
        running.until("web is MASTER")
        assert "was not running" not in follower.text()
    finally:
        follower.end()
