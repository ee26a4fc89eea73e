"""A Linux kernel as a process (Debian's user-mode-linux), with the IPVS, netem, VLANs and VRFs a host's own may lack.

`python -m holdfast.lab.user_mode COMMAND …` boots it in some two seconds with this machine's own files as its root,
loads the modules, runs COMMAND in the same directory, prints what it says and ends with its exit status. Inside,
`/run` and `/mnt` are its own memory; all else is this machine's, so what COMMAND writes elsewhere stays.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from holdfast.lab.namespaces import die_with_parent

MODULES = (
    "veth", "bridge", "dummy", "macvlan", "ipvlan", "vrf", "8021q", "sch_netem",
    "ipip", "ip_gre", "fou", "sit", "ip6_tunnel", "xt_mark",
    "nf_tables", "nft_nat", "nft_masq", "nft_ct", "nft_numgen", "nft_hash", "nf_nat", "nf_conntrack",
    "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_sh", "ip_vs_mh", "ip_vs_dh",
    "ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_twos",
    "ip_vs_ftp", "ip_vs_pe_sip",
)  # fmt: skip
MODULES_DIRECTORY = "/usr/lib/uml/modules"
INSIDE = "HOLDFAST_USER_MODE"
"""The environment variable that is set inside."""

_WHOLE_REGISTERS = """\
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { GET = 0x4204, SET = 0x4205, XSTATE = 0x202 };

static long call(long request, long pid, void *address, void *argument)
{
    long word = 0;
    int peeks = request >= 1 && request <= 3;
    long result = syscall(SYS_ptrace, request, pid, address, peeks ? (void *)&word : argument);
    return result >= 0 && peeks ? word : result;
}

long ptrace(int request, ...)
{
    va_list words;
    va_start(words, request);
    long pid = va_arg(words, int);
    void *address = va_arg(words, void *), *argument = va_arg(words, void *);
    va_end(words);
    if (request == SET && address == (void *)XSTATE) {
        static char registers[65536] __attribute__((aligned(64)));
        struct iovec *given = argument, whole = {registers, sizeof registers};
        if (call(GET, pid, address, &whole) < 0)
            return -1;
        if (given->iov_len < whole.iov_len) {
            memcpy(registers, given->iov_base, given->iov_len);
            return call(SET, pid, address, &whole);
        }
    }
    return call(request, pid, address, argument);
}
"""
"""Preloaded below the kernel where processors have more registers (AMX) than it has room for: their kernels refuse a
PTRACE_SETREGSET of less than all of them, so what it gives is laid over what is there."""

_SCRIPT = """\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
mkdir -p /run/modules/lib /run/lock /mnt/tmp
ln -s {modules_directory} /run/modules/lib/modules
for module in {modules}; do modprobe -q -d /run/modules $module; done
ip link set lo up
cd {where}
export TMPDIR=/mnt/tmp HOME=/mnt/tmp {environment}
( {command} ) >{output} 2>&1 </dev/null
echo $? >{status}
halt -f
"""


class NotInstalledError(Exception):
    """There is no user-mode kernel on this machine; the text has the cure."""


def kernel() -> str:
    """The path of the user-mode kernel; NotInstalledError when there is none."""
    found = shutil.which("linux.uml")
    if found is None or not os.path.isdir(MODULES_DIRECTORY) or shutil.which("modprobe") is None:
        raise NotInstalledError("no user-mode kernel here: apt-get install user-mode-linux kmod")
    return found


def wide_registers() -> bool:
    """Whether this processor's registers (AMX) are more than the user-mode kernel has room for."""
    return any(
        "amx_tile" in line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")
    )


def _whole_registers(directory: str) -> dict[str, str]:
    """The environment the user-mode kernel needs on this processor."""
    if not wide_registers():
        return {}
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotInstalledError(
            "the user-mode kernel needs a compiler on this processor: apt-get install gcc libc6-dev"
        )
    source, library = Path(directory, "registers.c"), Path(directory, "registers.so")
    source.write_text(_WHOLE_REGISTERS)
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


def run_inside(
    command: Sequence[str],
    memory: str = "1G",
    timeout_s: float = 300,
    environment: dict[str, str] | None = None,
    where: str | None = None,
    boot_words: Sequence[str] = (),
) -> tuple[int, str]:
    """Boot, run `command`, halt: (its exit status, its output). TimeoutError with the console's and its output.

    `boot_words` go to the kernel: `vec0:transport=tap,ifname=tap0` gives it a network card, say.
    """
    program = kernel()
    with tempfile.TemporaryDirectory(prefix="holdfast-user-mode-") as directory:
        output, status, script = (Path(directory, name) for name in ("output", "status", "init"))
        wanted = {INSIDE: "1", "PYTHONDONTWRITEBYTECODE": "1"} | (environment or {})
        script.write_text(
            _SCRIPT.format(
                modules_directory=MODULES_DIRECTORY,
                modules=" ".join(MODULES),
                where=shlex.quote(where or os.getcwd()),
                environment=" ".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items()),
                command=shlex.join(command),
                output=output,
                status=status,
            )
        )
        script.chmod(0o755)
        boot = [
            program, f"mem={memory}", f"umid={os.path.basename(directory)}", "root=/dev/root", "rootfstype=hostfs",
            "rootflags=/", "rw", f"init={script}", "con0=null,fd:1", "con=null", "quiet",
            *boot_words,
        ]  # fmt: skip
        needed = {"HOME": directory, "TMPDIR": directory} | _whole_registers(directory)
        console = _boot(boot, timeout_s, output, needed)
        said = output.read_text(errors="replace") if output.exists() else ""
        if not status.exists():
            raise RuntimeError(f"the user-mode kernel ended before the command did:\n{console}\n{said}")
        return int(status.read_text()), said


def _boot(boot: list[str], timeout_s: float, output: Path, environment: dict[str, str]) -> str:
    """What it wrote on its console."""
    process = subprocess.Popen(
        boot,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,  # a test run that is killed leaves no kernel turning
        env=os.environ | environment,
    )
    try:
        console, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        console, _ = process.communicate()
        said = output.read_text(errors="replace") if output.exists() else ""
        raise TimeoutError(f"not done within {timeout_s:g} s:\n{console.decode(errors='replace')}\n{said}") from None
    except BaseException:
        os.killpg(process.pid, 9)
        process.wait()
        raise
    return console.decode(errors="replace")


def main() -> int:
    """`python -m holdfast.lab.user_mode COMMAND …`."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        status, said = run_inside(sys.argv[1:])
    except NotInstalledError as missing:
        print(f"holdfast: {missing}", file=sys.stderr)
        return 1
    sys.stdout.write(said)
    return status


if __name__ == "__main__":
    sys.exit(main())
