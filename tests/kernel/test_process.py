"""What a process asks about itself, asked of the real kernel in a process of its own."""

import os
import subprocess
import sys

import pytest

from holdfast.kernel.process import CAPABILITIES, capabilities, surroundings


def in_child(code: str) -> str:
    """What the code prints, in a process of its own."""
    code = f"import os, resource, signal, time\nfrom holdfast.kernel.process import *\n{code}"
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


NOBODY = "os.setresuid(65534, 65534, 65534)\n"


def test_name_keeps_15_bytes() -> None:
    said = in_child("set_name('keepalived_vrrp_and_more')\nprint(open('/proc/self/comm').read())")
    assert said == "keepalived_vrrp"


def test_realtime_and_children_in_the_ordinary_class() -> None:
    code = """
print(set_realtime(50, 10000))
print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR, os.sched_getparam(0).sched_priority)
print(resource.getrlimit(resource.RLIMIT_RTTIME)[0])
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, b'%d' % os.sched_getscheduler(0))
    os._exit(0)
print(os.read(reading, 9).decode())
set_ordinary()
print(os.sched_getscheduler(0))
"""
    assert in_child(code).split("\n") == ["None", "True 50", "10000", "0", "0"]


@pytest.mark.parametrize(
    ("before", "call", "said"),
    [
        (NOBODY, "set_realtime(50)",
         "cannot run in real time at priority 50: operation not permitted; grant CAP_SYS_NICE, or set LimitRTPRIO= in the "
         "unit; running in the ordinary class, where a busy machine may delay adverts"),
        (NOBODY, "set_nice(-10)", "cannot set nice -10: permission denied; grant CAP_SYS_NICE; staying at 0"),
        ("resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n" + NOBODY, "lock_memory()",
         "cannot lock memory against swapping: operation not permitted; grant CAP_IPC_LOCK, or set "
         "LimitMEMLOCK=infinity in the unit; running unlocked"),
        ("os.sched_setaffinity(0, [0])\n", "set_affinity([9999])",
         "cannot run on processors [9999]: invalid argument; this process may use 0; using those"),
    ],
)  # fmt: skip
def test_refusals_name_the_cure(before: str, call: str, said: str) -> None:
    assert in_child(f"{before}print({call}.text())") == said


def test_memory_is_locked_as_it_is_used() -> None:
    code = """
import mmap
unused = mmap.mmap(-1, 64 << 20)
print(lock_memory())
unused_too = mmap.mmap(-1, 64 << 20)
print([int(line.split()[1]) for line in open('/proc/self/status', 'rb') if line.startswith((b'VmLck', b'VmRSS'))])
"""
    refused, sizes = in_child(code).split("\n")
    locked_kb, resident_kb = (int(size) for size in sizes.strip("[]").split(","))
    assert refused == "None"
    assert locked_kb > 100_000  # the 128 MB count as locked
    assert resident_kb < 64_000  # without being there


def test_affinity_and_nice() -> None:
    assert in_child("print(set_affinity([0]), os.sched_getaffinity(0))\nprint(set_nice(-5), os.nice(0))") == (
        "None {0}\nNone -5"
    )


def test_capability_names_are_the_kernels() -> None:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
        assert len(CAPABILITIES) == int(last.read()) + 1
    assert (CAPABILITIES[12], CAPABILITIES[13], CAPABILITIES[23], CAPABILITIES[39]) == (
        "NET_ADMIN",
        "NET_RAW",
        "SYS_NICE",
        "BPF",
    )
    assert {"NET_ADMIN", "SETUID"} <= capabilities().effective
    assert capabilities(os.getpid()) == capabilities()


def test_keep_only_is_for_good() -> None:
    code = """
print(keep_only(['NET_RAW', 'SETUID']))
have = capabilities()
print(sorted(have.effective), sorted(have.permitted), sorted(have.bounding))
import sys
sys.stdout.flush()
os.execv('/usr/bin/grep', ['grep', 'CapEff', '/proc/self/status'])
"""
    first, second, third = in_child(code).split("\n")
    assert first == "None"
    assert second == "['NET_RAW', 'SETUID'] ['NET_RAW', 'SETUID'] ['NET_RAW', 'SETUID']"
    assert third.split() == ["CapEff:", f"{1 << 13 | 1 << 7:016x}"]  # also for a root program that is executed


def test_capabilities_survive_a_change_of_user_when_asked_to() -> None:
    code = "print('NET_RAW' in capabilities().permitted)"
    assert in_child(f"{NOBODY}{code}") == "False"
    assert in_child(f"keep_capabilities_across_setuid()\n{NOBODY}{code}") == "True"


def test_a_process_ends_with_its_parent() -> None:
    code = """
reading, writing = os.pipe()
parent = os.fork()
if parent == 0:
    middle = os.getpid()
    if os.fork() == 0:
        os.write(writing, b'%d' % die_with_parent(middle))
        time.sleep(30)
    os.read(reading, 1)
    os._exit(0)
os.close(writing)
os.waitpid(parent, 0)
print(os.read(reading, 10))  # b'' as soon as nobody holds the writing end any more
print(die_with_parent(1))
"""
    assert in_child(code).split("\n") == ["b''", "False"]


def test_surroundings_come_back() -> None:
    code = """
home = surroundings()
for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
    resource.setrlimit(limit, (resource.getrlimit(limit)[0] - 1 & 1023, resource.getrlimit(limit)[1]))
set_realtime(5); set_affinity([1]); set_nice(-4)
print(surroundings() == home)
home.restore()
print(surroundings() == home, os.sched_getscheduler(0))
"""
    assert in_child(code) == "False\nTrue 0"
    assert surroundings().processors == tuple(sorted(os.sched_getaffinity(0)))
