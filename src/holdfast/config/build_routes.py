"""Blocks of route lines and rule lines to entries that are ready for the kernel."""

import msgspec

from holdfast.base.problem import Grade
from holdfast.config.context import Context, entries, get
from holdfast.config.entry_checks import check_entry
from holdfast.config.findings import Condition, Trouble
from holdfast.config.route_lines import read_route
from holdfast.config.route_parts import Names, Unfit
from holdfast.config.rule_lines import FIRST_PREFERENCE, has_preference, read_rule
from holdfast.config.tree import Node
from holdfast.vrrp.routes import RouteEntry


class RouteReader:
    """Reads `virtual_routes`, `virtual_rules`, `static_routes` and `static_rules`."""

    def __init__(self, context: Context, nodes: list[Node], settings: dict[str, Node]) -> None:
        """`settings`: the lines of `global_defs`."""
        self._context = context
        vendor, host = (get(settings, name, "") for name in ("iproute_usr_dir", "iproute_etc_dir"))
        self._names = Names(context.disk, vendor, host)
        self._preferences: dict[int, int] = {}  # by place of the line, of rules that name none
        for node in nodes:
            for block in (node, *(node.children or ())):
                if block.name in ("static_rules", "virtual_rules"):
                    self._count(block)

    def _count(self, block: Node) -> None:
        for entry in entries(block):
            if not has_preference(entry.line.words):
                self._preferences[entry.place] = FIRST_PREFERENCE - len(self._preferences)

    def read(self, block: Node) -> tuple[RouteEntry, ...]:
        """The entries of a block, each once."""
        return tuple(dict.fromkeys(made for _entry, made in self.read_each(block)))

    def read_each(self, block: Node) -> list[tuple[Node, RouteEntry]]:
        """The entries of a block with their lines; what can't be carried out is told and left aside."""
        found = []
        for entry in entries(block):
            told: list[Trouble] = []
            check_entry(block.name, entry.line.words, told.append)
            made: RouteEntry | None = None
            try:
                made = self._one(block.name, entry)
            except Unfit as unfit:
                if not told:
                    condition = Condition.NONE if unfit.accepted else Condition.GENERAL
                    trouble = Trouble(unfit.what, unfit.cure, "the line is left aside", token=unfit.word)
                    told.append(msgspec.structs.replace(trouble, condition=condition))
            for trouble in told:
                self._context.tell(entry, trouble)
            if made is not None:
                self._check_interfaces(entry, made)
                found.append((entry, made))
        return found

    def _one(self, block: str, entry: Node) -> RouteEntry:
        words = entry.line.words
        if block.endswith("routes"):
            return read_route(words, self._names)
        preference = self._preferences.get(entry.place, FIRST_PREFERENCE)
        made = read_rule(words, self._names, preference)
        if not has_preference(words):
            trouble = Trouble(
                "the rule says no preference",
                "write preference N: the order of rules decides",
                f"{preference} is taken, as in keepalived",
                Grade.WARNING,
                condition=Condition.NONE,
                phrase=f"Rule has no preference specified - setting to {preference}. "
                "This is probably not what you want.",
            )
            self._context.tell(entry, trouble)
        return made

    def _check_interfaces(self, entry: Node, made: RouteEntry) -> None:
        known = self._context.interfaces
        for name in made.interfaces if known is not None else ():
            if known is not None and name not in known and not self._context.dynamic_interfaces:
                trouble = Trouble(
                    f"there is no interface {name}",
                    "correct the name, or say dynamic_interfaces if it comes later",
                    "the route waits for it",
                    Grade.WARNING,
                    condition=Condition.NONE,
                    token=name,
                )
                self._context.tell(entry, trouble)


def with_group(made: RouteEntry, followed: bool) -> RouteEntry:
    """A static entry, that instances follow or not."""
    return msgspec.structs.replace(made, tracked=followed)
