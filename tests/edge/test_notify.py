"""Notify scripts by the real runner: which, with what arguments, in which order, whatever some of them do."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.edge.notify import NotifyQueues
from holdfast.engine.messages import LowerPriorityNotice, StateNotice
from holdfast.vrrp.config import Family, GroupConfig, InstanceConfig, NotifyCommands
from holdfast.vrrp.messages import Level
from tests.edge.stage import Lines, Stage


class Scene(Stage):
    """Queues, a script `write` that adds its arguments to `told`, and instance VI_1 to give commands to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = Lines()
        self.queues = NotifyQueues(self.runner, self.log)
        self.parts.append(self.queues)
        self.told = folder / "told"
        self.write = self.script(f'echo "$*" >> {self.told}', name="write")

    def load(self, commands: NotifyCommands | None, group: NotifyCommands | None = None) -> None:
        instances: tuple[InstanceConfig, ...] = ()
        if commands is not None:
            instances = (InstanceConfig(name="VI_1", vrid=1, interface="lo", family=Family.IPV4, version=2, notify=commands),)  # fmt: skip
        groups = (GroupConfig(name="G", members=("VI_1",), notify=group),) if group else ()
        self.queues.load(VrrpPlan(instances=instances, groups=groups))

    def state(self, state: str, priority: int = 100, kind: str = "INSTANCE", name: str = "VI_1",
              quiet: bool = False) -> StateNotice | None:  # fmt: skip
        notice = StateNotice(kind=kind, name=name, state=state, priority=priority, cause="test", quiet=quiet)
        return self.queues.submit(notice, time.monotonic_ns())

    def rest(self) -> list[str]:
        """What was told once nothing runs any more."""
        self.until(lambda: not self.queues.pending())
        return self.told.read_text().splitlines() if self.told.exists() else []

    def command(self, *argv: str, timeout_ns: int = 5 * SECOND) -> Command:
        return Command(argv=argv, timeout_ns=timeout_ns)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        made = Scene(Path(folder))
        yield made
        made.runner.close()


def test_order_and_arguments(scene: Scene) -> None:
    """notify_master as written, then the directory by name, then notify; the last two with four arguments more."""
    folder = scene.folder / "master.d"
    folder.mkdir()
    for name, mode in (("20-b", 0o755), ("10-a", 0o755), ("15-not-executable", 0o644)):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$*" >> {scene.told}\n')
        (folder / name).chmod(mode)
    (folder / "12-folder").mkdir()
    (folder / "30-gone").symlink_to("/nowhere")
    scene.load(
        NotifyCommands(
            master=scene.command(scene.write, "own"),
            any=scene.command(scene.write, "any", "two words"),
            directories={"MASTER": str(folder)},
        )
    )
    scene.state("MASTER", 102)
    assert scene.rest() == [
        "own",
        "10-a INSTANCE VI_1 MASTER 102",
        "20-b INSTANCE VI_1 MASTER 102",
        "any two words INSTANCE VI_1 MASTER 102",
    ]
    assert [text for level, text in scene.log.lines if level is Level.WARNING] == []


def test_each_state_has_its_own_script(scene: Scene) -> None:
    master, backup, fault, stop = (scene.command(scene.write, word) for word in ("master", "backup", "fault", "stop"))
    scene.load(NotifyCommands(master=master, backup=backup, fault=fault, stop=stop))
    for state in ("BACKUP", "MASTER", "FAULT", "STOP"):
        scene.state(state)
        scene.rest()
    assert scene.rest() == ["backup", "master", "fault", "stop"]


def test_a_group_has_priority_0(scene: Scene) -> None:
    scene.load(None, NotifyCommands(any=scene.command(scene.write)))
    told = scene.state("MASTER", 150, kind="GROUP", name="G")
    assert told is not None
    assert told.priority == 0
    assert scene.rest() == ["GROUP G MASTER 0"]


def test_a_quiet_notice_runs_nothing(scene: Scene) -> None:
    scene.load(NotifyCommands(any=scene.command(scene.write)))
    scene.state("MASTER", quiet=True)
    assert scene.rest() == []


