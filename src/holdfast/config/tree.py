"""Lines to a tree of blocks, driven by the table of keywords; braces count as they do for the reference.

What it does with damaged structure: an unexpected `{` is left aside, but its `}` closes the block around it; a
missing `{` is imagined; a `}` too many is left aside; blocks still open at the end are closed.

The reference reads a file several times: for `global_defs`, for VRRP and for LVS, each time skipping the blocks of
the others. That only differs from one reading of everything when braces are out of order, so `read_tree` reads once,
and again in three views if need be.

Equal lines of equal blocks are worked out once: each block kind has a memo from the line as written to its `Line`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.base.problem import Grade
from holdfast.config import lexer, values
from holdfast.config.findings import Condition, Findings, Trouble
from holdfast.config.keywords import ENTRY, Block, Keyword, Status, Style, all_blocks
from holdfast.config.preprocess import Preprocessed
from holdfast.config.reading import read_value
from holdfast.config.suggest import Suggestions

_STATEMENT, _OPENER, _OPENER_BRACE, _OPEN, _CLOSE, _UNKNOWN, _NOTHING = range(7)

LVS_ROOTS = frozenset({"virtual_server", "virtual_server_group", "SSL"})
_GLOBAL = frozenset({"global_defs"})
VRRP_ROOTS = frozenset(
    {
        "vrrp_instance",
        "carp_instance",
        "vrrp_sync_group",
        "vrrp_script",
        "vrrp_track_process",
        "static_ipaddress",
        "static_routes",
        "static_rules",
        "track_group",
        "garp_group",
        "linkbeat_interfaces",
        "interface_up_down_delays",
    }
)


class Line(msgspec.Struct, frozen=True, gc=False):
    """What a line says, shared by all equal lines of equal blocks."""

    kind: int
    keyword: Keyword
    words: tuple[str, ...]
    value: Any
    troubles: tuple[Trouble, ...]
    text: str


class Node(msgspec.Struct, gc=False):
    """A line with its place, and for a block what stands in it. A block that was refused has children None."""

    line: Line
    place: int
    children: "list[Node] | None" = None

    @property
    def name(self) -> str:
        """The keyword."""
        return self.line.keyword.name

    @property
    def value(self) -> Any:
        """The checked value; `values.INVALID` when it can't be used."""
        return self.line.value


_NO_KEYWORD = Keyword(name="")


def _mark(kind: int, text: str = "") -> Line:
    return Line(kind, _NO_KEYWORD, (text,), None, (), text)


_BRACE_OPEN, _BRACE_CLOSE, _BLANK = _mark(_OPEN, "{"), _mark(_CLOSE, "}"), _mark(_NOTHING)
_BRACE_ENTRY = Line(_STATEMENT, ENTRY, ("{",), ("{",), (), "{")
_NO_MEMO: dict[str, Line] = {}  # never filled: sends every line the slow way


