"""`static_ipaddress`, `static_routes`, `static_rules`, and `track_group`: who is in FAULT while one can't be kept."""

import msgspec

from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.build_routes import RouteReader, with_group
from holdfast.config.context import Context, entries, get
from holdfast.config.findings import Trouble
from holdfast.config.lines import read_address
from holdfast.config.tree import Node
from holdfast.vrrp.config import InstanceConfig, StaticAddress, TrackedUse
from holdfast.vrrp.routes import RouteEntry

DEFAULT_INTERFACE = "eth0"


def read_statics(
    context: Context,
    nodes: list[Node],
    settings: dict[str, Node],
    instances: list[InstanceConfig],
    reader: RouteReader,
) -> tuple[tuple[StaticAddress, ...], tuple[RouteEntry, ...], list[InstanceConfig]]:
    """The static addresses, routes and rules, and the instances with those they follow among their trackers."""
    groups = _groups(context, nodes, {one.name for one in instances})
    device = get(settings, "default_interface", DEFAULT_INTERFACE)
    found: dict[str, StaticAddress] = {}
    followed: dict[str, list[TrackedUse]] = {}
    for node in nodes:
        for entry in entries(node) if node.name == "static_ipaddress" else ():
            address = read_address(entry.line.words, context.teller(entry), static=True)
            if address is None:
                continue
            if address.interface is None:
                address = msgspec.structs.replace(address, interface=device)
            group = _track_group(context, entry, groups)
            static = StaticAddress(address=address, tracked=group is not None)
            if static.name in found:
                trouble = Trouble(f"{static.name} stands here twice", "remove one", "the second is left aside")
                context.tell(entry, msgspec.structs.replace(trouble, grade=Grade.WARNING))
                continue
            context.check_interface(entry, str(address.interface), "a static address")
            found[static.name] = static
            for name in groups.get(group or "", ()):
                followed.setdefault(name, []).append(TrackedUse(kind="static", name=static.name))
    kept = _entries(context, nodes, groups, reader, followed)
    finished = [
        msgspec.structs.replace(one, trackers=(*one.trackers, *followed[one.name])) if one.name in followed else one
        for one in instances
    ]
    return tuple(found.values()), kept, finished


def _entries(
    context: Context,
    nodes: list[Node],
    groups: dict[str, list[str]],
    reader: RouteReader,
    followed: dict[str, list[TrackedUse]],
) -> tuple[RouteEntry, ...]:
    """The static routes, then the static rules; who follows one is added to `followed`."""
    kept: dict[str, RouteEntry] = {}
    for block in ("static_routes", "static_rules"):
        for node in nodes:
            for entry, made in reader.read_each(node) if node.name == block else ():
                group = _track_group(context, entry, groups)
                kept[made.name] = with_group(made, group is not None)
                for name in groups.get(group or "", ()):
                    followed.setdefault(name, []).append(TrackedUse(kind="static", name=made.name))
    return tuple(kept.values())


def _track_group(context: Context, entry: Node, groups: dict[str, list[str]]) -> str | None:
    words = entry.line.words
    for position, word in enumerate(words[1:-1], 1):
        if word == "track_group":
            name = words[position + 1]
            if name in groups:
                return name
            cure = f"define it: track_group {name} {{ group {{ … }} }}"
            trouble = Trouble(f"there is no track_group {name}", cure, "nobody follows it", word=position + 1)
            context.tell(entry, trouble)
    return None


def _groups(context: Context, nodes: list[Node], known: set[str]) -> dict[str, list[str]]:
    """The instances of every track_group."""
    groups: dict[str, list[str]] = {}
    for node in nodes:
        if node.name != "track_group" or node.value is values.INVALID or node.children is None:
            continue
        if node.value in groups:
            what = f"track_group {node.value} stands here a second time"
            context.tell(node, Trouble(what, "rename it", "this one is left aside", word=1))
            continue
        blocks = [line for line in node.children if line.name == "group"]
        for extra in blocks[1:]:
            what = f"track_group {node.value} has a second group block"
            context.tell(extra, Trouble(what, "join them", "it is left aside"))
        members = groups[node.value] = []
        for entry in entries(blocks[0]) if blocks else ():
            for word in entry.line.words:
                if word in known:
                    members.append(word)
                else:
                    what = f"there is no vrrp_instance {word}"
                    context.tell(entry, Trouble(what, "correct the name", "it is left out", token=word))
        if not blocks:
            what = f"track_group {node.value} names no instances"
            context.tell(node, Trouble(what, "list them: group { … }", "nobody follows its entries"))
    return groups
