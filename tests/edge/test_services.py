"""The list of our services in the run directory; the table itself is tested in tests/usermode."""

from pathlib import Path

from holdfast.edge.services import Memory
from tests.lvs.pools import WEB, key


def test_the_list_is_written_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lvs.table"
    memory = Memory(str(path))
    keys = frozenset({WEB, key("udp", "fd00::1", 53)})
    assert memory.read() == frozenset()
    assert memory.write(keys) == ""
    assert Memory(str(path)).read() == keys
    path.write_text("")  # what is known to be there is not written again
    assert memory.write(keys) == ""
    assert path.read_text() == ""
    assert memory.write(frozenset({WEB})) == ""
    assert path.read_text() == "tcp 192.0.2.1:80\n"
    memory.forget()
    memory.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_cannot_be_kept_is_told_and_nothing_else_happens(tmp_path: Path) -> None:
    missing = Memory(str(tmp_path / "nowhere" / "lvs.table"))
    assert missing.write(frozenset({WEB})) == (
        f"cannot write {tmp_path}/nowhere/lvs.table: no such file or directory; after a crash, services may be left in "
        "the kernel's table"
    )
    (tmp_path / "lvs.table").mkdir()
    directory = Memory(str(tmp_path / "lvs.table"))
    assert directory.read() == frozenset()
    assert "is a directory" in directory.write(frozenset({WEB}))
    assert [one.name for one in tmp_path.iterdir()] == ["lvs.table"]
    assert Memory("").write(frozenset({WEB})) == ""


def test_octets_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "lvs.table"
    path.write_bytes(b"\xff\xfe\0\ntcp 192.0.2.1:80\n\x80")
    assert Memory(str(path)).read() == {WEB}
