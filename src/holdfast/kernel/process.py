"""What a process asks of the kernel about itself: its name, scheduling, memory, processors, limits and capabilities.

Every asking function returns None when the kernel agreed and a `Refusal`, with its cure, when it did not: none of
these refusals may end the daemon. prctl(2), sched(7), mlockall(2), capabilities(7), getrlimit(2).
"""

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Callable, Iterable

import msgspec

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h: two 32-bit words a set

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(_NAMES.split())
"""Capability names less `CAP_`, at the place of their number (linux/capability.h)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_prctl: Callable[[int, int, int, int, int], int] = _libc.prctl


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel said no: what was asked, why it was refused, what would help, and what happens meanwhile."""

    what: str
    why: str
    cure: str
    meanwhile: str = ""

    def text(self) -> str:
        """One line for the log."""
        return f"{self.what}: {self.why}; {self.cure}" + (f"; {self.meanwhile}" if self.meanwhile else "")


def _refusal(what: str, number: int, cure: str, meanwhile: str = "") -> Refusal:
    return Refusal(what=what, why=os.strerror(number).lower(), cure=cure, meanwhile=meanwhile)


# ---- name and parent ------------------------------------------------------------------------------------------------


def set_name(name: str) -> None:
    """The name that ps and top show (PR_SET_NAME); the kernel keeps 15 bytes of it."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0)


def die_with_parent(parent_pid: int, with_signal: int = signal.SIGTERM) -> bool:
    """Have the kernel send `with_signal` when the parent ends (PR_SET_PDEATHSIG); False when it has ended already.

    Forgotten by the kernel when the process changes its user: call it after that.
    """
    _prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
    return os.getppid() == parent_pid


# ---- scheduling and memory ------------------------------------------------------------------------------------------


def set_realtime(priority: int, time_limit_us: int = 0) -> Refusal | None:
    """Real-time round robin at `priority` (1 to 99, held to what the kernel allows); children go back to normal.

    `time_limit_us`, when not 0, is RLIMIT_RTTIME: longer without sleeping and the kernel sends SIGXCPU.
    """
    what = f"cannot run in real time at priority {priority}"
    meanwhile = "running in the ordinary class, where a busy machine may delay adverts"
    wanted = min(max(priority, os.sched_get_priority_min(os.SCHED_RR)), os.sched_get_priority_max(os.SCHED_RR))
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(wanted))
    except OSError as error:
        cure = "grant CAP_SYS_NICE, or set LimitRTPRIO= in the unit"
        if error.errno == errno.EPERM and "SYS_NICE" in capabilities().effective:
            cure = "the control group has no real-time time: set cpu.rt_runtime_us, or sched_rt_runtime_us to -1"
        return _refusal(what, error.errno or errno.EPERM, cure, meanwhile)
    if time_limit_us:
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        soft = time_limit_us if hard == resource.RLIM_INFINITY else min(time_limit_us, hard)
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))
    return None


def set_ordinary() -> None:
    """Back to the ordinary scheduling class and without a real-time limit."""
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def set_nice(nice: int) -> Refusal | None:
    """The niceness of the ordinary class, -20 (first) to 19."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError as error:
        return _refusal(f"cannot set nice {nice}", error.errno or errno.EPERM, "grant CAP_SYS_NICE",
                        f"staying at {os.getpriority(os.PRIO_PROCESS, 0)}")  # fmt: skip
    return None


def lock_memory() -> Refusal | None:
    """Never swap this process out (mlockall): pages are locked as they come into use, not before."""
    limit, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != hard:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return None
    number = ctypes.get_errno()
    return _refusal("cannot lock memory against swapping", number,
                    "grant CAP_IPC_LOCK, or set LimitMEMLOCK=infinity in the unit", "running unlocked")  # fmt: skip


def set_affinity(processors: Iterable[int]) -> Refusal | None:
    """Run on these processors only (numbers from 0)."""
    wanted = sorted(set(processors))
    try:
        os.sched_setaffinity(0, wanted)
    except (OSError, ValueError, OverflowError) as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        allowed = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        return _refusal(f"cannot run on processors {wanted}", number, f"this process may use {allowed}",
                        "using those")  # fmt: skip
    return None


