"""FIFOs of the real file system: the lines, who made them, who may use them, and a reader that isn't there."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.command import Command
from holdfast.config.plan import Fifo
from holdfast.edge.fifos import Fifos
from holdfast.engine.messages import LowerPriorityNotice, PriorityNotice, StateNotice
from tests.edge.stage import Lines, Stage


class Scene(Stage):
    """FIFOs with a log, and a FIFO's path."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = Lines()
        self.fifos = Fifos(self.runner, self.log)
        self.path = str(folder / "fifo")

    def state(self, state: str, priority: int = 100, kind: str = "INSTANCE", name: str = "VI_1", quiet: bool = False) -> None:
        notice = StateNotice(kind=kind, name=name, state=state, priority=priority, cause="test", quiet=quiet)
        self.fifos.state(notice, time.monotonic_ns())

    def read(self) -> str:
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(fd, 1 << 20).decode()
        except BlockingIOError:
            return ""
        finally:
            os.close(fd)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.fifos.close(time.monotonic_ns())
    made.runner.close()


def test_lines(scene: Scene) -> None:
    now = time.monotonic_ns()
    scene.fifos.load([Fifo(path=scene.path)], now)
    scene.state("MASTER", 102)
    scene.fifos.lower_priority(LowerPriorityNotice("VI_1", 102), now)
    scene.fifos.priority(PriorityNotice("VI_1", "BACKUP", 98), now)
    scene.state("BACKUP", 150, kind="GROUP", name="G")
    scene.state("FAULT", quiet=True)
    assert scene.read() == (
        'INSTANCE "VI_1" MASTER 102\n'
        'INSTANCE "VI_1" MASTER_RX_LOWER_PRI 102\n'
        'INSTANCE "VI_1" BACKUP_PRIORITY 98\n'
        'GROUP "G" BACKUP 0\n'
    )


@pytest.mark.parametrize(("umask", "mode"), [(0o177, 0o600), (0o022, 0o644)])
def test_made_with_mode_and_owner_and_removed_at_the_end(scene: Scene, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        scene.fifos.load([Fifo(path=scene.path, uid=65534, gid=65533)], 0)
    finally:
        os.umask(before)
    found = os.stat(scene.path)
    assert (stat.S_ISFIFO(found.st_mode), found.st_mode & 0o777, found.st_uid, found.st_gid) == (True, mode, 65534, 65533)
    scene.fifos.close(0)
    assert not os.path.exists(scene.path)


def test_one_that_was_there_stays(scene: Scene) -> None:
    os.mkfifo(scene.path)
    scene.fifos.load([Fifo(path=scene.path)], 0)
    scene.state("MASTER")
    assert scene.read() == 'INSTANCE "VI_1" MASTER 100\n'
    scene.fifos.close(0)
    assert os.path.exists(scene.path)


def test_refused(scene: Scene) -> None:
    """Not a FIFO, a link to one, somebody else's, in no folder: said with the cure, and nothing is touched."""
    file, link, foreign = (str(scene.folder / name) for name in ("file", "link", "foreign"))
    Path(file).write_text("precious")
    os.mkfifo(scene.folder / "target")
    os.symlink(scene.folder / "target", link)
    os.mkfifo(foreign)
    os.chown(foreign, 12345, 0)
    scene.fifos.load([Fifo(path=path) for path in (file, link, foreign, "/nowhere/fifo")], 0)
    scene.state("MASTER")
    assert Path(file).read_text() == "precious"
    assert scene.log.texts() == [
        f"FIFO {file}: there is something else of that name; remove it, or choose another; nothing is written to it meanwhile",
        f"FIFO {link}: there is something else of that name; remove it, or choose another; nothing is written to it meanwhile",
        f"FIFO {foreign}: it belongs to user 12345; remove it, or chown it to 0; nothing is written to it meanwhile",
        "FIFO /nowhere/fifo: no such file or directory; name a path in a folder that exists and may be written; "
        "nothing is written to it meanwhile",
    ]


def test_a_full_fifo_loses_whole_lines_and_holds_nothing_up(scene: Scene) -> None:
    scene.fifos.load([Fifo(path=scene.path)], 0)
    begun = time.monotonic_ns()
    for _ in range(5000):
        scene.state("MASTER")
    assert time.monotonic_ns() - begun < 1_000_000_000
    lines = scene.read().splitlines()
    assert set(lines) == {'INSTANCE "VI_1" MASTER 100'}
    assert 65536 // 28 - 5 <= len(lines) <= 65536 // 27 + 1
    assert scene.fifos._open[0].lost == 5000 - len(lines)
    assert scene.log.texts() == [f"FIFO {scene.path} is full: 1 lines lost so far; is its reader running?"]


def reader(scene: Scene) -> Command:
    body = f'trap \'echo ended >> {scene.folder}/out; exit\' TERM; echo "$*" >> {scene.folder}/out\n'
    body += f'while read -r line; do echo "$line" >> {scene.folder}/out; done < "$2"'
    return Command(argv=(scene.script(body), "arg"), timeout_ns=1)  # a limit that doesn't count


def test_the_reader_gets_path_and_lines_and_is_started_anew_at_a_reload(scene: Scene) -> None:
    out = scene.folder / "out"
    fifo = Fifo(path=scene.path, script=reader(scene))

    def said(*lines: str) -> None:
        wanted = [line.format(path=scene.path) for line in lines]
        scene.until(lambda: out.exists() and out.read_text().splitlines() == wanted)

    scene.fifos.load([fifo], time.monotonic_ns())
    scene.state("MASTER")
    said("arg {path}", 'INSTANCE "VI_1" MASTER 100')
    out.unlink()
    scene.fifos.load([fifo], time.monotonic_ns(), write_states=True)
    scene.until(lambda: out.exists() and 'INSTANCE "VI_1" MASTER 100' in out.read_text())
    scene.until(lambda: "ended" in out.read_text())
    assert sorted(out.read_text().splitlines()) == ['INSTANCE "VI_1" MASTER 100', f"arg {scene.path}", "ended"]
    out.unlink()
    scene.fifos.close(time.monotonic_ns())
    said("ended")
    assert scene.log.texts() == []


def test_a_reader_that_goes_away_breaks_nothing(scene: Scene) -> None:
    command = Command(argv=(scene.script("echo gone; exit 7"),))
    scene.fifos.load([Fifo(path=scene.path, script=command)], time.monotonic_ns())
    scene.until(lambda: scene.log.lines)
    assert scene.log.texts() == [
        f"the reader of FIFO {scene.path}, {scene.folder}/script.sh, exited with status 7: gone; a reload starts it anew"
    ]
    scene.state("MASTER")
    assert scene.read() == 'INSTANCE "VI_1" MASTER 100\n'


def test_a_fifo_the_new_configuration_lacks_is_removed(scene: Scene) -> None:
    other = str(scene.folder / "other")
    scene.fifos.load([Fifo(path=scene.path), None], 0)
    scene.fifos.load([Fifo(path=other), Fifo(path=other)], 0)
    assert not os.path.exists(scene.path)
    assert scene.log.texts() == [f"FIFO {other} is named twice: each line goes there once"]
