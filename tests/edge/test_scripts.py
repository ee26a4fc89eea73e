"""Real programs, started and ended by the real kernel: every way a script can misbehave."""

import fcntl
import gc
import os
import resource
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.base.time import MILLISECOND, SECOND
from holdfast.edge.scripts import NEVER_RAN, ScriptRunner, tracking_result
from tests.edge.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # not pytest's tmp_path, which other users can't enter
        Path(folder).chmod(0o755)
        made = Stage(Path(folder))
        yield made
        made.runner.close()


def gone(pid: int) -> bool:
    """No such process, or only its zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [
        ("exit 0", 0, "exited with status 0"),
        ("exit 3", 3, "exited with status 3"),
        ("kill -SEGV $$", -signal.SIGSEGV, "was ended by SIGSEGV"),
    ],
)
def test_status(stage: Stage, body: str, status: int, outcome: str) -> None:
    result = stage.run(stage.script(body))
    assert (result.status, result.outcome(), result.succeeded) == (status, outcome, status == 0)


def test_arguments_and_output(stage: Stage) -> None:
    stage.start(stage.script('printf "%s;" "$@"; echo err >&2'), "a b", "", extra=("INSTANCE", "VI_1"))
    stage.until(lambda: stage.results)
    assert stage.results[0].output == "a b;;INSTANCE;VI_1;err\n"


def test_result_is_told_as_the_tracking_machine_wants_it(stage: Stage) -> None:
    result = stage.run(stage.script("echo; echo one; echo two; echo three; exit 2"))
    told = tracking_result("chk", 7, result)
    assert (told.name, told.run, told.status, told.timed_out, told.output) == ("chk", 7, 2, False, "one | two")
    assert told.spent_ns > 0


def test_what_a_script_finds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own session, cwd /, stdin empty, default signals, no descriptor of ours, no misleading variable."""
    for name in ("IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("KEPT", "yes")
    stage.runner.close()
    stage.runner = ScriptRunner()
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        run = stage.start(
            stage.script(
                "pwd; cat; env | sort | grep -E '^(IFS|LD_|KEPT)'; ls /proc/self/fd | tr '\\n' ' '; echo\n"
                "grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat"
            )
        )
        stage.until(lambda: stage.results)
    finally:
        os.close(inherited)
    lines = stage.results[0].output.splitlines()
    # signals 32 and 33 are the C library's own: whoever started us may ignore them, and nobody can change that
    blocked, ignored = (int(line.split("\t")[1], 16) & ~(0b11 << 31) for line in lines[3:5])
    assert (blocked, ignored) == (0, 0)
    assert lines[:3] + lines[5:] == [
        "/",
        "KEPT=yes",
        "0 1 2 3 ",  # 3 is the directory that ls reads
        f"{run.pid} {run.pid} {run.pid}",  # pid, group, session
    ]


def test_limits_and_scheduling_go_back(stage: Stage) -> None:
    """The daemon may have raised itself since: its scripts run as if it hadn't."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    score = Path("/proc/self/oom_score_adj").read_text()
    other = "77" if score.strip() != "77" else "78"
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
        os.setpriority(os.PRIO_PROCESS, 0, nice - 3)
        Path("/proc/self/oom_score_adj").write_text(other)
        result = stage.run(
            stage.script("ulimit -Sn; cut -d' ' -f19,41 /proc/self/stat; cat /proc/self/oom_score_adj"), uid=65534
        )
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        Path("/proc/self/oom_score_adj").write_text(score)
    assert result.output == f"{soft}\n{nice} 0\n{score}"


def test_user_group_and_supplementary_groups(stage: Stage) -> None:
    path = stage.script("id -u; id -g; id -G")
    assert stage.run(path, uid=65534, gid=65533, groups=(65533, 12)).output == "65534\n65533\n65533 12\n"
    assert stage.run(path, uid=65534, gid=65533).output == "65534\n65533\n65533\n"


def test_time_limit_ends_the_whole_group(stage: Stage) -> None:
    result = stage.run(stage.script("echo begun; sleep 1000 & wait"), timeout_ns=200 * MILLISECOND)
    assert (result.timed_out, result.status, result.output) == (True, -signal.SIGTERM, "begun\n")
    assert result.outcome() == "timed out and was ended"
    assert 200 * MILLISECOND <= result.spent_ns < SECOND


def test_exit_0_after_the_time_limit_is_no_success(stage: Stage) -> None:
    result = stage.run(stage.script("trap 'exit 0' TERM; while :; do sleep 0.01; done"), timeout_ns=200 * MILLISECOND)
    assert (result.status, result.timed_out, result.succeeded) == (0, True, False)


def test_deaf_to_sigterm_is_killed_later(stage: Stage) -> None:
    path = stage.script("trap '' TERM; while :; do sleep 0.05; done")
    result = stage.run(path, timeout_ns=200 * MILLISECOND, kill_after_ns=300 * MILLISECOND)
    assert (result.status, result.timed_out) == (-signal.SIGKILL, True)
    assert 500 * MILLISECOND <= result.spent_ns < SECOND


def test_a_child_deaf_to_sigterm_is_killed_though_its_parent_went(stage: Stage) -> None:
    mark = stage.folder / "pid"
    path = stage.script(f"(trap '' TERM; echo ready > {mark}; while :; do sleep 0.02; done) & echo $!; wait")
    result = stage.run(path, timeout_ns=400 * MILLISECOND, kill_after_ns=300 * MILLISECOND)
    child = int(result.output)
    assert result.status == -signal.SIGTERM
    assert mark.exists()
    assert not gone(child)
    stage.until(lambda: gone(child), SECOND)


def test_spew_of_100_mb(stage: Stage) -> None:
    """4 KiB are kept, the rest costs a wake-up each 10 ms and no copy."""
    before = stage.wakes
    begun = time.process_time_ns()
    result = stage.run(stage.script("head -c 100000000 /dev/zero | tr '\\0' 'x'; exit 4"))
    assert (result.status, result.output, result.more_output) == (4, "x" * 4096, True)
    assert stage.wakes - before < 1000
    assert time.process_time_ns() - begun < 200 * MILLISECOND


def test_endless_spew_is_ended_in_time(stage: Stage) -> None:
    result = stage.run("/usr/bin/yes", timeout_ns=300 * MILLISECOND)
    assert (result.timed_out, len(result.output)) == (True, 4096)


def test_a_background_child_does_not_hold_the_run_and_gets_no_sigpipe(stage: Stage) -> None:
    done = stage.folder / "done"
    go = stage.folder / "go"
    body = f"(while [ ! -e {go} ]; do sleep 0.01; done; head -c 300000 /dev/zero && echo ok > {done}) & echo begun"
    result = stage.run(stage.script(body))
    assert (result.status, result.output, stage.runner.running()) == (0, "begun\n", 0)
    go.touch()
    stage.until(done.exists)
    stage.until(lambda: not stage.runner._pipes)
    assert done.read_text() == "ok\n"


def test_many_daemons_left_behind_do_not_use_up_the_descriptors(stage: Stage) -> None:
    path = stage.script("sleep 30 & echo $!")
    for _ in range(70):
        stage.start(path)
    stage.until(lambda: len(stage.results) == 70)
    left = [int(result.output) for result in stage.results]
    try:
        assert {result.status for result in stage.results} == {0}
        assert len(stage.runner._pipes) == 64
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda s: s.folder.joinpath("nowhere").as_posix(), "cannot be run: {path} does not exist"),
        (lambda s: s.folder.as_posix(), "cannot be run: {path} is a directory"),
        (lambda s: s.script("exit 0", mode=0o644),
         "cannot be run: {path} is not executable for user 0: chmod +x it, and see its folders and mount options"),
        (lambda s: s.script("exit 0", first="#!/no/such/shell\n"),
         "cannot be run: the interpreter of {path}, /no/such/shell, is missing"),
        (lambda s: s.script("exit 0", first="#!/bin/sh\r\n"),
         "cannot be run: {path} has DOS line ends: convert it with dos2unix"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_be_run(stage: Stage, make: Callable[[Stage], str], error: str) -> None:
    path = make(stage)
    result = stage.run(path)
    assert (result.status, result.error, result.succeeded) == (NEVER_RAN, error.format(path=path), False)


def test_a_file_without_hashbang_is_given_to_the_shell(stage: Stage) -> None:
    result = stage.run(stage.script('echo "$0 $1"; exit 5', first=""), "one")
    assert (result.status, result.output) == (5, f"{stage.folder}/script.sh one\n")
    assert result.note == "neither begins with #! nor is a program: given to /bin/sh"


def test_missing_right_to_change_user(stage: Stage) -> None:
    """As nobody, another user can't be taken on: said so, with the cure."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        inner = Stage(stage.folder)
        os.write(writing, inner.run("/usr/bin/true", uid=1234, gid=1234).error.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    said = os.read(reading, 1000).decode()
    os.close(reading)
    assert said == "cannot run as user 1234, group 1234: operation not permitted; grant CAP_SETUID and CAP_SETGID"


@pytest.mark.parametrize(("mode", "uid", "status"), [(0o644, 65534, 0), (0o600, 65534, NEVER_RAN), (0o600, None, 0)])
def test_readable_file_command(stage: Stage, mode: int, uid: int | None, status: int) -> None:
    path = stage.folder / "flag"
    path.touch()
    path.chmod(mode)
    assert stage.run(f"<{path}", uid=uid).status == status


def test_fork_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    result = stage.run("/usr/bin/true")
    assert (result.status, result.error) == (
        NEVER_RAN,
        "cannot be started: too many processes: raise TasksMax= or the nproc limit",
    )
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_no_descriptors_left(stage: Stage) -> None:
    """Descriptor by descriptor: a result each time, and afterwards everything works again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(5):
        used = len(os.listdir("/proc/self/fd")) - 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, hard))
        try:
            stage.start("/usr/bin/true")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    stage.until(lambda: len(stage.results) == 5)
    assert [r.error for r in stage.results if not r.succeeded and "many open files" not in r.error] == []
    assert any(result.error for result in stage.results)
    assert stage.run("/usr/bin/true").succeeded


def test_cancel(stage: Stage) -> None:
    run = stage.start(stage.script("exec sleep 1000"))
    stage.runner.cancel(run, time.monotonic_ns())
    stage.until(lambda: stage.results)
    assert (stage.results[0].status, stage.results[0].timed_out) == (-signal.SIGTERM, False)
    stage.runner.cancel(run, time.monotonic_ns())  # once more does no harm


def test_scripts_end_with_the_daemon(stage: Stage) -> None:
    mark = stage.folder / "pid"
    path = stage.script(f"echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 1000")
    daemon = os.fork()
    if daemon == 0:
        inner = Stage(stage.folder)
        inner.start(path, uid=0, gid=0)
        inner.until(mark.exists)
        os._exit(0)
    os.waitpid(daemon, 0)
    script = int(mark.read_text())
    stage.until(lambda: gone(script))


def test_nothing_is_left_behind(stage: Stage) -> None:
    """Descriptors after a hundred runs are those before."""
    path = stage.script("echo hello")
    stage.run(path)
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(100):
        stage.run(path)
    stage.until(lambda: not stage.runner._pipes)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_pipe_of_a_program_is_an_ordinary_one(stage: Stage) -> None:
    path = stage.script("stat -L -c %F /dev/stdout; grep flags /proc/self/fdinfo/1")
    kind, flags = stage.run(path).output.splitlines()
    assert kind == "fifo"
    assert not int(flags.split()[1], 8) & os.O_NONBLOCK
    assert stat.S_ISFIFO(os.fstat(stage.runner._reports).st_mode)
    assert fcntl.fcntl(stage.runner._reports, fcntl.F_GETFL) & os.O_NONBLOCK


@pytest.mark.alone  # a script has 200 ms to tidy up
def test_at_the_end_what_runs_may_tidy_up_but_not_stay(stage: Stage) -> None:
    done = stage.folder / "done"
    tidy = stage.script(f"trap 'echo ok > {done}; exit' TERM; echo up; while :; do sleep 0.01; done", name="tidy")
    deaf = stage.script("trap '' TERM; echo up; while :; do sleep 0.01; done", name="deaf")
    runs = [stage.start(tidy), stage.start(deaf)]
    stage.until(lambda: all(run._kept for run in runs))
    begun = time.monotonic_ns()
    stage.runner.close()
    assert time.monotonic_ns() - begun < 400 * MILLISECOND
    assert done.read_text() == "ok\n"
    assert all(gone(run.pid) for run in runs)
    assert stage.results == []
    stage.runner = ScriptRunner()