# ---- what a child is to have back -----------------------------------------------------------------------------------


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon was started: what its scripts get back, whatever it changed for itself since."""

    limits: tuple[tuple[int, tuple[int, int]], ...]  # RLIMIT_…, (soft, hard)
    processors: tuple[int, ...]
    nice: int
    oom_score_adj: bytes

    def restore(self) -> None:
        """Undo the changes, in a child before it gives up its privileges; what the kernel refuses stays as it is."""
        for number, pair in self.limits:
            hard = resource.getrlimit(number)[1]
            if resource.getrlimit(number) != pair:
                _attempt(resource.setrlimit, number, (pair[0], hard))  # a lowered hard limit may be there to stay
                _attempt(resource.setrlimit, number, pair)
        set_ordinary()
        if os.getpriority(os.PRIO_PROCESS, 0) != self.nice:
            _attempt(os.setpriority, os.PRIO_PROCESS, 0, self.nice)
        if tuple(sorted(os.sched_getaffinity(0))) != self.processors:
            _attempt(os.sched_setaffinity, 0, self.processors)
        if _oom_score_adj() != self.oom_score_adj:
            _attempt(_write_oom_score_adj, self.oom_score_adj)


def surroundings() -> Surroundings:
    """This process's limits, processors, niceness and OOM score now: to be taken first thing at start."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    numbers = sorted({getattr(resource, name) for name in names})
    return Surroundings(
        limits=tuple((number, resource.getrlimit(number)) for number in numbers),
        processors=tuple(sorted(os.sched_getaffinity(0))),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        oom_score_adj=_oom_score_adj(),
    )


def _attempt(call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except (OSError, ValueError):
        return


def _oom_score_adj() -> bytes:
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 16)
    finally:
        os.close(fd)


def _write_oom_score_adj(score: bytes) -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, score)
    finally:
        os.close(fd)


def go_first() -> None:
    """When memory runs out this process is to be ended before others."""
    _attempt(_write_oom_score_adj, b"500")


# ---- capabilities ---------------------------------------------------------------------------------------------------


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """The capability sets of a process, by name less `CAP_` (capabilities(7))."""

    effective: frozenset[str]
    permitted: frozenset[str]
    bounding: frozenset[str]


def capabilities(pid: int | None = None) -> Capabilities:
    """The sets of process `pid` (None: this one), from /proc; raises FileNotFoundError when there is none."""
    with open(f"/proc/{'self' if pid is None else pid}/status", "rb") as status:
        lines = dict(line.split(b":", 1) for line in status if line.startswith(b"Cap"))

    def names(key: bytes) -> frozenset[str]:
        mask = int(lines.get(key, b"0"), 16)
        return frozenset(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1)

    return Capabilities(effective=names(b"CapEff"), permitted=names(b"CapPrm"), bounding=names(b"CapBnd"))


def keep_only(wanted: Iterable[str]) -> Refusal | None:
    """Give up every capability but `wanted` (those of them that we have), for good: also for programs we exec."""
    kept = frozenset(wanted)
    unknown = kept.difference(CAPABILITIES)
    assert not unknown, unknown
    have = capabilities()
    if "SETPCAP" in have.effective:  # without it the bounding set can't be made smaller: it grants nothing by itself
        for name in have.bounding - kept:
            _prctl(_PR_CAPBSET_DROP, CAPABILITIES.index(name), 0, 0, 0)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    mask = sum(1 << CAPABILITIES.index(name) for name in have.permitted & kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable; twice
    if _libc.capset(header, sets) == 0:
        return None
    return _refusal("cannot give up capabilities", ctypes.get_errno(), "allow capset(2) in the unit's SystemCallFilter",
                    "keeping them all")  # fmt: skip


def no_new_privileges() -> None:
    """Whatever this process executes from now on has no more privileges than it (PR_SET_NO_NEW_PRIVS)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def keep_capabilities_across_setuid() -> None:
    """Let a change from root to another user leave the permitted set alone (PR_SET_KEEPCAPS)."""
    _prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
