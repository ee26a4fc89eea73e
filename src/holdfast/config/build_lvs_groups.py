"""`virtual_server_group`: its lines to the addresses and marks that share a pool."""

import msgspec

from holdfast.base.address import Address, text
from holdfast.base.ipvs import INET, INET6
from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.context import Context, entries
from holdfast.config.findings import Condition, Trouble
from holdfast.config.tree import Node

MOST_ADDRESSES = 65536
"""The longest range: each address is a service of its own in the kernel."""


class Range(msgspec.Struct, frozen=True, gc=False):
    """`count` addresses from `first` on, each with `port` (0: any)."""

    first: Address
    count: int
    port: int

    def addresses(self) -> list[Address]:
        """All of them."""
        size, start = len(self.first), int.from_bytes(self.first)
        return [Address((start + number).to_bytes(size)) for number in range(self.count)]


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A packet mark; `family` None: that of the pool."""

    fwmark: int
    family: int | None


class Group(msgspec.Struct, frozen=True, gc=False):
    """The members of a group, in the order written."""

    name: str
    ranges: tuple[Range, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def families(self) -> frozenset[int]:
        """The families of its addresses."""
        return frozenset(INET if len(one.first) == 4 else INET6 for one in self.ranges)

    @property
    def any_port(self) -> bool:
        """Whether one of its addresses is for all ports."""
        return any(not one.port for one in self.ranges)


def read_group(context: Context, node: Node) -> Group | None:
    """The group of a block; None when nothing usable is in it (told)."""
    ranges: list[Range] = []
    marks: list[Mark] = []
    for entry in entries(node):
        read = _mark(entry) if entry.line.words[0] == "fwmark" else _range(entry)
        if isinstance(read, Trouble):
            context.tell(entry, read, domain="lvs")
        elif isinstance(read, Mark):
            marks.append(read)
        else:
            ranges.append(read)
    group = Group(node.value, tuple(ranges), tuple(marks))
    if not ranges and not marks:
        phrase = f"virtual server group {node.value} has no entries - removing"
        what = f"virtual_server_group {node.value} has no entries"
        context.tell(node, Trouble(what, "list some", "it is left aside", phrase=phrase), domain="lvs")
        return None
    if len(group.families) == 2 and any(one.family is None for one in marks):
        phrase = f"virtual server group {node.value} cannot have IPv4, IPv6 and fwmark without family - removing"
        what = f"virtual_server_group {node.value} has addresses of both families and a fwmark of neither"
        trouble = Trouble(what, "write inet or inet6 after the fwmark", "it is left aside", phrase=phrase)
        context.tell(node, trouble, domain="lvs")
        return None
    return group


def _mark(entry: Node) -> Mark | Trouble:
    words = entry.line.words
    if len(words) < 2 or not (words[1].isdecimal() and words[1].isascii() and 0 < int(words[1][:11]) < 2**32):
        shown = words[1] if len(words) > 1 else "nothing"
        condition = Condition.NONE if shown == "0" else Condition.GENERAL
        return Trouble(f"{shown!r} is not a fwmark", "use 1 to 4294967295", "the line is left aside", word=1,
                       condition=condition)  # fmt: skip
    family = {"inet": INET, "inet6": INET6}.get(words[2]) if len(words) > 2 else None
    if len(words) > 2 and family is None:
        return Trouble(f"{words[2]!r} is no family", "use inet or inet6", "the line is left aside", word=2)
    return Mark(int(words[1]), family)


def _range(entry: Node) -> Range | Trouble:
    words = entry.line.words
    port = words[1] if len(words) > 1 else "0"
    if not (port.isdecimal() and port.isascii() and len(port) <= 5 and int(port) <= 65535):
        return Trouble(f"{port!r} is not a port", "use 1 to 65535", "the line is left aside", word=1)
    try:
        if "-" in words[0]:
            first, count = _span(words[0])
        elif "/" in words[0]:
            first, count = _network(words[0])
        else:
            first, count = values.parse_address(words[0]), 1
    except _BadRange as bad:
        return Trouble(str(bad), bad.cure, "the line is left aside", phrase=bad.phrase)
    except ValueError:
        shown = f" /port/{words[1]}" if len(words) > 1 else " "
        return Trouble(
            f"{words[0]!r} is no address, range or fwmark",
            "write IP [PORT], IP-IP [PORT] or fwmark N",
            "the line is left aside",
            phrase=f"Invalid virtual server group IP address {words[0]}{shown} - skipping",
        )
    if count > MOST_ADDRESSES:
        return Trouble(
            f"{words[0]} are {count:,} addresses, each a service of its own",
            f"list at most {MOST_ADDRESSES:,}, or balance by fwmark",
            "the line is left aside",
            condition=Condition.NONE,
        )
    return Range(first, count, int(port))


class _BadRange(Exception):
    def __init__(self, what: str, cure: str, phrase: str = "") -> None:
        super().__init__(what)
        self.cure, self.phrase = cure, phrase


def _span(word: str) -> tuple[Address, int]:
    """`10.0.0.1-20`, `10.0.0.1-10.0.0.20`, `fd00::10-1f`, `fd00::10-fd00::1f`: both ends included."""
    written, _, rest = word.partition("-")
    first = values.parse_address(written)
    if "." in rest or ":" in rest:
        last = values.parse_address(rest)
        if len(last) != len(first):
            raise _BadRange(f"{word} begins and ends in different families", "write both ends of one family")
    else:
        wide = 1 if len(first) == 4 else 2
        try:
            number = int(rest, 10 if wide == 1 else 16)
        except ValueError:
            raise _BadRange(f"{rest!r} ends no range", f"write the last part of the address, {word[:12]}…") from None
        if not 0 <= number < 256**wide:
            phrase = f"Virtual server group range '{word}' end '{rest}' too large"
            raise _BadRange(f"{rest} is no last part of an address", "use at most 255 (IPv6: ffff)", phrase)
        last = Address(first[:-wide] + number.to_bytes(wide))
    count = int.from_bytes(last) - int.from_bytes(first) + 1
    if count < 1:
        phrase = f"Address range end is not greater than address range start - {word} - skipping"
        raise _BadRange(f"{word} ends before it begins", "write the lower address first", phrase)
    return first, count


def _network(word: str) -> tuple[Address, int]:
    """`10.0.0.0/28`: all addresses of the network, the first and the last too."""
    written, _, length = word.partition("/")
    first = values.parse_address(written)
    bits = len(first) * 8
    if not (length.isdecimal() and length.isascii() and int(length[:4]) <= bits):
        raise _BadRange(f"{length!r} is no prefix length", f"use 0 to {bits}")
    count = 1 << (bits - int(length))
    if int.from_bytes(first) % count:
        phrase = f"Address mask bits not empty - {word} - skipping"
        network = text(Address((int.from_bytes(first) // count * count).to_bytes(len(first))))
        raise _BadRange(f"{word} is a host in its network", f"write {network}/{length}", phrase)
    return first, count


def told_twice(context: Context, node: Node) -> None:
    """A second group of a name: references find the first."""
    what = f"virtual_server_group {node.value} stands here a second time"
    context.tell(
        node,
        Trouble(what, "give it another name", "the first is used", Grade.WARNING, 1, Condition.NONE),
        domain="lvs",
    )
