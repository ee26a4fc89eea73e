"""Static addresses: there from the start to the end, whatever the state; put back when somebody removes them.

They carry no tag of ours, for an instance may send from one. One that can't be put there is tried again whenever its
interface changes; the instances of its `track_group` are in FAULT meanwhile.
"""

from collections.abc import Callable, Iterable

from holdfast.edge.addresses import STATICS, Addresses
from holdfast.edge.interfaces import Interfaces
from holdfast.engine.messages import Interface, LogLine, TrackerReported
from holdfast.vrrp.config import StaticAddress
from holdfast.vrrp.messages import Level


class Statics:
    """The static addresses of the running plan."""

    def __init__(
        self,
        addresses: Addresses,
        interfaces: Interfaces,
        report: Callable[[TrackerReported], None],
        say: Callable[[LogLine], None],
    ) -> None:
        self._addresses = addresses
        self._interfaces = interfaces
        self._report = report
        self._say = say
        self._wanted: tuple[StaticAddress, ...] = ()
        self._refused: dict[str, str] = {}

    def load(self, wanted: tuple[StaticAddress, ...]) -> None:
        """Keep these from now on; those of before that are not among them are removed."""
        if wanted or self._wanted:
            self._wanted = wanted
            self._refused = {}
            self._apply()

    def renew(self, changed: Iterable[Interface], lost: Iterable[str]) -> None:
        """Interfaces changed; the addresses in `lost` were removed by somebody."""
        if not self._wanted:
            return
        for address in lost:
            self._say(LogLine(Level.WARNING, f"Static address {address} was removed by somebody: put back", "static"))
        names = {interface.name for interface in changed}
        if any(lost) or any(static.address.interface in names for static in self._wanted):
            self._apply()

    def _apply(self) -> None:
        self._addresses.keep(self._wanted)
        _, refusals = self._addresses.apply([(STATICS, True)])
        refused = {}
        for static in self._wanted:
            interface = static.address.interface or ""
            if not self._interfaces.index_of(interface):
                refused[static.name] = f"interface {interface} does not exist"
        for refusal in refusals:
            name = next((one.name for one in self._wanted if f"add {one.name}" in refusal.text), "")
            refused[name] = refusal.text
        for name, why in refused.items():
            if self._refused.get(name) != why:
                self._say(LogLine(Level.ERROR, f"Static address {name}: {why}" if name else why))
        self._refused = refused
        for static in self._wanted:
            if static.tracked:
                why = refused.get(static.name, "")
                self._report(TrackerReported("static", static.name, not why, why))
