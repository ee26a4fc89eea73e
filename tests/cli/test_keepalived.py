"""The command line of `holdfast-keepalived`, beside keepalived's own where both can be asked."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.keepalived import options_of, read
from holdfast.daemon.options import Options

OURS = [sys.executable, "-m", "holdfast.cli.keepalived"]


def run(command: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=30)


def options(*words: str) -> Options:
    asked, status = read(words, io.StringIO())
    assert status is None
    return options_of(asked)


def test_what_holds_when_nothing_is_said() -> None:
    asked = options()
    assert (asked.compatible, asked.foreground, asked.respawn) == (True, False, True)
    assert (asked.log_console, asked.log_syslog, asked.log_facility, asked.log_detail) == (False, True, 3, 0)
    assert asked.config_file == "/etc/keepalived/keepalived.conf"
    assert asked.run_dir == "/run/keepalived"
    assert (asked.parent_pid_file, asked.vrrp_pid_file) == ("/run/keepalived.pid", "/run/vrrp.pid")
    assert (asked.checkers_pid_file, asked.bfd_pid_file) == ("/run/checkers.pid", "/run/bfd.pid")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-f /a/b.conf", "config_file", "/a/b.conf"),
        ("-f/a/b.conf", "config_file", "/a/b.conf"),
        ("--use-file=/a/b.conf", "config_file", "/a/b.conf"),
        ("--use-file /a/b.conf", "config_file", "/a/b.conf"),
        ("--use=/a/b.conf", "config_file", "/a/b.conf"),
        ("-P", "run_checkers", False),
        ("--vrrp", "run_checkers", False),
        ("-C", "run_vrrp", False),
        ("-B", "run_bfd", False),
        ("-l", "log_console", True),
        ("-DD", "log_detail", 2),
        ("-D --log-detail", "log_detail", 2),
        ("-S 3", "log_facility", 19),
        ("-S local7", "log_facility", 23),
        ("-S user", "log_facility", 1),
        ("-g/var/log/x.log", "log_file", "/var/log/x.log"),
        ("--log-file=/var/log/x.log", "log_file", "/var/log/x.log"),
        ("--flush-log-file", "log_flush", True),
        ("-G", "log_syslog", False),
        ("-u 022", "umask", 0o022),
        ("-u 0x12", "umask", 0o022),
        ("-u 18", "umask", 0o022),
        ("-X", "release_vips", True),
        ("-V", "keep_vrrp_addresses", True),
        ("-R", "respawn", False),
        ("-n", "foreground", True),
        ("-d", "dump_config", True),
        ("-p /run/x/k.pid", "parent_pid_file", "/run/x/k.pid"),
        ("-p /run/x/k.pid", "run_dir", "/run/x"),
        ("-r /run/x/v.pid", "vrrp_pid_file", "/run/x/v.pid"),
        ("--vrrp_pid=/run/x/v.pid", "vrrp_pid_file", "/run/x/v.pid"),
        ("-c /run/x/c.pid", "checkers_pid_file", "/run/x/c.pid"),
        ("-b /run/x/b.pid", "bfd_pid_file", "/run/x/b.pid"),
        ("-a", "log_addresses", True),
        ("-s blue", "net_namespace", "blue"),
        ("-e", "all_includes_checked", True),
        ("-i lb1", "config_id", "lb1"),
        ("-m", "core_dump", True),
        ("-Mcore.%p", "core_dump", True),
        ("--ignore-sigint", "ignore_sigint", True),
        ("word -n other", "foreground", True),
        ("-nlGf /a/b.conf", "config_file", "/a/b.conf"),
    ],
)
def test_each_option(words: str, field: str, value: object) -> None:
    assert getattr(options(*words.split()), field) == value
    assert getattr(options(), field) != value


def test_a_log_file_without_a_name_lies_in_the_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    assert options("-g", "-n").log_file == "/tmp/keepalived.log"
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert options("-g").log_file == "/var/tmp/keepalived.log"


@pytest.mark.parametrize("words", ["-x", "-A /x", "--all", "-Mcore", "--no-mem-check"])
def test_what_has_no_effect_says_so_in_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    options(*words.split())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(words.split()[0][:2])
    assert "going on without it" in said


@pytest.mark.parametrize(
    "words",
    [
        ["--bogus"], ["-f"], ["-nq"], ["--signum"], ["--signum=FOO"], ["-S"], ["-v"], ["-h"], ["--version"], ["--vers"],
        ["--signum=STOP"], ["--signum=RELOAD"], ["--signum=DATA"], ["--signum=STATS"], ["--signum=STATS_CLEAR"],
        ["--signum=JSON"], ["--signum", "DATA"], ["--bogus", "-v"],
    ],
)  # fmt: skip
def test_status_and_standard_output_are_keepaliveds(words: list[str]) -> None:
    theirs, ours = run(["keepalived"], *words), run(OURS, *words)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), ours.stderr
    assert bool(ours.stderr) == bool(theirs.stderr)
    if ours.returncode and not words[0].startswith("--signum"):
        assert ours.stderr == theirs.stderr


def test_every_option_of_keepalived_is_known() -> None:
    theirs = set(re.findall(r"--([a-z][a-z_-]+)", run(["keepalived"], "-h").stderr))
    ours = set(re.findall(r"--([a-z][a-z_-]+)", run(OURS, "-h").stderr))
    assert len(theirs) > 25
    assert theirs - ours == set()


def test_the_exporter_finds_version_and_json() -> None:
    """It reads the second word of the first line of standard error, less a letter, and looks for --enable-json."""
    said = run(OURS, "-v").stderr
    assert said.splitlines()[0].split()[1][1:] == "2.4.3"
    assert "--enable-json" in said


def test_roles_and_modules_find_the_version() -> None:
    """Up to the last blank of the first line (a role of Ansible), three numbers with something behind (Puppet's fact)."""
    said = run(OURS, "--version").stderr.splitlines()[0]
    for pattern in (r"[kK]eepalived v(.*) ", r"Keepalived v(\d+\.\d+\.\d+) .+"):
        assert re.findall(pattern, said) == ["2.4.3"]


def test_a_wrong_value_is_said_and_left_aside(capsys: pytest.CaptureFixture[str]) -> None:
    assert options("-S", "9", "-u", "x", "extra").log_facility == 3
    assert capsys.readouterr().err.splitlines() == [
        "Invalid log facility '9': use 0 to 7, local0 to local7, user or daemon; staying with daemon",
        "Invalid umask 'x': use a number from 0 to 0777; staying with 0177",
        "Unexpected argument(s): extra",
    ]



@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("global_defs {\n router_id x\n}\n", 0),
        ("global_defs {\n router_id x\n}\nbogus_word\n", 5),
        ("vrrp_instance V {\n interface\n}\n", 2),
    ],
)
def test_a_configuration_test_ends_as_keepaliveds(tmp_path: Path, text: str, status: int) -> None:
    path, log = tmp_path / "keepalived.conf", tmp_path / "log"
    path.write_text(text)
    assert run(["keepalived"], "-t", "-f", str(path)).returncode == status
    ours = run(OURS, "-t", "-f", str(path))
    assert (ours.returncode, bool(ours.stderr)) == (status, status != 0)
    log.write_text("before\n")
    assert run(OURS, f"--config-test={log}", "-f", str(path)).returncode == status
    assert log.read_text() == "before\n" + ours.stderr


def test_a_configuration_test_without_a_file(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.conf")
    assert [run(c, "-t", "-f", absent).returncode for c in (["keepalived"], OURS)] == [0, 0]
    assert [run(c, "-t", "-e", "-f", absent).returncode for c in (["keepalived"], OURS)] == [4, 4]


def test_a_wrong_option_value_counts_in_a_configuration_test(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text("global_defs {\n router_id x\n}\n")
    assert [run(c, "-t", "-S", "9", "-f", str(path)).returncode for c in (["keepalived"], OURS)] == [5, 5]
