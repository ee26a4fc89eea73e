"""What happened in a simulated world, and who served which address when."""

from collections.abc import Iterable, Iterator

import msgspec

from holdfast.base.address import Address, parse
from holdfast.base.time import SECOND, Nanoseconds


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened.

    `kind`: *instance* and *group* (`state` is the new one), *tracker* (UP or DOWN), *log* (`state` is the level), or
    *event*: something that was done to the node (`state` says what: crash, start, stop, link …).
    """

    at_ns: Nanoseconds
    node: str
    instance: str  # of the instance, group, tracker, interface; "" where there is none
    kind: str
    state: str
    cause: str = ""

    def line(self, begun_ns: Nanoseconds = 0) -> str:
        """For people; times count from `begun_ns`."""
        what = " ".join(word for word in (self.instance, self.state) if word)
        cause = f": {self.cause}" if self.cause else ""
        mark = "*" if self.kind == "event" else " "
        return f"{(self.at_ns - begun_ns) / SECOND:14.6f} {mark} {self.node:6} {what}{cause}"


Span = tuple[Nanoseconds, Nanoseconds]


class Service:
    """Who served which address from when on: a host whose kernel has it, and which its clients can reach."""

    def __init__(self, begun_ns: Nanoseconds, addresses: Iterable[Address]) -> None:
        self._begun_ns = begun_ns
        self.changes: dict[Address, list[tuple[Nanoseconds, tuple[str, ...]]]] = {
            address: [(begun_ns, ())] for address in addresses
        }
        self._of_node: dict[str, frozenset[Address]] = {}

    def serves(self, node: str, addresses: frozenset[Address], now: Nanoseconds) -> None:
        """From now on the node serves exactly these."""
        before = self._of_node.get(node, frozenset())
        if before == addresses:
            return
        self._of_node[node] = addresses
        for address in before ^ addresses:
            log = self.changes.setdefault(address, [(self._begun_ns, ())])
            others = tuple(name for name in log[-1][1] if name != node)
            log.append((now, tuple(sorted((*others, node))) if address in addresses else others))

    def spans(self, address: Address, now: Nanoseconds) -> Iterator[tuple[Nanoseconds, Nanoseconds, tuple[str, ...]]]:
        """(from, to, nodes) without gaps from the beginning until now, spans of no length left out."""
        log = self.changes.get(address, [(self._begun_ns, ())])
        ends = [at for at, _ in log[1:]] + [now]
        for (begin, nodes), end in zip(log, ends, strict=True):
            if end > begin:
                yield begin, end, nodes

    def outages(self, address: Address, now: Nanoseconds) -> list[Span]:
        """When nobody served it; the last one may still go on."""
        return _joined((begin, end) for begin, end, nodes in self.spans(address, now) if not nodes)

    def overlaps(self, address: Address, now: Nanoseconds) -> list[Span]:
        """When more than one served it."""
        return _joined((begin, end) for begin, end, nodes in self.spans(address, now) if len(nodes) > 1)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Spans that follow one another without a gap made one."""
    joined: list[Span] = []
    for begin, end in spans:
        if joined and joined[-1][1] == begin:
            begin = joined.pop()[0]
        joined.append((begin, end))
    return joined


def timeline(entries: Iterable[Entry], begun_ns: Nanoseconds, kinds: frozenset[str] | None = None) -> Iterator[str]:
    """A line an entry."""
    for entry in entries:
        if kinds is None or entry.kind in kinds:
            yield entry.line(begun_ns)


def address_of(what: str | Address) -> Address | None:
    """The address that `what` is or names (a prefix length may follow); None when it is a name."""
    if isinstance(what, bytes):
        return what
    try:
        return parse(what.partition("/")[0])
    except ValueError:
        return None


