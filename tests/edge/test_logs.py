"""The log: its forms, to the letter; sinks that are full, gone, moved or not yet there."""

import errno
import os
import select
import socket
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.base.problem import Grade, Problem
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.edge.logs import (
    FileSink,
    Limited,
    Log,
    Record,
    Sink,
    StreamSink,
    SyslogSink,
    console_form,
    journal_form,
    json_form,
    open_log,
    read_by_journal,
    syslog_form,
)
from holdfast.engine.messages import LogLine
from holdfast.vrrp.messages import Level
from tests.edge.stage import Lines

RECORD = Record(
    wall_ns=1795386732_123456789,  # 22 November 2026, 22:32:12 UTC
    ident="Keepalived_vrrp",
    pid=123,
    level=Level.INFO,
    text="(VI_1) Entering MASTER STATE",
)


class Kept(Sink):
    """A sink that keeps its lines, as long as it is open."""

    def __init__(self) -> None:
        super().__init__(console_form)
        self.open = True
        self.lines: list[str] = []

    def _send(self, line: bytes) -> bool:
        if self.open:
            self.lines.append(line.decode().split(": ", 1)[1].rstrip("\n"))
        return self.open


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_forms() -> None:
    assert console_form(RECORD) == b"Sun Nov 22 22:32:12 2026: (VI_1) Entering MASTER STATE\n"
    assert journal_form(RECORD) == b"<6>(VI_1) Entering MASTER STATE\n"
    assert syslog_form(3)(RECORD) == b"<30>Nov 22 22:32:12 Keepalived_vrrp[123]: (VI_1) Entering MASTER STATE"
    assert msgspec.json.decode(json_form(RECORD)) == {
        "time": "2026-11-22T22:32:12.123456+00:00",
        "level": "info",
        "ident": "Keepalived_vrrp",
        "pid": 123,
        "text": "(VI_1) Entering MASTER STATE",
    }
    early = msgspec.structs.replace(RECORD, wall_ns=1793515505_000000000, level=Level.ERROR)  # 1 November, 06:45:05
    assert syslog_form(16)(early).startswith(b"<131>Nov  1 06:45:05 ")


def test_nobody_can_forge_a_line() -> None:
    sink = Kept()
    Log("holdfast", [sink]).say(Level.INFO, "a\nSun Nov 22: b\x1b[31m\r\tc")
    assert sink.lines == ["a\\nSun Nov 22: b\\x1b[31m\\r c"]


def test_debug_lines_only_of_wanted_categories() -> None:
    sink = Kept()
    log = Log("holdfast", [sink], debug=["script"])
    log.say(Level.DEBUG, "one", "script")
    log.say(Level.DEBUG, "two", "packet")
    log.say(Level.INFO, "three", "packet")
    assert sink.lines == ["one", "three"]


def test_lines_of_the_worker_have_its_name() -> None:
    sink = Kept()
    sent: list[bytes] = []

    def form(record: Record) -> bytes:
        sent.append(syslog_form(3)(record))
        return b": \n"

    sink.form = form
    Log("Keepalived", [sink]).line(LogLine(Level.WARNING, "text"), pid=77)
    assert sent[0].startswith(b"<28>")
    assert sent[0].endswith(b" Keepalived_vrrp[77]: text")


def test_a_problem_keeps_its_lines() -> None:
    sink = Kept()
    problem = Problem(file="k.conf", line=4, column=11, grade=Grade.WARNING, what="bad", source="  priority 300", width=3)
    Log("holdfast", [sink]).problem(problem)
    assert sink.lines == ["k.conf:4:11: warning: bad", "      priority 300", "              ^^^"]


