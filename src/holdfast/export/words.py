"""How keepalived's dumps write addresses, commands, times and switches."""

from typing import NamedTuple

from holdfast.base.address import Address, text
from holdfast.base.command import Command
from holdfast.vrrp.config import VirtualAddress

SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
"""Address scopes of rtnetlink(7)."""

_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # 1 January 1970 was a Thursday
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Moment(NamedTuple):
    """A point of time as dumps show it: microseconds since 1970, and as people read it where the host is."""

    epoch_us: int
    local: str  # Sun Nov 22 23:20:13.508726 2026

    @property
    def epoch_s(self) -> str:
        """Seconds since 1970 with six decimals."""
        return f"{self.epoch_us // 1_000_000}.{self.epoch_us % 1_000_000:06}"


def days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1 January 1970 in the proleptic Gregorian calendar."""
    year -= month <= 2
    era_year = year % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year // 400 * 146_097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719_468


def moment(iso: str) -> Moment:
    """The point of time in `iso`, YYYY-MM-DDThh:mm:ss[.fraction][±hh:mm or Z]; ValueError for anything else.

    By hand, because the supervisor, which writes dumps once a day, would else carry datetime for ever.
    """
    date, _, clock = iso.partition("T")
    zone_s = 0
    if clock.endswith("Z"):
        clock = clock[:-1]
    elif clock[-6:-5] in ("+", "-"):
        hours, minutes = clock[-5:].split(":")
        zone_s = (int(hours) * 60 + int(minutes)) * (60 if clock[-6] == "+" else -60)
        clock = clock[:-6]
    whole, _, fraction = clock.partition(".")
    year, month, day = map(int, date.split("-"))
    hour, minute, second = map(int, whole.split(":"))
    micros = int(f"{fraction:0<6}"[:6]) if fraction else 0
    days = days_since_1970(year, month, day)
    epoch_s = days * 86_400 + hour * 3600 + minute * 60 + second - zone_s
    local = f"{_DAYS[days % 7]} {_MONTHS[month - 1]} {day:2} {whole}.{micros:06} {year}"
    return Moment(epoch_s * 1_000_000 + micros, local)


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


def address_or(address: Address | None, other: str) -> str:
    """The address, or what stands for none."""
    return other if address is None else text(address)