class _Reader:
    """One reading of the lines."""

    def __init__(self, findings: Findings, skipped: frozenset[str], domain: str) -> None:
        self.findings = findings
        self.skipped = skipped
        self.domain = domain
        self.damaged = False
        self.suggestions = Suggestions()
        self.blocks = all_blocks()
        self.memos: dict[str, dict[str, Line]] = {name: {} for name in self.blocks}
        self.block: Block = self.blocks["root"]
        self.nodes: list[Node] = []  # of the root level
        self.children = self.nodes
        self.memo = self.memos["root"]
        self.stack: list[tuple[Block, list[Node]]] = []
        self.depth = 0  # braces, as the reference counts them
        self.pending: Node | None = None  # a block that waits for its brace
        self.skipping = 0  # braces open within a block that is skipped
        self.skip_next = False  # the block that waits is to be skipped
        self.top = ""  # the keyword of the outermost block
        self.told_pending: set[tuple[str, str]] = set()

    def read(self, lines: Preprocessed) -> None:
        """Reads all lines."""
        # Everything that happens often happens here, with local names.
        for text, place in zip(lines.texts, lines.places, strict=True):
            line = self.memo.get(text)
            if line is None:
                self._slow(text, place)
                continue
            kind = line.kind
            if kind == _STATEMENT:
                self.children.append(Node(line, place))
                if line.troubles:
                    self._tell(line, place)
            elif kind == _CLOSE:
                self._close(place)
            elif kind == _OPENER_BRACE:
                self._opener(line, place)
                self._piece("{", place)
            elif kind != _NOTHING:
                self._act(line, place)
        self._finish(lines.places[-1] if lines.places else 1)

    def _slow(self, text: str, place: int) -> None:
        if lexer.SPECIAL.search(text) is None:
            stripped, quoted = text.strip(" \t"), False
        else:
            stripped, quoted = lexer.strip_comment(text)
        pieces = lexer.split_braces(stripped)
        if not pieces:
            if self.memo is not _NO_MEMO:
                self.memo[text] = _BLANK
            return
        if self.memo is _NO_MEMO or quoted:
            for piece in pieces:
                self._piece(piece, place)
            return
        memo = self.memo
        line = self._line(pieces[0], place)
        if len(pieces) == 1:
            memo[text] = line
        elif len(pieces) == 2 and pieces[1] == "{" and line.kind == _OPENER:
            memo[text] = msgspec.structs.replace(line, kind=_OPENER_BRACE)
        self._act(line, place)
        for piece in pieces[1:]:
            self._piece(piece, place)

    def _piece(self, text: str, place: int) -> None:
        """One logical line: text without braces, or a brace."""
        if self.skipping:
            self._skip(text, place)
            return
        if self.pending is not None:
            if self._pending_brace(text, place):
                return
        elif self.skip_next:
            self.skip_next = False
            self.skipping = 1
            if text == "{":
                self.depth += 1
            else:  # whoever reads this block tells that its brace is missing
                self.damaged = True
                self._skip(text, place)
            return
        self._act(self._line(text, place), place)

    def _skip(self, text: str, place: int) -> None:
        """A line of a block that is skipped: only its braces count."""
        if text == "{":
            self.skipping += 1
            self.depth += 1
        elif text == "}":
            self.skipping -= 1
            self.depth -= 1
            if self.depth < 0:
                self.depth = 0
                self.damaged = True
                self._add(place, _EXTRA)
            if not self.skipping:
                self.memo = self.memos[self.block.name]

    def _pending_brace(self, text: str, place: int) -> bool:
        """Opens the block that waits; True when `text` was its brace."""
        node = self.pending
        assert node is not None
        self.pending = None
        self.stack.append((self.block, self.children))
        self.block = self.blocks[node.line.keyword.opens]
        node.children = self.children = []
        self.memo = self.memos[self.block.name]
        if text == "{":
            self.depth += 1
            return True
        self.damaged = True
        self._add(
            place,
            Trouble(
                f"'{{' is missing after {node.name}",
                "write it at the end of that line",
                "it is read as if it stood there",
                condition=Condition.BRACE,
                phrase="Missing '{' at beginning of configuration block",
            ),
        )
        return False

    def _line(self, text: str, place: int) -> Line:
        """What `text` says in the present block."""
        known = self.memo.get(text)
        if known is not None and known.kind != _OPENER_BRACE:
            return known
        block = self.block
        if text in "{}":
            return _BRACE_CLOSE if text == "}" else _BRACE_OPEN
        if block.style is not Style.KEYWORDS:
            words, quoted = lexer.split(text)
            if quoted:
                self._add(place, _unmatched(words))
            return Line(_STATEMENT, ENTRY, words, words, (), text) if words else _BLANK
        words, quoted = lexer.split(text)
        if not words:
            if quoted:
                self._add(place, _unmatched(words))
            return _BLANK
        keyword = block.keywords.get(words[0])
        if keyword is None:
            return Line(_UNKNOWN, _NO_KEYWORD, words, None, (self.suggestions.unknown(words[0], block),), text)
        if quoted:
            pieces, unmatched = lexer.quoted_words(text)
            if unmatched or not keyword.args or keyword.args[0].kind not in values.SCRIPTS:
                return Line(_UNKNOWN, _NO_KEYWORD, words, None, (_unmatched(words),), text)
            words = tuple(pieces)  # '…' may hold one "
        value, troubles = read_value(keyword, words, text)
        if keyword.deprecated:
            troubles = (*troubles, _deprecated(keyword))
        self._note_pending(keyword, place)
        return Line(_OPENER if keyword.opens else _STATEMENT, keyword, words, value, tuple(troubles), text)

    def _note_pending(self, keyword: Keyword, place: int) -> None:
        """Tells once of each keyword that is not carried out yet (in such a block the block says it), or is ours."""
        if keyword.status is Status.DONE:
            if keyword.ours and (self.block.name, keyword.name) not in self.told_pending:
                self.told_pending.add((self.block.name, keyword.name))
                what, cure = f"{keyword.name} is holdfast's own", "leave it out of a file that keepalived reads as well"
                self._add(place, Trouble(what, cure, "it is carried out", Grade.ADVICE, token=keyword.name))
            return
        outer = self.blocks["root"].keywords.get(self.top) if self.stack else None
        if outer is not None and outer.status is Status.PENDING and not keyword.feature:
            return
        key = (self.block.name, keyword.name)
        if key in self.told_pending:
            return
        self.told_pending.add(key)
        inside = " (with all that stands in it)" if keyword.opens else ""
        inert = keyword.status is Status.INERT
        effect = "has no effect" if inert else f"is {keyword.status}"
        _, nothing, reason = keyword.meaning.partition("nothing: ")
        self._add(
            place,
            Trouble(
                f"{keyword.name}{inside} {effect}" + (f": {reason}" if nothing else ""),
                "",
                "it is checked and left aside",
                Grade.ADVICE if inert else Grade.WARNING,
                condition=Condition.UNKNOWN if keyword.feature else Condition.NONE,
                phrase=f"Unknown keyword '{keyword.name}'" if keyword.feature else "",
                token=keyword.name,
            ),
        )

    def _add(self, place: int, trouble: Trouble, words: tuple[str, ...] = (), *, refuses: bool = False) -> None:
        domain = self.domain if self.domain != "all" else "lvs" if self.top in LVS_ROOTS else "vrrp"
        self.findings.add(place, trouble, words, refuses=refuses and domain != "lvs", domain=domain)

    def _tell(self, line: Line, place: int) -> None:
        for trouble in line.troubles:
            self._add(place, trouble, line.words, refuses=trouble.condition is Condition.MISSING)

    def _act(self, line: Line, place: int) -> None:
        kind = line.kind
        if kind == _OPENER:
            self._opener(line, place)
            return
        if kind == _CLOSE:
            self._close(place)
            return
        if kind == _OPEN:
            self.depth += 1
            self.damaged = True
            if self.block.style is Style.KEYWORDS:
                self._add(place, _UNEXPECTED)
            else:  # an entry like any other, which its reader will refuse
                self.children.append(Node(_BRACE_ENTRY, place))
            return
        if line.troubles:
            self._tell(line, place)
        if kind == _STATEMENT:
            self.children.append(Node(line, place))

    def _opener(self, line: Line, place: int) -> None:
        name = line.keyword.name
        self.memo = _NO_MEMO
        if not self.stack:
            self.top = name
            if name in self.skipped:
                self.skip_next = True
                return
        if line.troubles:
            self._tell(line, place)
        node = Node(line, place)
        self.children.append(node)
        if line.value is values.INVALID:
            self.skip_next = True
            return
        values_only = self.blocks[line.keyword.opens].style is not Style.KEYWORDS
        if values_only and not line.keyword.args and len(line.words) > 1:
            phrase = f"Block {name} has extra parameters {' '.join(line.words[1:])} ..."
            self._add(place, Trouble(f"words after {name}", "remove them", "they are left aside", phrase=phrase))
        self.pending = node

    def _close(self, place: int) -> None:
        self.depth -= 1
        if self.depth < 0:
            self.depth = 0
            self.damaged = True
            self._add(place, _EXTRA)
        elif not self.stack:
            self.damaged = True
            self._add(place, _STRAY)
        if self.stack:
            self.block, self.children = self.stack.pop()
            if not self.stack:
                self.top = ""
        self.memo = self.memos[self.block.name]

    def _finish(self, place: int) -> None:
        if self.depth > 0:
            self.damaged = True
            phrase = f"There are {self.depth} missing '}}'s or extra '{{'s"
            self._add(
                place,
                Trouble(
                    f"{self.depth} '}}' missing at the end of the file",
                    "close every block",
                    "the blocks are taken as they are",
                    condition=Condition.BRACE,
                    phrase=phrase,
                ),
            )


