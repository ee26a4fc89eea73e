"""The state file: its lines, its replacement as a whole, what is left of it at the end, and a disk that refuses."""

import os
from pathlib import Path

import pytest

from holdfast.base.time import MILLISECOND, SECOND
from holdfast.edge.state_file import StateFile
from holdfast.vrrp.messages import Level
from tests.edge.stage import Lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_lines_and_pace(path: Path) -> None:
    file = StateFile(str(path), Lines())
    file.update("INSTANCE", "cluster", "BACKUP", 102, now=SECOND)
    assert file.due_at() == SECOND
    file.update("GROUP", "G", "BACKUP", 0, now=SECOND)
    file.on_due(SECOND)
    assert path.read_text() == "INSTANCE cluster BACKUP 102\nGROUP G BACKUP 0\n"
    file.update("INSTANCE", "cluster", "MASTER", 102, now=SECOND + 1)
    assert file.due_at() == SECOND + 100 * MILLISECOND  # soon after another: together with what may follow
    file.on_due(SECOND + 99 * MILLISECOND)
    assert path.read_text().startswith("INSTANCE cluster BACKUP")
    file.on_due(SECOND + 100 * MILLISECOND)
    assert path.read_text() == "INSTANCE cluster MASTER 102\nGROUP G BACKUP 0\n"
    assert file.due_at() is None
    file.update("INSTANCE", "cluster", "MASTER", 102, now=5 * SECOND)
    assert file.due_at() is None  # nothing new
    file.update("INSTANCE", "cluster", "DELETED", 102, now=5 * SECOND)
    file.on_due(5 * SECOND)
    assert path.read_text() == "GROUP G BACKUP 0\n"


def test_replaced_as_a_whole_and_readable_by_all(path: Path) -> None:
    file = StateFile(str(path), Lines())
    before = os.umask(0o177)
    try:
        file.update("INSTANCE", "a", "BACKUP", 1, now=0)
        file.on_due(0)
        with path.open() as old:
            file.update("INSTANCE", "a", "MASTER", 1, now=SECOND)
            file.on_due(SECOND)
            assert old.read() == "INSTANCE a BACKUP 1\n"
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["state"]


def test_what_a_dead_run_left_is_emptied_at_start(path: Path) -> None:
    path.write_text("INSTANCE old MASTER 102\n")
    StateFile(str(path), Lines())
    assert path.read_text() == ""


def test_leaving_takes_our_lines_and_leaves_a_scripts(path: Path) -> None:
    file = StateFile(str(path), Lines())
    file.update("INSTANCE", "cluster", "MASTER", 102, now=0)
    file.on_due(0)
    file.leave()
    assert path.read_text() == ""
    path.write_text("INSTANCE cluster STOP 102\nunknown_type unknown_name STOPPED\n")
    file.leave()
    assert path.read_text() == "unknown_type unknown_name STOPPED\n"


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    log = Lines()
    path = tmp_path / "gone" / "state"
    file = StateFile(str(path), log)
    file.update("INSTANCE", "a", "MASTER", 1, now=SECOND)
    file.on_due(SECOND)
    assert file.due_at() == 6 * SECOND
    file.on_due(6 * SECOND)
    cure = "make room there, or choose another --run-dir; trying again each 5 s, the states are unaffected"
    assert log.lines == [(Level.ERROR, f"cannot write {path}: no such file or directory; {cure}")]
    path.parent.mkdir()
    file.on_due(11 * SECOND)
    assert path.read_text() == "INSTANCE a MASTER 1\n"
    assert log.lines[1:] == [(Level.INFO, f"{path} can be written again")]
