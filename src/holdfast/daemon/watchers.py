"""What the supervisor watches: files, processes and polled links for the worker's trackers, and the hour of a reload.

Each is loaded only where it is asked for.
"""

from typing import TYPE_CHECKING

import msgspec

from holdfast.config.plan import Settings
from holdfast.edge.clock import monotonic_ns
from holdfast.engine.messages import LinkPolled, LogLine, ProcessesCounted, TrackerReported
from holdfast.track.config import FileConfig, LinkConfig, ProcessConfig
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.reload_time import ReloadTime
    from holdfast.daemon.supervise import Supervisor
    from holdfast.edge.link_polls import LinkPolls
    from holdfast.edge.track_files import FileWatch
    from holdfast.edge.track_processes import ProcessWatch


class WatchedPlan(msgspec.Struct, frozen=True):
    """The part of a plan that watchers need."""

    settings: Settings = Settings()
    files: tuple[FileConfig, ...] = ()
    processes: tuple[ProcessConfig, ...] = ()
    links: tuple[LinkConfig, ...] = ()


class Watchers:
    """Watches for one supervisor, and tells its worker."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._files: FileWatch | None = None
        self._processes: ProcessWatch | None = None
        self._links: LinkPolls | None = None
        self._reload_time: ReloadTime | None = None

    def load(self, octets: bytes, first: bool = False) -> None:
        """Watch what a plan asks for; `first`: the daemon starts."""
        plan = msgspec.msgpack.decode(octets, type=WatchedPlan)
        host = self._supervisor
        if plan.files and self._files is None:
            from holdfast.edge.track_files import FileWatch

            self._files = FileWatch(host.loop, self._tell, self._say)
        if plan.processes and self._processes is None:
            from holdfast.edge.track_processes import ProcessWatch

            self._processes = ProcessWatch(host.loop, self._tell, self._say, host.after)
        if any(link.polled for link in plan.links) and self._links is None:
            from holdfast.edge.link_polls import LinkPolls

            self._links = LinkPolls(self._tell, self._say, host.after)
        if plan.settings.reload_time_file and self._reload_time is None:
            from holdfast.daemon.reload_time import ReloadTime

            self._reload_time = ReloadTime(host)
        if self._reload_time is not None:
            self._reload_time.load(plan.settings)
        if self._files is not None:
            self._files.load(plan.files, first)
        if self._processes is not None:
            settings = plan.settings
            wanted = settings.process_monitor_buffer_bytes
            self._processes.load(plan.processes, wanted, settings.process_monitor_buffer_force or not wanted)
        if self._links is not None:
            self._links.load(plan.links)

    def tell_all(self) -> None:
        """The worker runs a (new) plan: tell it how everything stands."""
        for watch in (self._files, self._processes, self._links):
            if watch is not None:
                watch.tell_all()

    def _tell(self, event: TrackerReported | ProcessesCounted | LinkPolled) -> None:
        if self._supervisor.worker is not None:
            self._supervisor.worker.channel.send(event)

    def _say(self, level: Level, text: str) -> None:
        self._supervisor.listeners.take(LogLine(level, text), monotonic_ns())
