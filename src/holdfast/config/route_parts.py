"""What route lines and rule lines share: words, names of iproute2's files, prefixes, rtnetlink attributes."""

import re
import struct

from holdfast.base.address import Address, text
from holdfast.config import values
from holdfast.config.disk import Disk

KEEPALIVED = 18
"""RTPROT_KEEPALIVED of linux/rtnetlink.h."""

AF_INET, AF_INET6 = 2, 10
EVERYTHING = ("default", "any", "all", "default6")
_DIRECTORIES = ("/usr/lib/iproute2", "/usr/share/iproute2", "/etc/iproute2")
_BUILT_IN: dict[str, dict[str, int]] = {
    "rt_tables": {"unspec": 0, "default": 253, "main": 254, "local": 255},
    "rt_protos": {"unspec": 0, "redirect": 1, "kernel": 2, "boot": 3, "static": 4, "ra": 9, "keepalived": KEEPALIVED},
    "rt_scopes": {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255},
    "rt_realms": {"cosmos": 0, "unknown": 0},
    "rt_dsfield": {},
    "group": {"default": 0},
}


class Unfit(Exception):
    """The line can't be carried out: what is wrong, the cure, and the word meant.

    `accepted`: keepalived reads the line without a word, and the kernel refuses what it makes of it.
    """

    def __init__(self, what: str, cure: str, word: str = "", *, accepted: bool = False) -> None:
        super().__init__(what)
        self.what, self.cure, self.word, self.accepted = what, cure, word, accepted


class Names:
    """Numbers by name, as iproute2's files have them; the files are read when they are first needed."""

    def __init__(self, disk: Disk, vendor: str = "", host: str = "") -> None:
        """`vendor` and `host` are `iproute_usr_dir` and `iproute_etc_dir`, where they are given."""
        self._disk = disk
        usual, etc = _DIRECTORIES[:-1], _DIRECTORIES[-1]
        self._directories = (*((vendor,) if vendor else usual), host or etc)
        self._tables: dict[str, dict[str, int]] = {}

    def number(self, table: str, word: str, most: int, base: int = 0) -> int:
        """The number `word` is, or stands for in `table` (rt_tables, rt_protos …), at most `most`; Unfit."""
        try:
            found: int | None = int(word, base)
        except ValueError:
            try:
                found = int(word) if word.isascii() and word.isdecimal() else None  # 010: Python's base 0 has no octal
            except ValueError:
                found = None
        if found is None:
            found = self._table(table).get(word)
            if found is None:
                where = f"{self._directories[-1]}/{table}"
                raise Unfit(f"there is no {word!r} in {where}", "write its number, or add the name there", word)
        if not 0 <= found <= most:
            raise Unfit(f"{word} is out of range", f"use 0 to {most}", word, accepted=table == "rt_tables")
        return found

    def _table(self, name: str) -> dict[str, int]:
        if name not in self._tables:
            known = self._tables[name] = dict(_BUILT_IN[name])
            for directory in self._directories:
                for path in (f"{directory}/{name}", *self._disk.match("*.conf", f"{directory}/{name}.d")):
                    try:
                        known.update(_numbers(self._disk.read(path)))
                    except OSError:
                        continue
        return self._tables[name]


def _numbers(octets: bytes) -> dict[str, int]:
    found = {}
    for line in octets.decode("utf-8", "replace").splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2 and re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]+", words[0]):
            found[words[1]] = int(words[0], 16 if words[0][:2] in ("0x", "0X") else 10)
    return found