def test_scripts_of_one_instance_never_overlap(scene: Scene) -> None:
    slow = scene.script(f'echo "begin $3" >> {scene.told}; sleep 0.1; echo "end $3" >> {scene.told}', name="slow")
    scene.load(NotifyCommands(any=scene.command(slow)))
    for state in ("BACKUP", "MASTER", "BACKUP"):
        scene.state(state)
    assert scene.rest() == ["begin BACKUP", "end BACKUP", "begin MASTER", "end MASTER", "begin BACKUP", "end BACKUP"]


def test_the_last_state_gets_through_and_stale_ones_are_left_out(scene: Scene) -> None:
    hang = scene.script(f'echo "$3" >> {scene.told}; [ "$3" != FAULT ] || exec sleep 1000', name="hang")
    scene.load(NotifyCommands(any=scene.command(hang, timeout_ns=2100 * MILLISECOND)))
    for state in ("FAULT", "BACKUP", "MASTER", "BACKUP", "MASTER"):
        scene.state(state)
    assert scene.rest() == ["FAULT", "MASTER"]
    left_out = [text for text in scene.log.texts() if "left out" in text]
    assert [text.split(" are ")[0] for text in left_out] == [
        "(VI_1) scripts for BACKUP",
        "(VI_1) scripts for MASTER",
        "(VI_1) scripts for BACKUP",
    ]
    assert left_out[0].endswith(": MASTER has come since")
    assert f"(VI_1) notify: {hang} timed out and was ended" in scene.log.texts()


def test_a_flood_of_states_is_bounded(scene: Scene) -> None:
    scene.load(NotifyCommands(any=scene.command(scene.write)))
    for number in range(300):
        scene.state("MASTER" if number % 2 else "BACKUP", number % 250)
    told = scene.rest()
    assert len(told) <= 65
    assert told[-1] == "INSTANCE VI_1 MASTER 49"


def test_a_failing_script_is_logged_and_does_not_stop_the_next(scene: Scene) -> None:
    bad = scene.script("echo first; echo; echo second; exit 3", name="bad")
    folder = scene.folder / "d"
    folder.mkdir()
    for name in ("1", "2"):
        (folder / name).write_text(f"#!/bin/sh\necho hello from {name}; exit {2 - int(name)}\n")
        (folder / name).chmod(0o755)
    scene.load(
        NotifyCommands(
            master=scene.command(bad), any=scene.command(scene.write), directories={"MASTER": str(folder)}
        )
    )
    scene.state("MASTER")
    assert scene.rest() == ["INSTANCE VI_1 MASTER 100"]
    said = [(level, text.split(" in ")[0]) for level, text in scene.log.lines]
    assert said[:4] == [
        (Level.WARNING, f"(VI_1) notify_master: {bad} exited with status 3: first | second"),
        (Level.WARNING, f"(VI_1) master directory: {folder}/1 exited with status 1: hello from 1"),
        (Level.INFO, f"(VI_1) master directory: {folder}/2 succeeded"),
        (Level.INFO, "(VI_1) 2: hello from 2"),
    ]
    assert said[4] == (Level.DEBUG, f"(VI_1) notify: {scene.write} succeeded")


def test_a_missing_script_and_a_missing_directory(scene: Scene) -> None:
    scene.load(
        NotifyCommands(
            master=scene.command("/nowhere/x"), any=scene.command(scene.write), directories={"MASTER": "/nowhere/d"}
        )
    )
    scene.state("MASTER")
    assert scene.rest() == ["INSTANCE VI_1 MASTER 100"]
    scene.state("MASTER")
    scene.rest()
    assert scene.log.texts().count("(VI_1) notify_master: /nowhere/x cannot be run: /nowhere/x does not exist") == 2
    absent = [text for text in scene.log.texts() if text.startswith("/nowhere/d: no such file")]
    assert len(absent) == 1


