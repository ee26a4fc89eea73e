"""How keepalived's dumps write addresses, commands, times and switches."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from holdfast.base.address import text
from holdfast.base.command import Command
from holdfast.vrrp.config import VirtualAddress

SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
"""Address scopes of rtnetlink(7)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(NamedTuple):
    """A point of time as dumps show it: microseconds since 1970, and as people read it where the host is."""

    epoch_us: int
    local: str  # Sun Nov 22 23:20:13.508726 2026

    @property
    def epoch_s(self) -> str:
        """Seconds since 1970 with six decimals."""
        return f"{self.epoch_us // 1_000_000}.{self.epoch_us % 1_000_000:06}"


def moment(iso: str) -> Moment:
    """The point of time in `iso`, which is ISO 8601 with the zone; ValueError for anything else."""
    point = datetime.fromisoformat(iso)
    return Moment((point - _EPOCH) // timedelta(microseconds=1), f"{point:%a %b} {point.day:2} {point:%H:%M:%S.%f %Y}")


def moment_words(iso: str) -> str:
    """`1800000000.123456 (Fri Jan 15 08:00:00 2027.123456)`: the checker and BFD write the fraction behind the year."""
    when = moment(iso)
    day, fraction, year = when.local[:19], when.local[20:26], when.local[-4:]
    return f"{when.epoch_s} ({day} {year}.{fraction})"


def plain(number: float) -> int | float:
    """1 for 1.0, 0.5 for 0.5."""
    return int(number) if number == int(number) else number


def yes(value: bool, words: tuple[str, str] = ("true", "false")) -> str:
    """`true` or `false`, or other words for them."""
    return words[0] if value else words[1]


def address_words(address: VirtualAddress, interface: str, is_set: bool) -> str:
    """`192.0.2.10/24 dev eth0 scope global label eth0:1 set`."""
    words = [text(address.address)]
    whole = 32 if len(address.address) == 4 else 128
    if address.prefix_length != whole and address.peer is None:
        words[0] += f"/{address.prefix_length}"
    if address.broadcast is not None:
        words += ["brd", text(address.broadcast)]
    words += ["dev", address.interface or interface, "scope", SCOPES.get(address.scope, str(address.scope))]
    if address.label:
        words += ["label", address.label]
    words += [name for name in ("home", "nodad", "mngtmpaddr", "noprefixroute", "autojoin") if getattr(address, name)]
    if address.peer is not None:
        words += ["peer", f"{text(address.peer)}/{address.prefix_length}"]
    if whole == 128:
        words += _lifetime(address.preferred_lft_s)
    if address.no_track:
        words.append("no_track")
    if is_set:
        words.append("set")
    return " ".join(words)


def _lifetime(preferred_s: int | None) -> list[str]:
    if preferred_s == 0:
        return ["deprecated"]
    return ["preferred_lft", "forever" if preferred_s is None else str(preferred_s)]


def command_words(command: Command) -> str:
    """`'/usr/bin/true' 'a' 'b'`."""
    return " ".join(f"'{word}'" for word in command.argv)


def owner_words(command: Command) -> str:
    """`0:0`: whom it runs as; the daemon's own when nothing else was asked."""
    return f"{command.uid or 0}:{command.gid or 0}"
