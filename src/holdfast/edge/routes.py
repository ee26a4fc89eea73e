"""Puts the routes and rules of masters into the kernel and takes them out, and keeps the static ones.

Their messages were made when the configuration was read; here only interface indices are put in. Instances without
routes and rules cost nothing. One that somebody deletes is put back, as an address is; `no_track` leaves it be.
"""

import errno
import struct
from collections.abc import Callable, Iterable

from holdfast.edge.addresses import STATICS, TRANSIENT
from holdfast.edge.interfaces import Interfaces
from holdfast.engine.messages import AddressesRefused, Interface, LogLine, PutBackNotice, TrackerReported
from holdfast.kernel.errors import KernelRefused, cure_for
from holdfast.kernel.ports import RouteNetlink
from holdfast.kernel.refusals import ask_again
from holdfast.kernel.route_events import Entry, RouteEvents, entry_of
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.messages import Level
from holdfast.vrrp.routes import TABLE_OFFSET, RouteEntry

NLM_F_EXCL = 0x200

GONE_ALREADY = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL}
"""What a deletion may be answered with when there is nothing to delete, or its interface has gone."""

CURES = {
    errno.ENETUNREACH: "the gateway must be on a network of this host: correct it, or say onlink and dev",
    errno.EHOSTUNREACH: "the gateway must be a neighbour: correct it, or say onlink and dev",
    errno.EINVAL: "check that gateway, source address, scope and interface go together: ip route add … says more",
    errno.EOPNOTSUPP: "this kernel can't do that: load the module (mpls_iptunnel, ila), or leave the option out",
    errno.EEXIST: "another one like it is there: remove it, or write prepend or append instead of add",
    errno.ENOENT: "what it names is not there: check congctl and the tables",
}


Place = tuple[bool, int, bytes]


ASKED = 8
"""How many refusals at once the kernel is asked to explain: each takes a tenth of a millisecond."""


class Ready:
    """One entry with its interfaces put in."""

    __slots__ = ("add", "delete", "entry", "seen")

    def __init__(self, entry: RouteEntry, add: bytes, delete: bytes) -> None:
        self.entry = entry
        self.add = add
        self.delete = delete
        self.seen: Entry | None = None  # made when it is first needed

    @property
    def exclusive(self) -> bool:
        """Whether the kernel refuses it beside another route to the same place; a rule is judged by all it says."""
        return bool(struct.unpack_from("=H", self.add, 6)[0] & NLM_F_EXCL) and self.entry.name.startswith("route")

    def known_as(self) -> Entry:
        """As the kernel would tell of it."""
        if self.seen is None:
            self.seen = entry_of(self.add)
        return self.seen

    def is_meant_by(self, gone: Entry) -> bool:
        """Whether a notification speaks of it."""
        return self.known_as().is_told_of_by(gone)


