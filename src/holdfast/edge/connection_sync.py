"""IPVS's connection synchronisation and timeouts: set as configured, put back at the end.

Tied to an instance, this director tells the others of its connections while the instance is master, and listens
otherwise; so established connections survive a take-over. Not tied, it does both all the time.
"""

import errno as errno_numbers
from typing import Protocol

from holdfast.base.ipvs import SyncDaemon, SyncRole, Timeouts
from holdfast.kernel.errors import KernelRefused
from holdfast.lvs.config import SyncDaemonConfig


class SyncPort(Protocol):
    """What is asked of the kernel; `kernel.ipvs.IpvsSocket` is it."""

    def timeouts(self) -> Timeouts:
        """How long idle connections are remembered."""
        ...

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Set them; zeros leave what is there."""
        ...

    def daemons(self) -> dict[SyncRole, SyncDaemon]:
        """The running ends."""
        ...

    def start_daemon(self, role: SyncRole, daemon: SyncDaemon) -> None:
        """Start one end."""
        ...

    def stop_daemon(self, role: SyncRole) -> None:
        """Stop one end."""
        ...


class ConnectionSync:
    """Brings both to what is configured. Methods give lines for the log about what failed."""

    def __init__(self, kernel: SyncPort) -> None:
        self._kernel = kernel
        self._before: Timeouts | None = None  # what was there when we came
        self._config: SyncDaemonConfig | None = None
        self._wanted: SyncDaemon | None = None

    def configure(
        self, timeouts: Timeouts | None, config: SyncDaemonConfig | None, *, vrid: int = 0, master: bool = False
    ) -> list[str]:
        """At start and at a reload. `vrid` is that of the daemon's instance, `master` whether it is that now."""
        told: list[str] = []
        try:
            if timeouts is not None:
                if self._before is None:
                    self._before = self._kernel.timeouts()
                self._kernel.set_timeouts(timeouts)
            elif self._before is not None:
                self._kernel.set_timeouts(self._before)
                self._before = None
        except KernelRefused as refused:
            told.append(str(refused))
        had = self._config is not None
        self._config = config
        self._wanted = None if config is None else wanted_daemon(config, vrid)
        return told + (self.role(master) if had or config is not None else [])

    def role(self, master: bool) -> list[str]:
        """The instance became master, or is it no longer. Ends that are as wanted are left alone."""
        wanted = frozenset[SyncRole]()
        if self._config is not None:
            tied = SyncRole.MASTER if master else SyncRole.BACKUP
            wanted = frozenset((tied,)) if self._config.instance else frozenset(SyncRole)
        told: list[str] = []
        try:
            there = self._kernel.daemons()
        except KernelRefused as refused:
            return [str(refused)]
        for role in SyncRole:
            agrees = role in there and self._wanted is not None and _agrees(self._wanted, there[role])
            if role in there and (role not in wanted or not agrees):
                told += self._try_stop(role)
            if role in wanted and not agrees and self._wanted is not None:
                try:
                    self._kernel.start_daemon(role, self._wanted)
                except KernelRefused as refused:
                    told.append(str(refused))
        return told

    def _try_stop(self, role: SyncRole) -> list[str]:
        try:
            self._kernel.stop_daemon(role)
        except KernelRefused as refused:
            if refused.errno != errno_numbers.ESRCH:
                return [str(refused)]
        return []

    def end(self) -> list[str]:
        """Both ends stop, the timeouts are what they were."""
        return self.configure(None, None)


def wanted_daemon(config: SyncDaemonConfig, vrid: int) -> SyncDaemon:
    """What the kernel is told; the number defaults to the instance's VRID."""
    return SyncDaemon(
        interface=config.interface,
        sync_id=vrid if config.sync_id is None else config.sync_id,
        max_bytes=config.max_bytes,
        port=config.port,
        ttl=config.ttl,
        group=config.group,
    )


def _agrees(wanted: SyncDaemon, there: SyncDaemon) -> bool:
    """Whether `there` is `wanted`; what was left to the kernel is as it chose."""
    return (wanted.interface, wanted.sync_id) == (there.interface, there.sync_id) and all(
        not asked or asked == has
        for asked, has in (
            (wanted.max_bytes, there.max_bytes),
            (wanted.port, there.port),
            (wanted.ttl, there.ttl),
            (wanted.group, there.group),
        )
    )
