"""The table of keywords: what each is called, takes, means and defaults to.

One table drives parsing, value checking, "did you mean" and the reference page. The rows stand in `keywords_global`,
`keywords_vrrp`, `keywords_lvs` and `keywords_lines`; this module holds their vocabulary and joins them.
"""

from enum import StrEnum

import msgspec

from holdfast.base.time import MILLISECOND, SECOND


class Status(StrEnum):
    """Whether a keyword does what it says."""

    DONE = "carried out"
    PENDING = "known, not yet carried out"
    INERT = "accepted, without effect"


class Style(StrEnum):
    """How the lines of a block are read."""

    KEYWORDS = "keywords"  # each line begins with a keyword
    ENTRIES = "entries"  # each line is an entry
    WORDS = "words"  # each word is an entry


class Arg(msgspec.Struct, frozen=True, kw_only=True):
    """One argument: its kind, and for numbers the range in units of `scale` (a number of nanoseconds, or 1)."""

    kind: str
    low: int | None = None
    high: int | None = None
    scale: int = 1
    digits: int = 0
    unit: str = ""
    choices: tuple[str, ...] = ()
    optional: bool = False
    clamp: bool = False  # out of range: take the nearest bound
    zero: int | None = None  # what a written 0 is taken as
    fold: bool = False  # choices in any case


class Keyword(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a keyword of one block."""

    name: str
    args: tuple[Arg, ...] = ()
    default: str = ""
    meaning: str = ""
    status: Status = Status.DONE
    deprecated: str = ""  # what to write instead
    opens: str = ""  # the block it opens
    checked: str = ""  # a checker of its own, by name
    feature: str = ""  # the reference knows it only when built with this
    ours: bool = False  # not a word of keepalived


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """The keywords of one block, or the entries of a value block."""

    name: str
    style: Style = Style.KEYWORDS
    keywords: dict[str, Keyword] = {}
    title: str = ""


ENTRY = Keyword(name="(entry)", checked="entry", meaning="an entry of the block")


def uint(low: int = 0, high: int | None = None, **more: object) -> Arg:
    """A decimal integer without sign."""
    return Arg(kind="uint", low=low, high=high, **more)  # type: ignore[arg-type]


def sint(low: int | None = None, high: int | None = None, **more: object) -> Arg:
    """A decimal integer."""
    return Arg(kind="int", low=low, high=high, **more)  # type: ignore[arg-type]


def whole_seconds(low: int = 0, high: int | None = None, **more: object) -> Arg:
    """Whole seconds; the value is in nanoseconds."""
    top = None if high is None else high * SECOND
    return Arg(kind="uint", low=low * SECOND, high=top, scale=SECOND, unit="s", **more)  # type: ignore[arg-type]


def seconds(low: float = 0, high: float | None = None, digits: int = 6, **more: object) -> Arg:
    """Seconds with decimals; the value is in nanoseconds."""
    top = None if high is None else round(high * SECOND)
    return Arg(
        kind="decimal",
        low=round(low * SECOND),
        high=top,
        scale=SECOND,
        digits=digits,
        unit="s",
        **more,  # type: ignore[arg-type]
    )


def milliseconds(low: float, high: float) -> Arg:
    """Milliseconds with decimals; the value is in nanoseconds."""
    return Arg(
        kind="decimal",
        low=round(low * MILLISECOND),
        high=round(high * MILLISECOND),
        scale=MILLISECOND,
        digits=3,
        unit="ms",
    )


def choice(*words: str, optional: bool = False, fold: bool = False) -> Arg:
    """One of a few words."""
    return Arg(kind="choice", choices=words, optional=optional, fold=fold)


WORD = Arg(kind="word")
WORD_OPT = Arg(kind="word", optional=True)
WORDS = Arg(kind="words", optional=True)
BOOL = Arg(kind="bool")
BOOL_OPT = Arg(kind="bool", optional=True)
IP = Arg(kind="ip")
IF = Arg(kind="interface")
PORT_OPT = uint(0, 65535, optional=True)
PATH = Arg(kind="path")
PATH_OPT = Arg(kind="path", optional=True)
USER = Arg(kind="user")
USER_OPT = Arg(kind="user", optional=True)
SCRIPT = Arg(kind="script")
SCRIPT_OPT = Arg(kind="script", optional=True)
COMMAND = Arg(kind="command")
QUOTED = Arg(kind="escaped")


def k(name: str, default: str, meaning: str, *args: Arg, **more: object) -> Keyword:
    """A row of the table, carried out."""
    return Keyword(name=name, default=default, meaning=meaning, args=args, **more)  # type: ignore[arg-type]


def later(name: str, default: str, meaning: str, *args: Arg, **more: object) -> Keyword:
    """A row of the table, known and not yet carried out."""
    more.setdefault("status", Status.PENDING)
    return Keyword(name=name, default=default, meaning=meaning, args=args, **more)  # type: ignore[arg-type]


def block(name: str, title: str, *rows: Keyword) -> Block:
    """A block of keywords."""
    return Block(name=name, title=title, keywords={row.name: row for row in rows})


def entries(name: str, title: str, style: Style = Style.ENTRIES) -> Block:
    """A value block."""
    return Block(name=name, title=title, style=style)


def all_blocks() -> dict[str, Block]:
    """Every block by name; `root` is what stands outside any block."""
    if not _BLOCKS:
        from holdfast.config import keywords_global, keywords_lvs, keywords_vrrp
        from holdfast.config.keywords_carp import carp_block

        for module in (keywords_global, keywords_vrrp, keywords_lvs):
            for one in module.BLOCKS:
                _BLOCKS[one.name] = one
        carp = carp_block(_BLOCKS["vrrp_instance"])
        _BLOCKS[carp.name] = carp
    return _BLOCKS


_BLOCKS: dict[str, Block] = {}
