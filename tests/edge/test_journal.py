"""The journal of events: what a notice comes to, rotation, pace, and files and disks that are not as they should be."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.base.time import SECOND
from holdfast.control import journal as reading
from holdfast.edge import journal as writing
from holdfast.edge.journal import Journal
from holdfast.engine.messages import (
    AnyNotice,
    HoldNotice,
    IncidentNotice,
    LowerPriorityNotice,
    PriorityNotice,
    StateNotice,
    TrackerNotice,
)
from tests.edge.stage import Lines


def state(name: str, state: str, cause: str = "", kind: str = "INSTANCE") -> StateNotice:
    return StateNotice(kind=kind, name=name, state=state, priority=100, cause=cause)


def wall(now: int) -> str:
    return f"2026-11-23T00:{now // SECOND // 60:02d}:{now // SECOND % 60:02d}.000+00:00"


def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path), Lines(), wall)


def rows(tmp_path: Path) -> list[reading.Row]:
    return reading.read(str(tmp_path / "events.jsonl"))


NOTICES: list[tuple[AnyNotice, dict[str, Any] | None]] = [
    (state("web", "BACKUP", "started"),
     {"kind": "state", "name": "web", "what": "BACKUP", "cause": "started", "of": "instance", "state": "BACKUP",
      "priority": 100}),
    (state("web", "MASTER", "no master heard"),
     {"kind": "state", "name": "web", "what": "BACKUP → MASTER", "cause": "no master heard", "of": "instance",
      "state": "MASTER", "was": "BACKUP", "priority": 100}),
    (state("G", "MASTER", "all", "GROUP"),
     {"kind": "state", "name": "G", "what": "MASTER", "cause": "all", "of": "group", "state": "MASTER"}),
    (TrackerNotice(kind="script", name="chk", up=False, detail="exited with 1", instances=("web",)),
     {"kind": "tracker", "name": "chk", "what": "script down", "cause": "exited with 1", "of": "script", "up": False,
      "instances": ["web"]}),
    (PriorityNotice("web", "MASTER", 82, 102, "base 102; script chk is down: -20", False),
     {"kind": "priority", "name": "web", "what": "priority 102 → 82", "cause": "base 102; script chk is down: -20",
      "state": "MASTER", "priority": 82, "before": 102}),
    (IncidentNotice(number=3, name="web", opened=True, cause="one-way", text="filtered", cure="let it in", count=2),
     {"kind": "incident", "name": "web", "what": "split brain", "cause": "filtered", "number": 3, "slug": "one-way",
      "opened": True, "count": 2, "cure": "let it in"}),
    (HoldNotice(name="web", what="expired", cause="the end of --for"),
     {"kind": "command", "name": "web", "what": "hold expired", "cause": "the end of --for"}),
    (LowerPriorityNotice("web", 50), None),
]  # fmt: skip


def test_what_each_notice_comes_to(tmp_path: Path) -> None:
    made = journal(tmp_path)
    for notice, _ in NOTICES:
        made.take(notice, 7 * SECOND)
    made.on_due(7 * SECOND)
    expected = [{"time": "2026-11-23T00:00:07.000+00:00", **row} for _, row in NOTICES if row is not None]
    assert rows(tmp_path) == expected
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o007 == 0


def test_it_is_kept_across_restarts_and_begins_a_line_after_half_a_line(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.take(state("web", "MASTER"), 0)
    first.close(0)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time":"2026-11-23T00:00:01","kind":"sta')  # a dead run's
    second = journal(tmp_path)
    second.take(state("web", "BACKUP"), SECOND)
    second.on_due(SECOND)
    assert [row["what"] for row in rows(tmp_path)] == ["MASTER", "BACKUP"]


def test_whether_the_run_before_ended_in_an_orderly_way(tmp_path: Path) -> None:
    made = journal(tmp_path)
    assert not made.unfinished()
    for what, unfinished in (("started", True), ("stopped", False), ("started", True), ("supervisor killed", False)):
        made.say("daemon", "", what, "a cause", 0)
        made.take(state("web", "BACKUP"), 0)
        made.on_due(0)
        assert made.unfinished() == unfinished
    made.close(0)


def test_rotation_keeps_one_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LARGEST_BYTES", 1000)
    made = journal(tmp_path)
    for number in range(40):
        made.take(state(f"instance-{number:02d}", "BACKUP", "started"), number * SECOND)
        made.on_due(number * SECOND)
    files = sorted(os.listdir(tmp_path))
    assert files == ["events.jsonl", "events.jsonl.1"]
    assert all((tmp_path / name).stat().st_size < 1200 for name in files)
    kept = [row["name"] for row in rows(tmp_path)]
    assert kept == [f"instance-{number:02d}" for number in range(40 - len(kept), 40)]
    assert 6 <= len(kept) <= 16


def test_many_at_once_are_spread_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LARGEST_BYTES", 2000)
    made = journal(tmp_path)
    for number in range(100):
        made.take(state(f"instance-{number:02d}", "BACKUP", "started"), 0)
    made.on_due(0)
    assert (tmp_path / "events.jsonl").stat().st_size <= 2200
    assert rows(tmp_path)[-1]["name"] == "instance-99"


def test_what_flaps_is_written_less_often_and_its_latest_always(tmp_path: Path) -> None:
    made = journal(tmp_path)
    now = 0
    for number in range(1000):  # 100 s, ten a second
        now = number * SECOND // 10
        made.take(TrackerNotice(kind="script", name="chk", up=bool(number % 2), detail=str(number)), now)
        made.on_due(now)
    made.take(state("web", "FAULT"), now)
    made.on_due(now)
    written = rows(tmp_path)
    flaps = [row for row in written if row["name"] == "chk"]
    assert len(flaps) == 60 + 9  # the burst, and one each 10 s
    assert [row["name"] for row in written][-1] == "web"  # what doesn't flap is not held up by it
    due_at = made.due_at()
    assert due_at is not None
    assert due_at > now
    made.on_due(due_at)
    latest = [row for row in rows(tmp_path) if row["name"] == "chk"][-1]
    assert (latest["cause"], latest["up"]) == ("999", True)
    assert sum(1 + row.get("left_out", 0) for row in rows(tmp_path) if row["name"] == "chk") == 1000
    assert made.due_at() is None


def test_what_is_held_is_written_at_the_end(tmp_path: Path) -> None:
    made = journal(tmp_path)
    for number in range(62):
        made.take(TrackerNotice(kind="script", name="chk", up=bool(number % 2), detail=str(number)), 0)
    made.close(0)
    assert [row["cause"] for row in rows(tmp_path)][-2:] == ["59", "61"]


def test_a_disk_that_refuses_is_told_once_and_what_waits_comes_later(tmp_path: Path) -> None:
    lines = Lines()
    made = Journal(str(tmp_path / "absent"), lines, wall)
    made.take(state("web", "BACKUP"), 0)
    made.on_due(0)
    made.on_due(0)
    assert made.due_at() == 5 * SECOND
    made.on_due(5 * SECOND)
    said = [text for text in lines.texts() if "cannot write" in text]
    assert len(said) == 1
    assert "no such file or directory" in said[0]
    (tmp_path / "absent").mkdir()
    made.take(state("web", "MASTER"), 6 * SECOND)
    made.on_due(10 * SECOND)
    assert [row["what"] for row in rows(tmp_path / "absent")] == ["BACKUP", "BACKUP → MASTER"]
    assert lines.texts()[-1].endswith("can be written again")


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WAITING_BYTES", 2000)
    made = Journal(str(tmp_path / "absent"), Lines(), wall)
    for number in range(100):
        made.take(state(f"instance-{number:02d}", "BACKUP"), 0)
    made.on_due(0)
    (tmp_path / "absent").mkdir()
    made.on_due(5 * SECOND)
    made.on_due(5 * SECOND)
    written = rows(tmp_path / "absent")
    lost = next(row for row in written if row["what"] == "events lost")
    kept = [row["name"] for row in written if row["name"]]
    assert kept == [f"instance-{number:02d}" for number in range(100 - len(kept), 100)]
    assert lost["cause"].startswith(f"{100 - len(kept)} could not")


@pytest.mark.parametrize("hindrance", ["directory", "link", "full", "rotation"])
def test_a_path_that_is_no_file_hurts_nobody(tmp_path: Path, hindrance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    if hindrance == "directory":
        path.mkdir()
    elif hindrance == "link":
        path.symlink_to("/etc/hostname")
    elif hindrance == "full":
        monkeypatch.setattr(os, "write", lambda fd, octets: _some(fd, octets[:10]))
    else:
        monkeypatch.setattr(writing, "LARGEST_BYTES", 100)
        (tmp_path / "events.jsonl.1").mkdir()
    lines = Lines()
    made = Journal(str(tmp_path), lines, wall)
    for number in range(4):
        made.take(state("web", "BACKUP", f"reason {number}"), 0)
        made.on_due(number * 5 * SECOND)
    assert bool([text for text in lines.texts() if "cannot write" in text]) == (hindrance != "rotation")
    monkeypatch.undo()
    if hindrance == "full":
        assert path.read_bytes() == b""
        made.on_due(20 * SECOND)
        assert [row["cause"] for row in rows(tmp_path)] == [f"reason {number}" for number in range(4)]
    elif hindrance == "rotation":
        assert [row["cause"] for row in rows(tmp_path)] == ["reason 3"]
    made.close(20 * SECOND)


def _some(fd: int, octets: bytes, write: Any = os.write) -> int:
    written = write(fd, octets)
    assert isinstance(written, int)
    return written


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_file_that_vanished_begins_anew(tmp_path: Path, how: str) -> None:
    made = journal(tmp_path)
    path = tmp_path / "events.jsonl"
    made.take(state("web", "BACKUP"), 0)
    made.on_due(0)
    path.unlink() if how == "removed" else path.rename(tmp_path / "old")
    made.take(state("web", "MASTER"), SECOND)
    made.on_due(SECOND)
    assert [row["what"] for row in rows(tmp_path)] == ["BACKUP → MASTER"]


GOOD = b'{"time":"2026-11-23T00:00:00.000+00:00","kind":"daemon","name":"","what":"started","cause":""}\n'


@pytest.mark.parametrize("bad", [b"\x00\xff\xfe", b"{", b"[]", b"null", b'{"time":1}', b"[" * 100_000, b"x" * 2_000_000])
def test_a_corrupt_line_is_left_aside(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD + bad + b"\n" + GOOD)
    assert [row["what"] for row in rows(tmp_path)] == ["started", "started"]


def test_following_survives_rotation_removal_and_emptying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LARGEST_BYTES", 600)
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD)
    follower = reading.Follower(str(path))
    assert follower.fresh() == []
    made, seen = journal(tmp_path), []
    for number in range(30):
        made.take(state(f"instance-{number:02d}", "BACKUP"), 0)
        made.on_due(0)
        if number % 2:
            seen += [row["name"] for row in follower.fresh()]
    assert seen == [f"instance-{number:02d}" for number in range(30)]
    with path.open("ab") as file:
        file.write(GOOD[:20])
        file.flush()
        assert follower.fresh() == []  # half a line is not shown
        file.write(GOOD[20:])
    assert len(follower.fresh()) == 1
    path.unlink()
    assert follower.fresh() == []
    path.write_bytes(GOOD * 2)
    assert len(follower.fresh()) == 2
    os.truncate(path, 0)
    path.write_bytes(GOOD)
    assert len(follower.fresh()) == 1
    follower.close()


def test_what_is_written_just_before_a_rotation_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD)
    follower = reading.Follower(str(path))
    look = follower._replaced

    def meanwhile() -> bool:
        with path.open("ab") as file:
            file.write(GOOD.replace(b"started", b"at last"))
        path.rename(tmp_path / "events.jsonl.1")
        path.write_bytes(GOOD.replace(b"started", b"at first"))
        return look()

    monkeypatch.setattr(follower, "_replaced", meanwhile)
    assert [row["what"] for row in follower.fresh()] == ["at last", "at first"]
    follower.close()


def test_an_entry_is_what_the_interface_promises() -> None:
    """The five keys that programs rely on stand in each, whatever else does."""
    from holdfast.engine.journal import Entry

    least = Entry(time="t", kind="state", name="n", what="w", cause="")
    assert msgspec.json.encode(least) == b'{"time":"t","kind":"state","name":"n","what":"w","cause":""}'
