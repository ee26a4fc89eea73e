"""Which program runs, as whom, and what is said of one that others could change."""

import os
import stat
from pathlib import Path

import pytest

from holdfast.config.disk import Disk
from holdfast.config.scripts import Identity, Resolved, Scripts
from holdfast.config.values import RawScript
from tests.config.reading import INSTANCE, check


class FakeDisk(Disk):
    """Files by path: mode, owner, group; links by path."""

    def __init__(self, files: dict[str, tuple[int, int, int]], links: dict[str, str] | None = None) -> None:
        self.files = files
        self.links = links or {}
        self.users = {"root": (0, 0, (0,)), "alice": (1000, 1000, (1000, 50))}

    def real_path(self, path: str) -> str:
        for link, target in self.links.items():
            if path == link or path.startswith(link + "/"):
                path = target + path[len(link) :]
        return path

    def status(self, path: str, *, follow: bool = True) -> os.stat_result:
        if not follow and path in self.links:
            return os.stat_result((stat.S_IFLNK | 0o777, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        path = self.real_path(path)
        if path in self.files:
            mode, uid, gid = self.files[path]
        elif path == "/" or any(one.startswith(path + "/") for one in self.files):
            mode, uid, gid = stat.S_IFDIR | 0o755, 0, 0
        else:
            raise FileNotFoundError(2, "No such file or directory", path)
        return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))

    def user(self, name: str) -> tuple[int, int, tuple[int, ...]] | None:
        return self.users.get(name)

    def group(self, name: str) -> int | None:
        return {"wheel": 50}.get(name)

    def own_user(self) -> tuple[int, int]:
        return 0, 0

    def search_path(self) -> list[str]:
        return ["/usr/local/bin", "/usr/bin"]


FILE = stat.S_IFREG
DIRECTORY = stat.S_IFDIR
PLAIN = {"/usr/bin/check": (FILE | 0o755, 0, 0)}


def resolve(disk: FakeDisk, argv: str, *, secure: bool = False, user: str = "") -> Resolved:
    return Scripts(disk, secure=secure).resolve(RawScript(tuple(argv.split())), user=tuple(user.split()))


def test_a_command_is_looked_up_in_path() -> None:
    command = resolve(FakeDisk(PLAIN), "check -v").command
    assert command is not None
    assert command.argv == ("/usr/bin/check", "-v")


def test_links_are_followed_unless_the_path_is_to_be_kept() -> None:
    disk = FakeDisk(PLAIN, {"/opt/check": "/usr/bin/check"})
    first = Scripts(disk).resolve(RawScript(("/opt/check",))).command
    kept = Scripts(disk, keep_links=True).resolve(RawScript(("/opt/check",))).command
    assert first is not None
    assert kept is not None
    assert (first.argv[0], kept.argv[0]) == ("/usr/bin/check", "/opt/check")


@pytest.mark.parametrize(
    ("files", "argv", "said"),
    [
        ({}, "/none", "No such file or directory"),
        ({}, "none", "in no directory of PATH"),
        ({"/usr/bin/check": (FILE | 0o644, 0, 0)}, "/usr/bin/check", "can't be executed"),
        ({"/usr/bin": (DIRECTORY | 0o755, 0, 0)}, "/usr/bin", "not a regular file"),
    ],
)
def test_what_is_not_there_is_disabled(files: dict[str, tuple[int, int, int]], argv: str, said: str) -> None:
    resolved = resolve(FakeDisk(files), argv)
    assert resolved.command is None
    assert said in resolved.troubles[0].what