@pytest.mark.parametrize(("secure", "told"), [(False, ["ran"]), (True, [])])
def test_a_program_that_others_could_have_written(scene: Scene, secure: bool, told: list[str]) -> None:
    folder = scene.folder / "d"
    folder.mkdir()
    (folder / "p").write_text(f"#!/bin/sh\necho ran >> {scene.told}\n")
    (folder / "p").chmod(0o757)
    scene.queues.secure = secure
    scene.load(NotifyCommands(directories={"MASTER": str(folder)}))
    scene.state("MASTER")
    assert scene.rest() == told
    assert f"chown root {folder}/p; chmod o-w {folder}/p" in scene.log.texts()[0]


@pytest.mark.parametrize(
    ("notify_deleted", "state_before", "reported", "told"),
    [
        (True, "MASTER", "DELETED", ["deleted", "INSTANCE VI_1 DELETED 100"]),
        (False, "MASTER", "FAULT", ["fault", "INSTANCE VI_1 FAULT 100"]),
        (True, "FAULT", "DELETED", ["deleted", "INSTANCE VI_1 DELETED 100"]),
        (False, "FAULT", None, []),
    ],
)
def test_removed_by_a_reload(
    scene: Scene, notify_deleted: bool, state_before: str, reported: str | None, told: list[str]
) -> None:
    scene.load(
        NotifyCommands(
            fault=scene.command(scene.write, "fault"),
            deleted=scene.command(scene.write, "deleted"),
            any=scene.command(scene.write),
            notify_deleted=notify_deleted,
        )
    )
    scene.state(state_before)
    scene.rest()
    scene.told.unlink()
    scene.load(None)
    notice = scene.state("DELETED")
    assert (notice.state if notice else None) == reported
    assert scene.rest() == told


def test_lower_priority_runs_without_arguments_and_never_piles_up(scene: Scene) -> None:
    scene.load(NotifyCommands(master_rx_lower_pri=scene.command(scene.write, "lower")))
    for _ in range(1000):
        scene.queues.lower_priority(LowerPriorityNotice("VI_1", 50), time.monotonic_ns())
    assert scene.rest() == ["lower", "lower"]


def test_stop_waits_a_moment_for_what_runs_then_ends_it(scene: Scene) -> None:
    hang = scene.script(f'echo "$3" >> {scene.told}; [ "$3" = STOP ] || exec sleep 1000', name="hang")
    scene.load(NotifyCommands(any=scene.command(hang)))
    scene.state("MASTER")
    scene.until(scene.told.exists)
    scene.state("BACKUP")
    begun = time.monotonic_ns()
    scene.state("STOP")
    assert scene.rest() == ["MASTER", "STOP"]
    assert 300 * MILLISECOND <= time.monotonic_ns() - begun < SECOND
    assert f"(VI_1) notify: {hang} was ended by SIGTERM" in scene.log.texts()


def test_stop_does_not_wait_for_the_deaf(scene: Scene) -> None:
    deaf = scene.script(
        f'echo "$3" >> {scene.told}; [ "$3" = STOP ] && exit; trap "" TERM; while :; do sleep 0.02; done', name="deaf"
    )
    scene.load(NotifyCommands(any=scene.command(deaf)))
    scene.state("MASTER")
    scene.until(scene.told.exists)
    begun = time.monotonic_ns()
    scene.state("STOP")
    assert scene.rest() == ["MASTER", "STOP"]
    assert 600 * MILLISECOND <= time.monotonic_ns() - begun < 1200 * MILLISECOND


def test_a_stop_script_has_one_second(scene: Scene) -> None:
    deaf = scene.script('trap "" TERM; while :; do sleep 0.02; done', name="deaf")
    scene.load(NotifyCommands(stop=scene.command(deaf, timeout_ns=60 * SECOND), any=scene.command(scene.write)))
    begun = time.monotonic_ns()
    scene.state("STOP")
    assert scene.rest() == ["INSTANCE VI_1 STOP 100"]
    assert SECOND <= time.monotonic_ns() - begun < 1600 * MILLISECOND


def test_nothing_follows_stop(scene: Scene) -> None:
    scene.load(NotifyCommands(any=scene.command(scene.write)))
    scene.state("STOP")
    scene.state("BACKUP")
    assert scene.rest() == ["INSTANCE VI_1 STOP 100"]