def test_a_full_sink_holds_nothing_up_and_says_what_it_lost() -> None:
    sink, other = Kept(), Kept()
    now = [SECOND]
    log = Log("holdfast", [sink, other], monotonic_ns=lambda: now[0])
    assert log.due_at() is None
    sink.open = False
    for number in range(5000):
        log.say(Level.INFO, f"{number:0100d}")
    assert len(other.lines) == 5000
    assert log.due_at() == SECOND + 50 * MILLISECOND
    log.on_due(SECOND + 50 * MILLISECOND)
    assert log.due_at() == SECOND + 100 * MILLISECOND
    sink.open = True
    log.say(Level.INFO, "too late as well")  # nothing overtakes what waits
    log.on_due(SECOND + 100 * MILLISECOND)
    kept = len(sink.lines) - 1
    assert kept == 262144 // 127  # lines of 24 + 2 + 100 + 1 bytes
    assert sink.lines[:kept] == other.lines[:kept]
    assert sink.lines[kept] == f"{5001 - kept} lines were lost here: this log could not be written for a while"
    assert log.due_at() is None
    log.say(Level.INFO, "on time")
    assert sink.lines[-1] == "on time"


def test_a_pipe_nobody_reads_is_not_waited_for_nor_made_non_blocking() -> None:
    reading, writing = os.pipe()
    sink = StreamSink(writing, console_form)
    log = Log("holdfast", [sink])
    begun = time.monotonic_ns()
    for _ in range(3000):
        log.say(Level.INFO, "x" * 100)
    assert time.monotonic_ns() - begun < SECOND
    assert os.get_blocking(writing)
    assert sink.pending()
    read = b""
    while select.select([reading], [], [], 0)[0]:
        read += os.read(reading, 1 << 20)
        sink.flush()
    lines = read.splitlines()
    assert len(lines) + sink.lost == 3000
    assert {len(line) for line in lines} == {126}  # none was cut
    os.close(reading)
    log.say(Level.INFO, "nobody is there any more")  # no SIGPIPE, no error
    log.close()
    os.close(writing)