@pytest.mark.parametrize(
    ("files", "part", "cure"),
    [
        ({"/opt/s/x": (FILE | 0o757, 0, 0)}, "the file /opt/s/x (owner 0, group 0, mode -rwxr-xrwx)", "chmod go-w /opt/s/x"),
        ({"/opt/s/x": (FILE | 0o775, 0, 50)}, "the file /opt/s/x (owner 0, group 50, mode -rwxrwxr-x)", "chmod go-w /opt/s/x"),
        ({"/opt/s/x": (FILE | 0o755, 1000, 0)}, "the file /opt/s/x (owner 1000", "chown root:root /opt/s/x"),
        ({"/opt/s": (DIRECTORY | 0o777, 0, 0), "/opt/s/x": (FILE | 0o755, 0, 0)}, "the directory /opt/s (owner 0", "chmod go-w /opt/s"),
    ],
)
def test_a_root_script_others_can_change(files: dict[str, tuple[int, int, int]], part: str, cure: str) -> None:
    loose = resolve(FakeDisk(files), "/opt/s/x")
    assert loose.command is not None
    assert part in loose.troubles[0].what
    assert cure in loose.troubles[0].cure
    assert resolve(FakeDisk(files), "/opt/s/x", secure=True).command is None
    assert resolve(FakeDisk(files), "/opt/s/x", secure=True, user="alice").command is not None


def test_a_sticky_directory_and_the_group_root_are_trusted() -> None:
    files = {"/tmp": (DIRECTORY | 0o1777, 0, 0), "/tmp/x": (FILE | 0o775, 0, 0)}
    assert resolve(FakeDisk(files), "/tmp/x", secure=True).troubles == ()


def test_a_path_through_a_link_runs_though_the_reference_refuses_it() -> None:
    resolved = resolve(FakeDisk(PLAIN, {"/bin": "/usr/bin"}), "/bin/check")
    assert resolved.command is not None
    assert resolved.command.argv == ("/usr/bin/check",)
    assert not resolved.reference_runs
    assert resolved.troubles[0].cure == "write /usr/bin/check"


def test_identities() -> None:
    scripts = Scripts(FakeDisk(PLAIN))
    assert scripts.identity(("alice",))[0] == Identity(1000, 1000)
    assert scripts.identity(("alice", "wheel"))[0] == Identity(1000, 50)
    assert scripts.identity(("alice", ":wheel"))[0] == Identity(1000, 50, (1000, 50))
    assert scripts.identity(("alice", ":"))[0] == Identity(1000, 1000, (1000, 50))
    assert scripts.identity(("bob",))[0] is None
    assert scripts.identity(("alice", "none"))[0] is None


def test_words_that_should_have_been_quoted_are_told_so() -> None:
    resolved = Scripts(FakeDisk(PLAIN)).resolve(RawScript(("/usr/bin/check",), ("master",)))
    assert resolved.command is None
    assert '"/usr/bin/check master"' in resolved.troubles[0].cure


def test_security_without_a_user_disables_scripts(tmp_path: Path) -> None:
    text = "global_defs {\nenable_script_security\n}\n" + INSTANCE.format(inside="notify /usr/bin/true")
    assert check(tmp_path, text).plan.instances[0].notify.any is None
    text = "global_defs {\nenable_script_security\nscript_user root\n}\n" + INSTANCE.format(inside="notify /usr/bin/true")
    assert check(tmp_path, text).plan.instances[0].notify.any is not None


def test_a_relative_path_begins_at_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    program = tmp_path / "sub" / "notify.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    command = check(tmp_path, INSTANCE.format(inside="notify sub/notify.sh")).plan.instances[0].notify.any
    assert command is not None
    assert command.argv == (str(program),)


@pytest.mark.parametrize("written", ["check_web", "web"])
def test_a_tracker_may_be_a_program_of_the_directory(tmp_path: Path, written: str) -> None:
    program = tmp_path / "web"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = f"global_defs {{\ntrack_script_dir {tmp_path}\n}}\n" + INSTANCE.format(inside=f"track_script {{ {written} }}")
    plan = check(tmp_path, text).plan
    assert [(script.name, script.command.argv) for script in plan.scripts] == [(written, (str(program),))]
    assert [use.name for use in plan.instances[0].trackers] == [written]
