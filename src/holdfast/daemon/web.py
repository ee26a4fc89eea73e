"""`--web`, `web_listen`: a process of its own serves the page, the metrics and the API, and dies alone."""

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.config.plan import Settings
from holdfast.daemon.roles import fork_role
from holdfast.edge.channel import Channel
from holdfast.engine.messages import LogLine
from holdfast.export.web_messages import USUAL_GARP_DELAY_S, WebChanged, WebPlan, WebSaid, WebStop
from holdfast.kernel import process
from holdfast.vrrp.config import AnnounceConfig
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

AGAIN: Nanoseconds = 10 * SECOND
"""After this long a process that ended is started again."""

TOGETHER: Nanoseconds = 50 * MILLISECOND
"""What happens within this long is told at once."""

NICE = 5
"""Whoever looks may wait; who elects may not."""


class Announcing(msgspec.Struct, frozen=True):
    """The part of an instance that only its metrics show."""

    name: str
    announce: AnnounceConfig = AnnounceConfig()


class WebPart(msgspec.Struct, frozen=True):
    """The part of a plan that the web worker needs."""

    settings: Settings = Settings()
    instances: tuple[Announcing, ...] = ()


class Web:
    """The web worker, as the supervisor sees it."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._here = supervisor
        self._plan: WebPlan | None = None
        self._running: WebPlan | None = None  # what the process was started with
        self._channel: Channel | None = None
        self._pid = 0
        self._pidfd = -1
        self._telling = False
        self._said = ""

    def load(self, octets: bytes) -> None:
        """Serve what the options and a plan ask for, from now on."""
        options, part = self._here.options, msgspec.msgpack.decode(octets, type=WebPart)
        settings = part.settings
        listen = options.web or settings.web_listen
        if not listen:
            self._plan = None
            self.stop()
            return
        self._plan = WebPlan(
            listen=listen,
            token_file=options.web_token_file or settings.web_token_file,
            run_dir=options.run_dir,
            has_instances=options.run_vrrp and bool(part.instances),
            garp_delays_s={
                one.name: delay_s
                for one in part.instances
                if (delay_s := one.announce.master_delay_ns / SECOND) != USUAL_GARP_DELAY_S
            },
        )
        if self._channel is None:
            self._start(0)
        elif self._running is not None and self._running.listen == listen:
            self._channel.send(self._plan)
        else:
            self.stop()  # the new one is started when the old one has ended

    def changed(self) -> None:
        """Something happened that an onlooker wants to see."""
        if self._channel is not None and not self._telling:
            self._telling = True
            self._here.after(TOGETHER, self._tell)

    def _tell(self, now: Nanoseconds) -> None:
        self._telling = False
        if self._channel is not None:
            self._channel.send(WebChanged())

    def stop(self) -> None:
        """Let the process end by itself."""
        if self._channel is not None:
            self._channel.send(WebStop())

    def _start(self, now: Nanoseconds) -> None:
        if self._plan is None or self._channel is not None or self._here.stopping_at is not None:
            return

        def live(end: socket.socket, parent: int) -> int:
            process.set_name("keepalived_web" if self._here.options.compatible else "holdfast_web")
            process.set_ordinary()
            process.set_nice(NICE)
            process.go_first()
            process.no_new_privileges()
            if not process.die_with_parent(parent, signal.SIGKILL):
                return 1
            try:
                from holdfast.export.web.serve import run
            except ImportError as missing:
                text = f"{missing.name} is not installed: install holdfast[web]"
                end.send(msgspec.msgpack.encode([WebSaid(text, False)]))
                return 1
            run(end, lambda: process.keep_only(()))
            return 0

        try:
            self._pid, end = fork_role("web", live)
        except OSError as refused:
            self._here.log.say(Level.ERROR, f"Web: no process can be started: {refused.strerror}; trying again in 10 s")
            self._here.after(AGAIN, self._start)
            return
        self._pidfd = os.pidfd_open(self._pid)
        self._channel = Channel(end, WebSaid | LogLine, self._here.loop, self._told, lambda: None)
        self._here.loop.watch(self._pidfd, self._ended)
        self._running = self._plan
        self._channel.send(self._plan)

    def _ended(self) -> None:
        assert self._channel is not None
        self._here.loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        os.waitpid(self._pid, 0)
        self._channel.drain()
        self._channel.close()
        self._channel = None
        elsewhere = self._plan is not None and self._running is not None and self._running.listen != self._plan.listen
        if elsewhere:
            self._start(0)
        elif self._plan is not None and self._here.stopping_at is None:
            self._here.after(AGAIN, self._start)

    def _told(self, message: Any, fd: int | None) -> None:
        if isinstance(message, LogLine):
            self._here.log.line(message, self._pid)
        elif isinstance(message, WebSaid):
            if message.text != self._said:
                self._here.log.say(Level.INFO if message.fine else Level.WARNING, f"Web: {message.text}")
            self._said = message.text