def test_the_journals_stream_socket() -> None:
    ours, journal = socket.socketpair()
    sink = StreamSink(ours.fileno(), journal_form)
    Log("holdfast", [sink]).say(Level.ERROR, "text")
    assert journal.recv(100) == b"<3>text\n"
    found = os.fstat(ours.fileno())
    assert read_by_journal(ours.fileno(), {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    assert not read_by_journal(ours.fileno(), {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
    assert not read_by_journal(ours.fileno(), {})
    sink.close()
    ours.close()
    journal.close()


def test_syslog_is_found_when_it_comes_and_again_when_it_comes_back(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    now = [SECOND]

    def serve() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(path)
        made.settimeout(1)
        return made

    log = Log("holdfast", [SyslogSink(16, path, lambda: now[0])], monotonic_ns=lambda: now[0])
    log.say(Level.INFO, "early")
    daemon = serve()
    log.on_due(now[0] + 50 * MILLISECOND)
    assert not select.select([daemon], [], [], 0)[0]  # not looked for again so soon
    now[0] += SECOND
    log.on_due(now[0])
    assert daemon.recv(100).endswith(b": early")
    daemon.close()
    os.unlink(path)
    log.say(Level.INFO, "between")
    daemon = serve()
    now[0] += SECOND
    log.on_due(now[0])
    assert daemon.recv(100).endswith(b": between")
    log.close()
    daemon.close()


def test_syslog_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    daemon.bind(path)
    log = Log("holdfast", [SyslogSink(3, path)])
    for number in range(100):
        log.say(Level.INFO, str(number))
    heard: list[bytes] = []
    daemon.setblocking(False)
    while len(heard) < 100:
        heard.append(daemon.recv(100).rsplit(b" ", 1)[1])
        log.flush()
    assert heard == [b"%d" % number for number in range(100)]
    log.close()
    daemon.close()


def test_file(tmp_path: Path) -> None:
    """Lines are written together unless each is to be flushed; a file moved away is left alone after `reopen`."""
    path = tmp_path / "keepalived.log"
    lazy, eager = FileSink(str(path)), FileSink(str(path), flush_each=True)
    lazy.write(RECORD)
    assert path.read_bytes() == b""
    lazy.flush()
    line = b"Sun Nov 22 22:32:12 2026: (VI_1) Entering MASTER STATE\n"
    assert path.read_bytes() == line
    eager.write(RECORD)
    assert path.read_bytes() == 2 * line
    path.rename(tmp_path / "old")
    eager.write(RECORD)
    eager.reopen()
    eager.write(RECORD)
    assert (tmp_path / "old").read_bytes() == 3 * line
    assert path.read_bytes() == line
    lazy.close()
    eager.close()


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileSink("/dev/full", flush_each=True)
    log = Log("holdfast", [sink])
    log.say(Level.INFO, "text")
    assert log.due_at() is not None
    with pytest.raises(OSError, match="No space") as caught:
        os.write(sink._fd, b"x")
    assert caught.value.errno == errno.ENOSPC
    log.close()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Options as the command line gives them."""

    compatible: bool = False
    log_console: bool = False
    log_syslog: bool = False
    log_facility: int = 3
    log_file: str = ""
    log_flush: bool = True
    log_json: bool = False
    log_detail: int = 0


@pytest.mark.parametrize(("name", "vrrp_name"), [("k.log", "k_vrrp.log"), ("k", "k_vrrp")])
def test_the_workers_lines_have_a_file_of_their_own_as_keepalived(tmp_path: Path, name: str, vrrp_name: str) -> None:
    log = open_log(Wanted(compatible=True, log_file=str(tmp_path / name)))
    log.say(Level.INFO, "parent")
    log.line(LogLine(Level.INFO, "child"))
    log.close()
    said = {file.name: file.read_text().split(": ", 1)[1] for file in tmp_path.iterdir()}
    assert said == {name: "parent\n", vrrp_name: "child\n"}


def test_one_file_of_json_lines(tmp_path: Path) -> None:
    log = open_log(Wanted(log_json=True, log_file=str(tmp_path / "log"), log_detail=1))
    log.say(Level.INFO, "parent")
    log.line(LogLine(Level.DEBUG, "child", "script"))
    log.close()
    lines = [msgspec.json.decode(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [(line["ident"], line["level"], line["text"]) for line in lines] == [
        ("holdfast", "info", "parent"),
        ("holdfast_vrrp", "debug", "child"),
    ]


def test_a_log_file_that_cannot_be_opened_ends_nothing(tmp_path: Path) -> None:
    log = open_log(Wanted(log_file="/nowhere/log"))
    assert log.sinks == []
    log.say(Level.INFO, "still here")


def test_limited() -> None:
    log = Lines()
    limited = Limited(log, per_s=1)
    for at_ms in range(0, 1000, 10):
        limited.say("bad checksum", Level.WARNING, f"bad checksum from 192.0.2.{at_ms // 10}", at_ms * MILLISECOND)
    limited.say("other", Level.WARNING, "other", 0)
    assert log.texts() == ["bad checksum from 192.0.2.0", "other"]
    assert limited.due_at() == SECOND
    limited.on_due(SECOND)
    assert log.texts()[2:] == ["bad checksum from 192.0.2.99 (the last of 99 like it in 1 s)"]
    assert limited.due_at() is None
    limited.say("bad checksum", Level.WARNING, "again, much later", 100 * SECOND)
    assert log.texts()[3:] == ["again, much later"]


def test_limited_speaks_less_and_less_of_what_never_ends() -> None:
    log = Lines()
    limited = Limited(log, per_s=1)
    for at_ms in range(0, 300_000, 10):
        limited.on_due(at_ms * MILLISECOND)
        limited.say("k", Level.WARNING, "flood", at_ms * MILLISECOND)
    assert len(log.lines) <= 12


def test_limited_forgets_keys() -> None:
    log = Lines()
    limited = Limited(log, per_s=1)
    for number in range(5000):
        limited.say(str(number), Level.WARNING, "x", 0)
    assert len(limited._keys) == 1024
