"""A client that asks an address for an echo a thousand times a second, and says when nobody answered.

A process of its own (`python -m holdfast.lab.probe ADDRESS --interface eth0 --mac`), so that nothing it measures
disturbs it; `Probe` starts and reads it. Answers carry the kernel's receive time and the link-layer address they
came from, so the report tells who answered when. Times are nanoseconds of CLOCK_REALTIME.
"""

import argparse
import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

import msgspec

from holdfast.base import address
from holdfast.base.checksum import internet_checksum
from holdfast.lab.capture import Capture, tap_here
from holdfast.lab.hosts import Host, Spawned, wait_until

_INTERVAL_NS = 1_000_000
_ECHO_4, _ANSWER_4, _ECHO_6, _ANSWER_6 = 8, 0, 128, 129


class Answerer(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of time in which one host answered."""

    mac: str
    first_ns: int
    last_ns: int
    answers: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe saw. `outage_ns`: the longest time without an answer, first answer to last."""

    sent: int
    answered: int
    lost: int
    outage_ns: int
    outage_from_ns: int
    outage_lost: int
    first_ns: int
    last_ns: int
    answerers: tuple[Answerer, ...]


class Tally:
    """Turns answers into a report; pure. An answer is counted once, in the order it arrived."""

    def __init__(self) -> None:
        self.answers = 0
        self.outage_ns, self.outage_from_ns, self.outage_lost = 0, 0, 0
        self.first_ns = self.last_ns = 0
        self._last_sequence = 0
        self._seen: set[int] = set()
        self._answerers: list[list[int | str]] = []

    def answer(self, sequence: int, time_ns: int, mac: str) -> None:
        """The answer to probe `sequence` arrived at `time_ns` from `mac`."""
        if sequence in self._seen:
            return
        self._seen.add(sequence)
        if self.answers and time_ns - self.last_ns > self.outage_ns:
            self.outage_ns, self.outage_from_ns = time_ns - self.last_ns, self.last_ns
            self.outage_lost = sequence - self._last_sequence - 1
        if not self.answers:
            self.first_ns = time_ns
        self.answers += 1
        self.last_ns, self._last_sequence = time_ns, sequence
        if not self._answerers or self._answerers[-1][0] != mac:
            self._answerers.append([mac, time_ns, time_ns, 0])
        current = self._answerers[-1]
        current[2], current[3] = time_ns, int(current[3]) + 1

    def report(self, sent: int) -> Report:
        """What came of `sent` probes."""
        return Report(
            sent=sent,
            answered=self.answers,
            lost=sent - self.answers,
            outage_ns=self.outage_ns,
            outage_from_ns=self.outage_from_ns,
            outage_lost=self.outage_lost,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            answerers=tuple(
                Answerer(mac=str(mac), first_ns=int(first), last_ns=int(last), answers=int(count))
                for mac, first, last, count in self._answerers
            ),
        )


class _Pinger:
    """Sends echoes and recognises the answers among all frames of an interface."""

    def __init__(self, target: str, interface: str) -> None:
        self.target = address.parse(target)
        self.six = len(self.target) == 16
        family, protocol = (socket.AF_INET6, 58) if self.six else (socket.AF_INET, 1)
        self._out = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # answers are read from the tap
        self._to: tuple[str, int] | tuple[str, int, int, int] = (target, 0)
        if self.six and address.is_link_local(self.target):
            self._to = (target, 0, 0, socket.if_nametoindex(interface))
        self._mark = os.getpid() & 0xFFFF
        self.tap = Capture(tap_here(), interface, protocols=frozenset((1, 58)))

    def send(self, sequence: int) -> None:
        """Send echo number `sequence`; that nobody is there to hear it is no error."""
        head = struct.pack("!BBHHH", _ECHO_6 if self.six else _ECHO_4, 0, 0, self._mark, sequence & 0xFFFF)
        body = struct.pack("!I", sequence)
        if not self.six:
            head = head[:2] + struct.pack("!H", internet_checksum(head + body)) + head[4:]
        with contextlib.suppress(OSError):
            self._out.sendto(head + body, self._to)

    def drain(self, tally: Tally) -> None:
        """Hand every answer that has arrived to `tally`."""
        wanted = _ANSWER_6 if self.six else _ANSWER_4
        for frame in self.tap.drain():
            octets = frame.octets
            start = 54 if octets[12:14] == b"\x86\xdd" else 14 + (octets[14] & 15) * 4
            sender = octets[22:38] if start == 54 else octets[26:30]
            if sender != self.target or octets[start] != wanted or len(octets) < start + 12:
                continue
            mark, _low, sequence = struct.unpack_from("!HHI", octets, start + 4)
            if mark == self._mark:
                tally.answer(sequence, frame.time_ns, frame.source_mac)
        self.tap.frames.clear()


def probe(target: str, interface: str, output: Path, interval_ns: int) -> None:
    """Probe until SIGTERM, then write the report; while running, the present report every 20 ms."""
    pinger, tally = _Pinger(target, interface), Tally()
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    sequence, due = 0, time.monotonic_ns()
    written = 0
    while not stopping:
        sequence += 1
        pinger.send(sequence)
        due += interval_ns
        pause = due - time.monotonic_ns()
        if pause > 0:
            time.sleep(pause / 1e9)
        elif pause < -100 * interval_ns:  # we were held up: no burst to make up for it
            due = time.monotonic_ns()
        pinger.drain(tally)
        if due - written > 20_000_000:
            _replace(output, tally.report(sequence))
            written = due
    select.select([pinger.tap], [], [], 0.02)
    pinger.drain(tally)
    _replace(output, tally.report(sequence))


def _replace(output: Path, report: Report) -> None:
    fresh = output.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(report))
    fresh.rename(output)


class Probe:
    """A running probe of `target` from the host `client`."""

    def __init__(self, client: Host, target: str, interface: str = "eth0", interval_ns: int = _INTERVAL_NS) -> None:
        self.client, self.target = client, target
        self._file = client.directory / f"probe-{len(client.spawned)}.json"
        command = (sys.executable, "-m", "holdfast.lab.probe", target, str(self._file))
        where = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (where, os.environ.get("PYTHONPATH"))))
        more = ("--interface", interface, "--interval-ns", str(interval_ns))
        self._process: Spawned = client.spawn(*command, *more, environment={"PYTHONPATH": path})

    def now(self) -> Report | None:
        """What it has seen so far (20 ms old at most); None before it has begun."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Report)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def answered_by(self, mac: str, seconds: float, after_ns: int = 0) -> float:
        """Wait until `mac` answers (later than `after_ns`); how long that took. NotInTimeError otherwise."""

        def answers() -> bool:
            assert self._process.alive(), self._process.text()
            report = self.now()
            return bool(report and report.answerers and report.answerers[-1].mac == mac and report.last_ns > after_ns)

        return wait_until(answers, seconds, f"{self.target} answered by {mac} (last: {self.now()})", step=0.01)

    def finish(self) -> Report:
        """Stop probing; the whole report."""
        self._process.signal(signal.SIGTERM)
        self._process.wait(5)
        report = self.now()
        assert report is not None, self._process.text()
        return report


def main() -> None:
    """The probing process."""
    words = argparse.ArgumentParser()
    words.add_argument("target")
    words.add_argument("output", type=Path)
    words.add_argument("--interface", default="eth0")
    words.add_argument("--interval-ns", type=int, default=_INTERVAL_NS)
    chosen = words.parse_args()
    probe(chosen.target, chosen.interface, chosen.output, chosen.interval_ns)


if __name__ == "__main__":
    main()