class Words:
    """The words of a line, taken one after the other."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.words)

    def peek(self) -> str:
        """The next word, "" after the last."""
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self, after: str = "") -> str:
        """The next word, which is the value of `after`; Unfit when there is none."""
        if self.at >= len(self.words):
            raise Unfit(f"{after or 'the line'} needs a value", "write one after it", after)
        self.at += 1
        return self.words[self.at - 1]

    def skip(self, *choices: str) -> str:
        """Take the next word if it is one of these; "" when it is not."""
        return self.take() if self.peek() in choices and self else ""

    def number(self, after: str, most: int, least: int = 0) -> int:
        """The next word as a number of any base from `least` to `most`."""
        word = self.take(after)
        try:
            found = int(word) if word.isdecimal() and word.isascii() else int(word, 0)
        except ValueError:
            raise Unfit(f"{word!r} after {after} is not a number", f"use {least} to {most}", word) from None
        if not least <= found <= most:
            raise Unfit(f"{after} can't be {word}", f"use {least} to {most}", word)
        return found

    def device(self, after: str) -> str:
        """The next word as the name of an interface."""
        name = self.take(after)
        if not 0 < len(name.encode(errors="replace")) <= 15 or "/" in name:
            raise Unfit(f"{name!r} is not the name of an interface", "use at most 15 characters", name)
        return name

    def address(self, after: str) -> Address:
        """The next word as an address, which `inet` or `inet6` may precede."""
        self.skip("inet", "inet6")
        word = self.take(after)
        try:
            return values.parse_address(word)
        except ValueError:
            raise Unfit(f"{word!r} after {after} is not an address", "write an IPv4 or IPv6 address", word) from None


class Prefix:
    """An address and a length; `address` is empty for "everything" in a family that is told elsewhere."""

    __slots__ = ("address", "length", "written")

    def __init__(self, address: bytes, length: int, written: bool) -> None:
        self.address = address
        self.length = length
        self.written = written  # with a length, or shorter than a whole address

    def text(self, family: int) -> str:
        """`10.1.0.0/24`, and `10.1.0.1` for a host."""
        whole = self.address or bytes(4 if family == AF_INET else 16)
        shown = text(Address(whole))
        return shown if self.length == len(whole) * 8 else f"{shown}/{self.length}"


def read_prefix(word: str) -> Prefix:
    """`10.1.0.0/24`, `10/8`, `2001:db8::/32`, an address, or a word for everything; Unfit."""
    if word in EVERYTHING:
        return Prefix(bytes(16) if word == "default6" else b"", 0, False)
    written, slash, length = word.partition("/")
    if slash and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", written):
        written += ".0" * (3 - written.count("."))
    try:
        address = values.parse_address(written)
    except ValueError:
        raise Unfit(f"{word!r} is not a prefix", "write ADDRESS/LENGTH, or default", word) from None
    bits = len(address) * 8
    if slash and not (length.isascii() and length.isdecimal() and len(length) < 4 and int(length) <= bits):
        raise Unfit(f"{length!r} is not a prefix length", f"use 0 to {bits}", word)
    return Prefix(address, int(length) if slash else bits, bool(slash))


def family_of(*addresses: bytes | None) -> int:
    """The family of the addresses that are there, 0 for none; Unfit when they differ."""
    sizes = {len(address) for address in addresses if address}
    if len(sizes) > 1:
        raise Unfit("IPv4 and IPv6 are mixed", "use addresses of one family")
    return {4: AF_INET, 16: AF_INET6}[sizes.pop()] if sizes else 0


def realms(names: Names, word: str) -> int:
    """`[SOURCE/]DESTINATION` as one number: the source in the upper half."""
    source, slash, destination = word.rpartition("/")
    upper = names.number("rt_realms", source, 65535) if slash else 0
    return upper << 16 | names.number("rt_realms", destination, 65535)


def attribute(kind: int, payload: bytes) -> bytes:
    """One rtnetlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) & 3)


def u32(kind: int, value: int) -> bytes:
    """An attribute that holds one native u32."""
    return attribute(kind, struct.pack("=I", value))


def request(kind: int, flags: int, payload: bytes) -> bytes:
    """A whole netlink request; its sequence number is set when it is sent."""
    return struct.pack("=IHHII", 16 + len(payload), kind, 1 | flags, 0, 0) + payload
