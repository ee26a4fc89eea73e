"""Asks interfaces for their links once a second (`linkbeat_interfaces`): for drivers that do not tell the kernel."""

from collections.abc import Callable, Iterable

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.engine.messages import LinkPolled
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.link_beat import LinkAsker
from holdfast.track.config import LinkConfig
from holdfast.vrrp.messages import Level

PERIOD: Nanoseconds = SECOND


class LinkPolls:
    """All polled interfaces. `tell` gets each answer that is another, and all of them by `tell_all`."""

    def __init__(
        self,
        tell: Callable[[LinkPolled], None],
        say: Callable[[Level, str], None],
        after: Callable[[Nanoseconds, Callable[[Nanoseconds], None]], None],
    ) -> None:
        self._tell = tell
        self._say = say
        self._after = after
        self._asker: LinkAsker | None = None
        self._ways: dict[str, str] = {}  # interface → how it is asked; "": not known yet
        self._wanted: dict[str, str] = {}
        self._told: dict[str, bool] = {}
        self._refused: set[str] = set()
        self._running = False

    def load(self, configs: Iterable[LinkConfig]) -> None:
        """Ask these interfaces from now on."""
        self._wanted = {config.name: config.polled for config in configs if config.polled}
        self._ways = {name: "" if way == "any" else way for name, way in self._wanted.items()}
        self._told = {name: up for name, up in self._told.items() if name in self._wanted}
        self._refused.clear()
        if self._wanted and self._asker is None:
            self._asker = LinkAsker()
        if self._wanted:
            self._ask()
            if not self._running:
                self._running = True
                self._after(PERIOD, self._again)

    def tell_all(self) -> None:
        """Tell every answer."""
        for name, up in self._told.items():
            self._tell(LinkPolled(name, up))

    def _again(self, _now: Nanoseconds) -> None:
        self._running = bool(self._wanted)
        if self._running:
            self._ask()
            self._after(PERIOD, self._again)

    def _ask(self) -> None:
        assert self._asker is not None
        for name in self._wanted:
            way = self._ways[name] or self._asker.way_for(name)
            if not way:
                self._trouble(name, f"{name} can't be asked for its link: the kernel's word is taken")
                continue
            self._ways[name] = way
            try:
                up = self._asker.ask(name, way)
            except KernelRefused as refused:
                if self._wanted[name] == "any":
                    self._ways[name] = ""
                self._trouble(name, f"{refused}; the kernel's word is taken")
                continue
            self._refused.discard(name)
            if self._told.get(name) != up:
                self._told[name] = up
                self._tell(LinkPolled(name, up))

    def _trouble(self, name: str, line: str) -> None:
        """An interface that can't be asked is as the kernel says; told once."""
        if name not in self._refused:
            self._refused.add(name)
            self._say(Level.WARNING, line)
        if not self._told.get(name, True):
            self._told[name] = True
            self._tell(LinkPolled(name, True))
