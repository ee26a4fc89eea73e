"""A small Debian whose first process is systemd."""

import os
import subprocess

from holdfast.lab.hosts import Host, NotInTimeError, descendants, wait_until

from .debian import Debian

_MASKED = (
    "sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount "
    "dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount "
    "systemd-binfmt.service systemd-sysctl.service systemd-modules-load.service systemd-random-seed.service "
    "systemd-remount-fs.service systemd-hostnamed.service systemd-logind.service systemd-tmpfiles-clean.timer "
    "systemd-update-utmp.service systemd-timesyncd.service systemd-pstore.service console-getty.service "
    "getty@.service getty.target"
)
"""What would reach out of the host, into the kernel that everybody shares, or has nothing to do here."""

_PREPARE = """
set -e
umount -R -l {at}/root/sys
mount -t tmpfs -o mode=755 tmpfs {at}/root/dev
for name in null zero full random urandom tty ptmx; do
    touch {at}/root/dev/$name
    mount --bind /dev/$name {at}/root/dev/$name
done
mkdir {at}/root/dev/pts {at}/root/dev/shm {at}/cgroup
ln -s /proc/self/fd {at}/root/dev/fd
mount -t cgroup2 cgroup2 {at}/cgroup
mkdir {at}/cgroup/{name}
mkdir -p {at}/root/etc/systemd/system
for unit in {masked}; do ln -s /dev/null {at}/root/etc/systemd/system/$unit; done
"""
_START = """
set -e
echo $$ > {at}/cgroup/{name}/cgroup.procs
exec unshare --pid --mount --cgroup --fork --kill-child sh -c '
    set -e
    mount -t proc proc {at}/root/proc
    mount -t sysfs -o ro sysfs {at}/root/sys
    mount -t cgroup2 cgroup2 {at}/root/sys/fs/cgroup
    exec chroot {at}/root env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system'
"""


class Booted(Debian):
    """`Debian`, booted: `run` finds a systemd that is ready."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._first = 0
        self._group = f"holdfast-test-{os.getpid()}-{host.directory.parent.name[-8:]}"
        names = {"at": host.directory, "name": self._group, "masked": _MASKED}
        host.run("sh", "-c", _PREPARE.format(**names))
        started = host.spawn("sh", "-c", _START.format(**names), log="systemd.log")
        wait_until(lambda: bool(descendants(started.pid)), 10, "systemd is started")
        self._first = descendants(started.pid)[0]
        wait_until(self._ready, 30, "systemd is ready", step=0.1)

    def _ready(self) -> bool:
        asked = subprocess.run(
            self.inside("systemctl", "is-system-running"), capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() in ("running", "degraded")

    def inside(self, *command: str) -> tuple[str, ...]:
        """The words that run `command` beside systemd."""
        if not self._first:
            return super().inside(*command)
        clean = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "TERM=dumb")
        enter = ("nsenter", f"--target={self._first}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return *enter, "--root", "--wd", *clean, *command

    def journal(self) -> str:
        """What the services said, for a failing test."""
        return self.run("journalctl", "--no-pager", "-n", "100")

    def close(self) -> None:
        """End everything, and take the control groups away."""
        self.host.kill_everything()
        empty = f"find {self.host.directory}/cgroup/{self._group} -depth -type d -exec rmdir {{}} + 2>&1"
        gone = f"test ! -e {self.host.directory}/cgroup/{self._group}"
        try:
            wait_until(
                lambda: "gone" in self.host.run("sh", "-c", f"{empty}; {gone} && echo gone", check=False), 10, ""
            )
        except NotInTimeError:
            raise AssertionError("control groups are left") from None
