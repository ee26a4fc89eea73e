"""A fresh small Debian as the root of a host of the lab."""

import os
import subprocess
from pathlib import Path

from holdfast.lab.hosts import Host, Spawned

from .building import once, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-tests"
"""What takes a minute to fetch, from one run of the tests to the next."""

INSIDE = "python3,procps,libcap2-bin,systemd-sysv,dbus"
"""What the smallest Debian has for us besides: what the package depends on, capsh, and what boots it."""

_MOUNT = """
set -e
mkdir -p {at}/layers {at}/root
mount -t tmpfs tmpfs {at}/layers
mkdir {at}/layers/upper {at}/layers/work
mount -t overlay overlay -o lowerdir={lower},upperdir={at}/layers/upper,workdir={at}/layers/work {at}/root
mount -t proc proc {at}/root/proc
mount --rbind /sys {at}/root/sys
mount --bind /dev {at}/root/dev
mount -t tmpfs tmpfs {at}/root/run
"""


def smallest() -> Path:
    """Debian of this machine's release with Python, unpacked; nothing is ever written there."""
    release = run("sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME").strip()

    def make(to: Path) -> None:
        form = ("--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
        known = [line.split() for line in run("apt-get", "indextargets", *form).splitlines()]
        mirror = next(where for name, where in known if name == release)  # where this machine has its packages from
        run("debootstrap", "--variant=minbase", f"--include={INSIDE}", release, to, mirror)
        run("chroot", to, "apt-get", "clean")

    return once(CACHE, f"debian-{release}-{INSIDE.replace(',', '+')}", make)  # a comma would part layers


class Debian:
    """`smallest()` under a layer of its own: what is done to it is gone with the host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.root = host.directory / "root"
        host.run("sh", "-c", _MOUNT.format(at=host.directory, lower=smallest()))

    def inside(self, *command: str) -> tuple[str, ...]:
        """The words that run `command` in this Debian."""
        clean = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "TERM=dumb")
        return "chroot", str(self.root), *clean, *command

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command to its end, which must have this status; what it printed, errors too."""
        done = subprocess.run(
            self.inside(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=self.host.join, timeout=60, check=False, text=True,
        )  # fmt: skip
        assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout}"
        return done.stdout

    def spawn(self, *command: str) -> Spawned:
        """Start a command that stays."""
        return self.host.spawn(*self.inside(*command))

    def write(self, path: str, text: str) -> str:
        """Write a file, `path` as seen inside; the path."""
        self.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path} <<'END'\n{text}END")
        return path

    def put(self, file: Path) -> str:
        """Copy a file of this machine to /tmp; its path inside."""
        self.host.run("cp", str(file), f"{self.root}/tmp/")
        return f"/tmp/{file.name}"

    def files(self) -> set[str]:
        """Every file and folder: kind, mode, owner, where a link leads, path; less what changes by
        itself: dpkg's and apt's own notes, logs, /tmp."""
        form = r"%y %m %u:%g %l %p\n"
        own = [word for path in ("/var/lib/dpkg", "/var/log", "/var/cache", "/var/lib/apt", "/tmp")
               for word in ("-path", path, "-prune", "-o")]  # fmt: skip
        return set(self.run("find", "/", "-xdev", *own, "-printf", form).splitlines())
