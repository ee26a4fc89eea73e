"""Checkers of keywords whose arguments follow no common shape."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.base.address import Address
from holdfast.base.ipvs import Forwarding, Method, TunnelFlags, TunnelType
from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.findings import Condition, Trouble
from holdfast.config.keywords import Keyword, uint
from holdfast.config.keywords_lvs import REGEX_OPTIONS, SCHEDULERS


class Endpoint(msgspec.Struct, frozen=True):
    """Where a service or server is: an address and a port (0: as the service), a mark, or a group's name."""

    address: Address | None = None
    port: int = 0
    fwmark: int | None = None
    group: str = ""


def _bad(what: str, cure: str, meanwhile: str = "the setting is left aside", **more: Any) -> Trouble:
    return Trouble(what, cure, meanwhile, **more)


def _named(keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    """A block's name; instances and groups want exactly one word."""
    strict = keyword.name in ("vrrp_instance", "carp_instance", "vrrp_sync_group", "track_group")
    if len(words) == 1:
        if not strict:
            return values.INVALID, (values.missing(words),)
        what = f"{words[0]} has no name"
        return values.INVALID, (
            _bad(what, "write one after it", "the block is left aside", phrase=f"{words[0]} must have a name"),
        )
    if len(words) > 2 and strict:
        what = f"{words[0]} has more than one name"
        cure = f'write one word, or quote it: {words[0]} "{" ".join(words[1:])}"'
        return values.INVALID, (
            _bad(what, cure, "the block is left aside", word=2, phrase=f"{words[0]} must have a name"),
        )
    if keyword.name == "bfd_instance" and len(words[1]) > 31:
        return values.INVALID, (_bad(f"{words[1]!r} is too long", "use 31 characters", "the block is left aside"),)
    return words[1], values.surplus(words, 2)


def _vrid(keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    return _small(keyword, words, text, f"VRID '{words[1] if len(words) > 1 else ''}' not valid")


def _priority(keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    return _small(keyword, words, text, "Priority not valid! must be between 1 & 255. Using default 100")


def _small(keyword: Keyword, words: values.Words, text: str, phrase: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    value, troubles = values.READERS["uint"](keyword.args[0], words, 1, text)
    troubles = tuple(
        msgspec.structs.replace(trouble, phrase=phrase, condition=Condition.GENERAL) for trouble in troubles
    )
    return value, troubles + values.surplus(words, 2)


def _state(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in ("MASTER", "BACKUP"):
        return words[1], values.surplus(words, 2)
    what = f"state {words[1]!r} is unknown"
    phrase = f"unknown state '{words[1]}', defaulting to BACKUP"
    return "BACKUP", (_bad(what, "use MASTER or BACKUP", "BACKUP is taken", word=1, phrase=phrase),)


def _version(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in ("2", "3"):
        return int(words[1]), values.surplus(words, 2)
    return values.INVALID, (
        _bad(f"there is no VRRP version {words[1]!r}", "use 2 or 3", "the default is kept", word=1),
    )


def _auth_type(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in ("PASS", "AH"):
        return words[1], values.surplus(words, 2)
    return values.INVALID, (
        _bad(
            f"authentication type {words[1]!r} is unknown",
            "use PASS or AH",
            "there is no authentication",
            word=1,
            phrase=f"unknown authentication type '{words[1]}'",
        ),
    )


def _auth_pass(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    octets = words[1].encode("utf-8", "surrogateescape")
    troubles: tuple[Trouble, ...] = ()
    if len(octets) > 8:
        troubles = (
            _bad(
                f"auth_pass has {len(octets)} characters",
                "VRRP has room for 8",
                "the first 8 are taken, as keepalived does",
                grade=Grade.WARNING,
                word=1,
                phrase="Truncating auth_pass to 8 characters",
            ),
        )
    return octets[:8].ljust(8, b"\0"), troubles + values.surplus(words, 2)


def _hmac_key(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    """An id and a key; nothing of what may be the key is ever repeated."""
    cure = "write key, an id from 1 to 255, and hex:…, file:… or 32 to 64 characters in quotes"
    whole = words[1].isascii() and words[1].isdecimal() if len(words) > 1 else False
    if len(words) < 2:
        return values.INVALID, (values.missing(words),)
    if not whole or len(words[1]) > 3 or not 1 <= int(words[1]) <= 255:
        return values.INVALID, (_bad("the id of a key is a number from 1 to 255", cure, "the key is left aside"),)
    if len(words) != 3:
        what = f"key {words[1]} has {'no value' if len(words) == 2 else 'more than one value'}"
        return values.INVALID, (_bad(what, cure, "the key is left aside"),)
    return (int(words[1]), words[2]), ()


def _soft_ip(_keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    value, troubles = values.READERS["ip"](_keyword.args[0], words, 1, text)
    return value, troubles + values.surplus(words, 2)


def _soft_word(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (_bad(f"{words[0]} needs a value", "write one after it"),)
    return words[1], values.surplus(words, 2)


def _smtp_server(_keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (_bad("smtp_server needs a host", "write its name or address after it"),)
    port, troubles = 25, ()
    if len(words) > 2:
        port, troubles = values.READERS["uint"](uint(1, 65535), words, 2, text)  # type: ignore[assignment]
    return (words[1], port), troubles + values.surplus(words, 3)


_PERMISSION = {
    f"I{right}{who}": bit << shift
    for who, shift in (("USR", 6), ("GRP", 3), ("OTH", 0))
    for right, bit in (("R", 4), ("W", 2), ("X", 1))
} | {"IRWXU": 0o700, "IRWXG": 0o070, "IRWXO": 0o007}


def read_umask(text: str) -> int:
    """The mask in `text`: a number in any base, or names joined by |; ValueError when it is neither."""
    try:
        mask = int(text, 8) if re.fullmatch("0[0-7]+", text) else int(text, 0)
    except ValueError:
        try:
            mask = 0
            for name in text.split("|"):
                mask |= _PERMISSION[name.strip().removeprefix("S_")]
        except KeyError:
            raise ValueError(text) from None
    if not 0 <= mask <= 0o777:
        raise ValueError(text)
    return mask


def _umask(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    text = "".join(words[1:])
    try:
        return read_umask(text), ()
    except ValueError:
        return values.INVALID, (
            _bad(f"umask {text!r} can't be read", "write it as 0177 or IXUSR|IRWXG|IRWXO", "the default is kept"),
        )


def _buffer_policy(_keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in ("MTU", "ADVERT"):
        return words[1], values.surplus(words, 2)
    number, troubles = values.READERS["uint"](uint(0, 2**31 - 1), words, 1, text)
    return (number if number is values.INVALID else str(number)), troubles + values.surplus(words, 2)


def _marker(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return "", ()
    if not words[1].startswith("/"):
        what = f"{words[0]} {words[1]!r} is not an absolute path"
        return values.INVALID, (_bad(what, "begin it with /", word=1),)
    return words[1], values.surplus(words, 2)


def _include_check(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    known = ("readable", "read", "match", "wildcard_match", "brace_match")
    unknown = tuple(
        _bad(f"include_check has no {word!r}", f"use {', '.join(known)}", word=position + 1)
        for position, word in enumerate(words[1:])
        if word.lstrip("+-") not in known and word not in "+-"
    )
    return words[1:], unknown


def _garp_extra(_keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    everything = len(words) > 1 and words[1] == "all"
    position = 2 if everything else 1
    if len(words) <= position:
        return values.INVALID, (values.missing(words),)
    number, troubles = values.READERS["uint"](uint(0, 86400), words, position, text)
    return (everything, number), troubles + values.surplus(words, position + 1)


def _use_vmac(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    return words[1:], ()


def _init_file(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    return words[1:], tuple(
        _bad(f"init_file has no {word!r}", "use a number and overwrite", word=position + 1)
        for position, word in enumerate(words[1:])
        if word != "overwrite" and not re.fullmatch("[-+]?[0-9]+", word)
    )


_SYNC = {"id": uint(0, 255), "maxlen": uint(1, 65507), "port": uint(1, 65535), "ttl": uint(1, 255)}
_TIMEOUT = uint(0, 2678400)


def _sync_daemon(_keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    troubles: list[Trouble] = []
    position = 2
    while position < len(words):
        word = words[position]
        if word in ("inst", "group", *_SYNC):
            if position + 1 >= len(words):
                troubles.append(_bad(f"{word} needs a value", "write one after it", word=position))
            elif word in _SYNC:
                troubles.extend(values.READERS["uint"](_SYNC[word], words, position + 1, text)[1])
            elif word == "group":
                troubles.extend(values.READERS["ip"](_keyword.args[0], words, position + 1, text)[1])
            position += 2
        elif position == 2 or (position == 3 and word.isdecimal()):  # the old form: IF INSTANCE ID
            position += 1
        else:
            troubles.append(
                _bad(f"lvs_sync_daemon has no option {word!r}", f"use inst, group, {', '.join(_SYNC)}", word=position)
            )
            position += 1
    return words[1:], tuple(troubles)


def _lvs_timeouts(_keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    troubles: list[Trouble] = []
    for position in range(1, len(words), 2):
        if words[position] not in ("tcp", "tcpfin", "udp"):
            what = f"lvs_timeouts has no {words[position]!r}"
            troubles.append(_bad(what, "use tcp, tcpfin or udp", word=position))
        elif position + 1 >= len(words):
            troubles.append(_bad(f"{words[position]} needs seconds", "write them after it", word=position))
        else:
            troubles.extend(values.READERS["uint"](_TIMEOUT, words, position + 1, text)[1])
    return words[1:], tuple(troubles)


def read_port(words: values.Words, position: int) -> tuple[int, tuple[Trouble, ...]]:
    """The port at `position`, 0 when there is none; -1 when it can't be read."""
    if len(words) <= position:
        return 0, ()
    word = words[position]
    if word.isdecimal() and word.isascii() and len(word) <= 5 and int(word) <= 65535:
        return int(word), values.surplus(words, position + 1)
    return -1, (
        _bad(f"{word!r} is not a port", "use 1 to 65535", "the block is left aside", word=position),
    )


def _endpoint(keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    try:
        where = values.parse_address(words[1])
    except ValueError:
        what = f"{words[1]!r} is not a numeric IPv4 or IPv6 address"
        phrase = f"Invalid {keyword.name.replace('_', ' ')} ip address/port {'/'.join(words[1:3])} - skipping"
        return values.INVALID, (_bad(what, "write one", "the block is left aside", word=1, phrase=phrase),)
    port, troubles = read_port(words, 2)
    return (values.INVALID if port < 0 else Endpoint(where, port)), troubles


def _virtual_server(keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in ("fwmark", "group"):
        if len(words) == 2:
            return values.INVALID, (values.missing(words),)
        if words[1] == "group":
            return Endpoint(group=words[2]), values.surplus(words, 3)
        mark, troubles = values.READERS["uint"](uint(0, 2**32 - 1), words, 2, text)
        return (mark if mark is values.INVALID else Endpoint(fwmark=mark)), troubles + values.surplus(words, 3)
    return _endpoint(keyword, words, text)


def _scheduler(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in SCHEDULERS:
        return words[1], values.surplus(words, 2)
    phrase = f"Invalid lvs_scheduler '{words[1]}' - ignoring"
    cure = f"use one of {' '.join(SCHEDULERS)}"
    return values.INVALID, (
        _bad(f"there is no scheduler {words[1]!r}", cure, "wlc is taken", word=1, phrase=phrase),
    )


_TUNNELS = {"ipip": TunnelType.IPIP, "gue": TunnelType.GUE, "gre": TunnelType.GRE}
_CHECKSUMS = {"nocsum": TunnelFlags.NOCSUM, "csum": TunnelFlags.CSUM, "remcsum": TunnelFlags.REMCSUM}


def _lvs_method(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if words[1] in ("NAT", "DR"):
        return Forwarding(method=Method[words[1]]), values.surplus(words, 2)
    if words[1] != "TUN":
        phrase = f"PARSER : unknown [{words[1]}] routing method for virtual server."
        return values.INVALID, (
            _bad(f"there is no forwarding {words[1]!r}", "use NAT, DR or TUN", "NAT is taken", word=1, phrase=phrase),
        )
    return _tunnel(words)


def _tunnel(words: values.Words) -> values.Reading:
    """`TUN [type ipip | type gue port N | type gre] [nocsum | csum | remcsum]`; what can't be is left out."""
    kind, flags, port = TunnelType.IPIP, TunnelFlags.NOCSUM, 0
    troubles: list[Trouble] = []
    position = 2
    while position < len(words):
        word = words[position]
        following = words[position + 1] if position + 1 < len(words) else ""
        if word == "type" and following in _TUNNELS:
            kind = _TUNNELS[following]
            position += 1
        elif word == "port" and following.isdecimal() and following.isascii() and 0 < int(following[:6]) < 65536:
            port = int(following)
            position += 1
        elif word in _CHECKSUMS:
            flags = _CHECKSUMS[word]
        else:
            cure = "use type ipip, gue or gre, port 1 to 65535, nocsum, csum or remcsum"
            troubles.append(_bad(f"TUN has no option {word!r}", cure, word=position))
        position += 1
    plain = Forwarding(method=Method.TUN)
    if (kind is TunnelType.GUE) != bool(port):
        phrase = "gue tunnels require port, otherwise cannot have port."
        cure = "write type gue port N" if port else "write port N after it"
        what = "a port is for gue only" if port else "a gue tunnel needs a port"
        return plain, (*troubles, _bad(what, cure, "type ipip is taken", word=1, phrase=phrase))
    if kind is TunnelType.GRE and flags is TunnelFlags.REMCSUM:
        phrase = "gre tunnels do not support remote checksum option."
        return plain, (*troubles, _bad("gre has no remcsum", "use csum or nocsum", "type ipip is taken", phrase=phrase))
    if kind is TunnelType.IPIP:
        return plain, tuple(troubles)
    return Forwarding(
        method=Method.TUN, tunnel_type=int(kind), tunnel_port=port, tunnel_flags=int(flags)
    ), tuple(troubles)


def _digest(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    if re.fullmatch("[0-9A-Fa-f]{32}", words[1]):
        return words[1], values.surplus(words, 2)
    return values.INVALID, (_bad("the digest is not 32 hexadecimal digits", "write the MD5 of the answer", word=1),)


def _status_code(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        return values.INVALID, (values.missing(words),)
    ranges: list[tuple[int, int]] = []
    for position, word in enumerate(words[1:], 1):
        match = re.fullmatch("([0-9]{3})(?:-([0-9]{3}))?", word)
        low = int(match[1]) if match else 0
        high = int(match[2] or match[1]) if match else 0
        if not 100 <= low <= high <= 599:
            what = f"{word!r} is not a status code"
            return values.INVALID, (_bad(what, "write 200 or 200-204, blanks between several", word=position),)
        ranges.append((low, high))
    return tuple(ranges), ()


def _regex_options(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    return words[1:], tuple(
        _bad(f"regex_options has no {word!r}", f"use {', '.join(REGEX_OPTIONS)}", word=position + 1)
        for position, word in enumerate(words[1:])
        if word not in REGEX_OPTIONS
    )


def _hex(keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    if len(words) == 1:
        if keyword.args[0].optional:
            return "", ()
        return values.INVALID, (values.missing(words),)
    digits = "".join(words[1:])
    alphabet = "[0-9A-Fa-fxX]*" if keyword.checked == "hexx" else "[0-9A-Fa-f]*"
    if re.fullmatch(alphabet, digits) and len(digits) % 2 == 0:
        return digits, ()
    return values.INVALID, (_bad(f"{digits!r} is not hexadecimal", "write two digits a byte", word=1),)


def _entry(_keyword: Keyword, words: values.Words, _text: str) -> values.Reading:
    return words, ()


CHECKED: dict[str, Callable[[Keyword, values.Words, str], values.Reading]] = {
    "named": _named,
    "vrid": _vrid,
    "priority": _priority,
    "state": _state,
    "version": _version,
    "auth_type": _auth_type,
    "auth_pass": _auth_pass,
    "hmac_key": _hmac_key,
    "soft_ip": _soft_ip,
    "softword": _soft_word,
    "smtp_server": _smtp_server,
    "umask": _umask,
    "buffer_policy": _buffer_policy,
    "marker": _marker,
    "include_check": _include_check,
    "garp_extra": _garp_extra,
    "use_vmac": _use_vmac,
    "init_file": _init_file,
    "sync_daemon": _sync_daemon,
    "lvs_timeouts": _lvs_timeouts,
    "endpoint": _endpoint,
    "virtual_server": _virtual_server,
    "scheduler": _scheduler,
    "lvs_method": _lvs_method,
    "digest": _digest,
    "status_code": _status_code,
    "regex_options": _regex_options,
    "hex": _hex,
    "hexx": _hex,
    "entry": _entry,
}