_UNEXPECTED = Trouble(
    "'{' stands where no block can begin",
    "look at the word before it",
    "it is left aside, and its '}' closes the block around it",
    condition=Condition.BRACE,
    phrase="Unexpected '{' - ignoring",
    token="{",
)
_EXTRA = Trouble(
    "there is one '}' too many",
    "remove it, or find the '{' that is missing",
    "it is left aside",
    condition=Condition.BRACE,
    phrase="Extra '}' found",
    token="}",
)
_STRAY = Trouble(
    "'}' closes nothing",
    "look for the block that ended too early",
    "it is left aside",
    condition=Condition.UNKNOWN,
    phrase="Unknown keyword '}'",
    token="}",
)


def _unmatched(words: Sequence[str]) -> Trouble:
    what = "a quote is never closed" + (f" after {words[0]}" if words else "")
    return Trouble(what, "close it", "the line is left aside", condition=Condition.QUOTE, token='"')


def _deprecated(keyword: Keyword) -> Trouble:
    return Trouble(
        f"{keyword.name} is an old word",
        f"use {keyword.deprecated}",
        "it is understood",
        Grade.WARNING,
        condition=Condition.DEPRECATED,
        phrase=f"{keyword.name} is deprecated - please use '{keyword.deprecated}'",
    )


def read_tree(lines: Preprocessed, findings: Findings) -> list[Node]:
    """The nodes of the root level. Problems go to `findings`."""
    own = Findings()
    reader = _Reader(own, frozenset(), "all")
    reader.read(lines)
    if not reader.damaged:
        findings.take(own)
        return reader.nodes
    nodes: list[Node] = []
    shared = frozenset({"track_file", "vrrp_track_file", "bfd_instance"})
    for skipped, domain in (
        (VRRP_ROOTS | LVS_ROOTS | shared, "all"),
        (LVS_ROOTS | {"global_defs"}, "vrrp"),
        (VRRP_ROOTS | {"global_defs"}, "lvs"),
    ):
        view = _Reader(findings, skipped, domain)
        view.read(lines)
        for node in view.nodes:
            wanted = {"all": _GLOBAL, "vrrp": VRRP_ROOTS | shared, "lvs": LVS_ROOTS}[domain]
            if node.name in wanted or (domain == "all" and not node.line.keyword.opens):
                nodes.append(node)
    return nodes
