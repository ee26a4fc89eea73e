"""The interfaces of this host as the engine wants to know them, kept up to date by netlink."""

from holdfast.base.address import Mac
from holdfast.engine.messages import Interface
from holdfast.kernel.ports import AddressGone, AddressSeen, LinkGone, LinkSeen, Overrun, RouteMonitor, RouteNetlink


class Interfaces:
    """Links and addresses, by index and by name.

    `read` takes in what the monitor heard and gives the interfaces that changed and the addresses that went.
    """

    def __init__(self, netlink: RouteNetlink, monitor: RouteMonitor) -> None:
        self._netlink = netlink
        self._monitor = monitor
        self._links: dict[int, LinkSeen] = {}
        self._addresses: dict[int, dict[tuple[bytes, int], AddressSeen]] = {}
        self._index: dict[str, int] = {}
        self.changes: list[str] = []  # addresses added and removed, as text, for `-a`
        self.log_addresses = False
        self.renewed = False  # notifications were lost: what is ours must be compared with what is there

    def dump(self) -> list[Interface]:
        """Ask the kernel for everything afresh."""
        self._links = {link.index: link for link in self._netlink.dump_links()}
        self._index = {link.name: link.index for link in self._links.values()}
        self._addresses = {}
        for address in self._netlink.dump_addresses():
            self._addresses.setdefault(address.index, {})[address.address, address.prefix_length] = address
        return [self.interface(name) for name in self._index]

    def index_of(self, name: str) -> int:
        """The interface's index; 0 when there is none of that name."""
        return self._index.get(name, 0)

    def name_of(self, index: int) -> str:
        """The interface's name; its number when it is not known."""
        link = self._links.get(index)
        return link.name if link else f"#{index}"

    def link_of(self, name: str) -> LinkSeen | None:
        """The link of that name."""
        return self._links.get(self._index.get(name, 0))

    def links(self) -> list[LinkSeen]:
        """Every interface."""
        return list(self._links.values())

    def present(self) -> list[AddressSeen]:
        """Every address on every interface."""
        return [address for table in self._addresses.values() for address in table.values()]

    def interface(self, name: str) -> Interface:
        """The interface of that name as the engine sees it; one with index 0 when there is none."""
        link = self.link_of(name)
        if link is None:
            return Interface(name=name)
        usable = tuple(
            seen.address
            for seen in self._addresses.get(link.index, {}).values()
            if not seen.ours and not seen.tentative and not seen.dadfailed
        )
        return Interface(
            name=name,
            index=link.index,
            up=link.up and link.running,
            mac=Mac(link.mac),
            mtu=link.mtu,
            multicast=link.multicast,
            arp=not link.noarp,
            loopback=link.loopback,
            addresses=usable,
        )

    def read(self) -> tuple[list[Interface], list[AddressGone]]:
        """What changed since the last read: interfaces as they are now, and addresses that went."""
        touched: dict[str, None] = {}
        gone: list[AddressGone] = []
        for seen in self._monitor.read():
            if isinstance(seen, AddressSeen):
                self._note(seen.index, seen, "added to")
                self._addresses.setdefault(seen.index, {})[seen.address, seen.prefix_length] = seen
                if not seen.ours and seen.index in self._links:
                    touched[self._links[seen.index].name] = None
            elif isinstance(seen, AddressGone):
                self._note(seen.index, seen, "removed from")
                before = self._addresses.get(seen.index, {}).pop((seen.address, seen.prefix_length), None)
                gone.append(seen)
                if seen.index in self._links and (before is None or not before.ours):
                    touched[self._links[seen.index].name] = None
            elif isinstance(seen, LinkSeen):
                before_link = self._links.get(seen.index)
                if before_link is not None and before_link.name != seen.name:
                    self._index.pop(before_link.name, None)
                    touched[before_link.name] = None
                self._links[seen.index] = seen
                self._index[seen.name] = seen.index
                touched[seen.name] = None
            elif isinstance(seen, LinkGone):
                link = self._links.pop(seen.index, None)
                name = link.name if link else seen.name
                self._addresses.pop(seen.index, None)
                if self._index.get(name) == seen.index:
                    del self._index[name]
                touched[name] = None
            elif isinstance(seen, Overrun):
                return self._afresh()
        return [self.interface(name) for name in touched], gone

    def _afresh(self) -> tuple[list[Interface], list[AddressGone]]:
        """Notifications were lost: compare a new dump with what was known."""
        self.renewed = True
        names = set(self._index)
        before = {(a.index, a.address, a.prefix_length) for a in self.present()}
        self.dump()
        after = {(a.index, a.address, a.prefix_length) for a in self.present()}
        gone = [AddressGone(index=i, address=a, prefix_length=p) for i, a, p in before - after]
        return [self.interface(name) for name in names | set(self._index)], gone

    def _note(self, index: int, seen: AddressSeen | AddressGone, verb: str) -> None:
        if self.log_addresses:
            from holdfast.base.address import text

            self.changes.append(f"{text(seen.address)}/{seen.prefix_length} {verb} {self.name_of(index)}")