class Routes:
    """The routes and rules of all slots (and the static ones, slot STATICS): what each wants, and what is there."""

    def __init__(
        self,
        netlink: RouteNetlink,
        interfaces: Interfaces,
        watch: Callable[[int, Callable[[], None]], None],
        say: Callable[[LogLine | PutBackNotice], None],
        report: Callable[[TrackerReported | AddressesRefused], None],
    ) -> None:
        self._netlink = netlink
        self._interfaces = interfaces
        self._watch = watch
        self._say = say
        self._report = report
        self.ask = ask_again  # the kernel's own words about a refusal
        self._events: RouteEvents | None = None
        self._wanted: dict[int, tuple[RouteEntry, ...]] = {}  # only slots that have any
        self._ready: dict[int, dict[bytes, Ready]] = {}
        self._held: dict[int, dict[bytes, Ready]] = {}
        self._names: dict[int, str] = {}
        self._present: set[int] = set()
        self._refused: dict[tuple[int, str], str] = {}
        self._links: dict[str, tuple[int, bool]] = {}

    # ---- what is wanted ---------------------------------------------------------------------------------------------

    def configure(self, slot: int, config: InstanceConfig) -> None:
        """Make the messages of a slot ready; what it holds already stays until `put_on` is asked."""
        entries = (*config.routes, *config.rules)
        self._names[slot] = config.name
        if entries:
            self._want(slot, entries)
        elif slot in self._wanted:
            del self._wanted[slot]
            self._ready[slot] = {}

    def keep(self, statics: tuple[RouteEntry, ...]) -> None:
        """Keep these whatever the state from now on; those of before that are not among them are removed."""
        if not statics and STATICS not in self._held:
            return
        self._want(STATICS, statics)
        self.put_on([(STATICS, True)])

    def _want(self, slot: int, entries: tuple[RouteEntry, ...]) -> None:
        self._wanted[slot] = entries
        names = {entry.name for entry in entries}
        self._refused = {key: said for key, said in self._refused.items() if key[0] != slot or key[1] in names}
        self._make_ready(slot)
        if slot == STATICS or any(entry.tracked for entry in entries):
            self._listen()

    def _listen(self) -> None:
        if self._events is not None:
            return
        try:
            self._events = RouteEvents(getattr(self._netlink, "port", 0))
            self._watch(self._events.fileno(), self.heard)
        except (KernelRefused, OSError) as refused:
            self._say(LogLine(Level.WARNING, f"Deleted routes will not be noticed: {refused}"))

    def _make_ready(self, slot: int) -> None:
        ready = {}
        for entry in self._wanted.get(slot, ()):
            add, delete = bytearray(entry.add), bytearray(entry.delete)
            for offset, name in entry.devices:
                index = self._interfaces.index_of(name)
                self._links.setdefault(name, (index, self._interfaces.interface(name).up))
                if not index:
                    break
                struct.pack_into("=I", add, offset, index)
                struct.pack_into("=I", delete, offset, index)
            else:
                if entry.vrf:
                    table = self._table_of(entry.vrf)
                    if not table:
                        continue
                    struct.pack_into("=I", add, TABLE_OFFSET, table)
                    struct.pack_into("=I", delete, TABLE_OFFSET, table)
                ready[bytes(add)] = Ready(entry, bytes(add), bytes(delete))
        self._ready[slot] = ready

    def _table_of(self, vrf: str) -> int:
        link = self._interfaces.link_of(vrf)
        return link.table if link is not None else 0

    # ---- on and off -------------------------------------------------------------------------------------------------

    def take_off(self, wanted: Iterable[tuple[int, bool]]) -> None:
        """Remove what the slots hold that are to have nothing: rules first, then routes; one batch."""
        if not self._held:
            return
        gone: list[tuple[int, Ready]] = []
        for slot, present in wanted:
            if not present:
                self._present.discard(slot)
                gone += [(slot, one) for one in reversed(self._held.pop(slot, {}).values())]
        self._delete(gone)

    def put_on(self, wanted: Iterable[tuple[int, bool]], again: bool = False) -> None:
        """Bring the slots that are present to what they want; `again` asks for everything afresh."""
        if not self._wanted and not self._held:
            return
        slots = [slot for slot, present in wanted if present and (slot in self._wanted or slot in self._held)]
        gone: list[tuple[int, Ready]] = []
        new: list[tuple[int, Ready]] = []
        for slot in slots:
            self._present.add(slot)
            held, ready = self._held.setdefault(slot, {}), self._ready.get(slot, {})
            gone += [(slot, held.pop(key)) for key in reversed([key for key in held if key not in ready])]
            new += [(slot, one) for key, one in ready.items() if again or key not in held]
        self._delete(gone)
        self._add(new)
        for slot in slots:
            self._tell_missing(slot)

    def _delete(self, gone: list[tuple[int, Ready]]) -> None:
        outcomes = self._request([one.delete for _slot, one in gone])
        for (slot, one), outcome in zip(gone, outcomes, strict=True):
            if outcome and outcome not in GONE_ALREADY:
                self._say(LogLine(Level.ERROR, self._who(slot) + _sentence("remove", one.entry, outcome)))

    def _add(self, new: list[tuple[int, Ready]]) -> None:
        outcomes = self._request([one.add for _slot, one in new])
        asked = 0
        for (slot, one), outcome in zip(new, outcomes, strict=True):
            # exactly this one is there already, unless another like it is refused too (`add`)
            there = outcome == errno.EEXIST and (not one.exclusive or one.add in self._held[slot])
            key = (slot, one.entry.name)
            if outcome == 0 or there:
                self._held[slot][one.add] = one
                self._refused.pop(key, None)
                continue
            said = ""
            if asked < ASKED:
                asked += 1
                outcome, said = self.ask(one.add)
                if outcome == 0:  # what was in the way is gone
                    self._held[slot][one.add] = one
                    continue
            self._held[slot].pop(one.add, None)
            self._note_refusal(key, _sentence("add", one.entry, outcome, said))
        if any(slot == STATICS for slot, _one in new):
            self._report_statics()

    def _note_refusal(self, key: tuple[int, str], said: str) -> None:
        before, self._refused[key] = self._refused.get(key), said
        if before == said:
            return
        if key[0] == STATICS:
            self._say(LogLine(Level.ERROR, f"Static: {said}"))
        else:
            self._report(AddressesRefused(key[0], said, False))

    def _tell_missing(self, slot: int) -> None:
        for entry in self._wanted.get(slot, ()):
            missing = [name for name in entry.interfaces if not self._interfaces.index_of(name)]
            if missing:
                said = f"cannot add {entry.name}: interface {missing[0]} does not exist; create it"
                self._note_refusal((slot, entry.name), said)
            elif entry.vrf and not self._table_of(entry.vrf):
                said = f"cannot add {entry.name}: interface {entry.vrf} is no VRF; correct the name, or write table N"
                self._note_refusal((slot, entry.name), said)
        if slot == STATICS:
            self._report_statics()

    def _report_statics(self) -> None:
        for entry in self._wanted.get(STATICS, ()):
            if entry.tracked:
                why = self._refused.get((STATICS, entry.name), "")
                self._report(TrackerReported("static", entry.name, not why, why))

    def _request(self, messages: list[bytes]) -> list[int]:
        if not messages:
            return []
        try:
            return self._netlink.request_batch(messages)
        except KernelRefused as refused:
            return [refused.errno or errno.EIO] * len(messages)

    def _who(self, slot: int) -> str:
        return "Static: " if slot == STATICS else f"({self._names.get(slot, '')}) "

    # ---- what happens meanwhile -------------------------------------------------------------------------------------

    def heard(self) -> None:
        """Something was deleted: what is ours is put back, unless its interface went or it is not tracked."""
        if self._events is None:
            return
        try:
            gone, missed = self._events.read()
        except KernelRefused as refused:
            self._say(LogLine(Level.ERROR, str(refused), "netlink"))
            return
        back: list[tuple[int, Ready]] = []
        known = self._by_place() if gone else {}
        for one in gone:
            found = next((it for it in known.get(one.entry.place, ()) if it[1].is_meant_by(one.entry)), None)
            if found is None:
                continue
            known[one.entry.place].remove(found)
            slot, ready = found
            del self._held[slot][ready.add]
            if not one.by_kernel and (ready.entry.tracked or slot == STATICS):
                back.append(found)
                line = f"{self._who(slot)}{ready.entry.name} was removed by somebody: put back"
                self._say(LogLine(Level.WARNING, line, "static" if slot == STATICS else ""))
                self._tell_of(slot, ready.entry.name, one.port)
        if missed:
            self.put_on([(slot, True) for slot in sorted(self._present)], again=True)
        else:
            self._add(back)

    def _tell_of(self, slot: int, name: str, port: int) -> None:
        """For the journal: what, and who, as far as the kernel tells."""
        of = name.partition(" ")[0]
        cause = f"removed by {asker(port)}"
        self._say(PutBackNotice(name=self._names.get(slot, ""), of=of, what=name, cause=cause))

    def _by_place(self) -> dict[Place, list[tuple[int, Ready]]]:
        """What is held, by what a notification shows first: a thousand may go at once, with their interface."""
        known: dict[Place, list[tuple[int, Ready]]] = {}
        for slot, held in self._held.items():
            for ready in held.values():
                known.setdefault(ready.known_as().place, []).append((slot, ready))
        return known

    def renew(self, changed: Iterable[Interface]) -> None:
        """Interfaces changed: entries that lead to one with another index are made anew, those lost put in again."""
        if not self._wanted:
            return
        names = {one.name for one in changed if self._links.get(one.name) != (one.index, one.up)}
        up = False
        for one in changed:
            self._links[one.name] = (one.index, one.up)
            up = up or (one.up and one.name in names)
        if not names:
            return
        touched = [slot for slot, entries in self._wanted.items() if any(_concerns(entry, names) for entry in entries)]
        for slot in touched:
            self._make_ready(slot)
            held, ready = self._held.get(slot), self._ready[slot]
            if held is not None:
                self._held[slot] = {key: one for key, one in held.items() if key in ready}
        present = [(slot, True) for slot in touched if slot in self._present]
        if up:
            self.put_on(present, again=True)
        elif STATICS in touched:
            self._tell_missing(STATICS)

    def sweep(self, spared: set[int]) -> list[str]:
        """Remove what a dead run left of slots that hold nothing; `spared` are address owners. Names what it was."""
        left = [
            one
            for slot, ready in self._ready.items()
            if slot not in self._present and slot not in spared
            for one in reversed(ready.values())
        ]
        outcomes = self._request([one.delete for one in left])
        return [one.entry.name for one, outcome in zip(left, outcomes, strict=True) if outcome == 0]

    def drop(self, slot: int) -> None:
        """Forget a slot (what it held was taken off before)."""
        for table in (self._wanted, self._ready, self._held, self._names):
            table.pop(slot, None)
        self._present.discard(slot)

    def leave(self) -> None:
        """Take everything off, the static ones last."""
        self.take_off([(slot, False) for slot in sorted(self._held, reverse=True)])

    def close(self) -> None:
        """Give the descriptor back."""
        if self._events is not None:
            self._events.close()


def _sentence(verb: str, entry: RouteEntry, outcome: int, said: str = "") -> str:
    """`said`: the kernel's own words."""
    cure = "" if outcome in TRANSIENT else CURES.get(outcome, "")
    if said:
        cure = f"the kernel says {said!r}: {cure or cure_for(outcome)}"
    return str(KernelRefused(f"{verb} {entry.name}", "", outcome, cure))


def _concerns(entry: RouteEntry, names: set[str]) -> bool:
    """Whether a change of these interfaces may have taken the entry: a route without one was resolved by the kernel."""
    return not names.isdisjoint(entry.interfaces) if entry.interfaces else entry.name.startswith("route")


def asker(port: int) -> str:
    """Who has a netlink port: it is usually its process's number, if that still lives (`ip` is gone by then)."""
    try:
        with open(f"/proc/{port}/comm", "rb") as file:
            return f"{file.read(64).decode(errors='replace').strip()} (pid {port})"
    except OSError:
        return f"somebody (netlink port {port})"
