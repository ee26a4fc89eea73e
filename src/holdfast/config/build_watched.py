"""What is watched besides scripts: `track_file`, `vrrp_track_process`, link delays and polled links."""

import posixpath
from collections.abc import Iterable

import msgspec

from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.context import Context, entries, get, last_values
from holdfast.config.findings import Trouble
from holdfast.config.keywords_lines import DELAY, POLLED
from holdfast.config.tree import Node
from holdfast.track.config import FileConfig, LinkConfig, Match, ProcessConfig
from holdfast.track.process import NAME_LENGTH
from holdfast.vrrp.config import InstanceConfig

POLL_ANY = "any"


def read_file(context: Context, node: Node) -> FileConfig | None:
    """A `track_file` block; None when it can't be watched (told)."""
    settings = last_values(node.children or [])
    first = next((line for line in node.children or [] if line.name == "file"), None)
    if first is None or first.line.value is values.INVALID:
        _left_aside(context, node, f"{node.name} {node.value} names no file", "name one: file /path",
                    f"No file set for track_file {node.value} - removing")  # fmt: skip
        return None
    path = str(first.line.value)
    if not path.startswith("/"):
        path = posixpath.join(context.disk.here(), path)
    real = context.disk.real_path(path)
    mount = context.disk.silent_mount(real)
    if mount:
        what = f"{path} is on {mount}, which does not tell of changes"
        _left_aside(context, first, what, "use a file on a local disk, or a vrrp_script that reads it")
        return None
    if not context.disk.is_directory(posixpath.dirname(real)):
        what = f"there is no directory {posixpath.dirname(real)}"
        cure = "make it, or correct the path"
        context.tell(first, Trouble(what, cure, "the file counts as 0 until there is one", Grade.WARNING, 1))
    weight, direction = get(settings, "weight", (1, None))
    init = settings.get("init_file")
    words = tuple(init.line.value) if init is not None else ()
    number = next((int(word) for word in words if word.lstrip("+-").isdigit()), 0)
    return FileConfig(
        name=node.value,
        path=path,
        weight=weight,
        reverse=direction == "reverse",
        init_value=None if init is None else number,
        init_overwrite="overwrite" in words,
    )


def read_process(context: Context, node: Node) -> ProcessConfig | None:
    """A `vrrp_track_process` block; None when it names no process (told)."""
    settings = last_values(node.children or [])
    first = next((line for line in node.children or [] if line.name == "process"), None)
    words = () if first is None or first.line.value is values.INVALID else tuple(first.line.value)
    if first is None or not words:
        _left_aside(context, node, f"vrrp_track_process {node.value} names no process", "name one: process NAME",
                    f"No process set for vrrp_track_process {node.value} - removing")  # fmt: skip
        return None
    command, *parameters = words
    full = "full_command" in settings
    match = Match.EXACT if parameters else Match.NONE
    if "param_match" in settings:
        match = Match(settings["param_match"].line.value or Match.EXACT)
    by_name = not full and match is Match.NONE
    if by_name and ("/" in command or len(command) > NAME_LENGTH):
        why = "has a path" if "/" in command else f"is longer than {NAME_LENGTH} characters"
        what = f"{command} {why}, and names of processes don't"
        cure = "say full_command, and write the command as it is started; or the short name (ps -o comm)"
        context.tell(first, Trouble(what, cure, f"{command[:NAME_LENGTH]} is looked for", Grade.WARNING, 1))
    weight, direction = get(settings, "weight", (0, None))
    most = get(settings, "quorum_max", None)
    quorum = get(settings, "quorum", 1)
    if most is not None and most < quorum:
        if most and "quorum" in settings:
            what = f"quorum_max {most} is less than quorum {quorum}"
            context.tell(settings["quorum_max"], Trouble(what, "raise it", f"quorum {most} is taken", Grade.WARNING, 1))
        quorum = most
    both = get(settings, "delay", 0)
    return ProcessConfig(
        name=node.value,
        command=command,
        parameters=tuple(parameters),
        match=match,
        full_command=full,
        weight=weight,
        reverse=direction == "reverse",
        quorum=quorum,
        quorum_max=most,
        fork_delay_ns=get(settings, "fork_delay", both),
        terminate_delay_ns=get(settings, "terminate_delay", both),
    )


def _left_aside(context: Context, node: Node, what: str, cure: str, phrase: str = "") -> None:
    context.tell(node, Trouble(what, cure, "it is left aside", phrase=phrase))


# ---- links ----------------------------------------------------------------------------------------------------------


def read_links(
    context: Context, nodes: list[Node], instances: Iterable[InstanceConfig], asked: Iterable[str]
) -> tuple[LinkConfig, ...]:
    """`interface_up_down_delays` and `linkbeat_interfaces`; `asked` are those of `linkbeat_use_polling`.

    What nobody depends on is left out.
    """
    found: dict[str, LinkConfig] = {}
    for node in nodes:
        if node.name == "interface_up_down_delays":
            for entry in entries(node):
                link = _delays(context, entry)
                if link is not None:
                    polled = found[link.name].polled if link.name in found else ""
                    found[link.name] = msgspec.structs.replace(link, polled=polled)
        elif node.name == "linkbeat_interfaces":
            for entry in entries(node):
                name, polled = _polled(context, entry)
                found[name] = msgspec.structs.replace(found.get(name, LinkConfig(name=name)), polled=polled)
    used: set[str] = set()
    for one in instances:
        used |= {address.interface or one.interface for address in (*one.addresses, *one.excluded)}
        used |= {one.interface, *(use.name for use in one.trackers if use.kind == "interface")}
    every = any(node.name == "linkbeat_use_polling" for node in nodes)
    for name in sorted(used - {""}) if every else asked:
        link = found.get(name, LinkConfig(name=name))
        found[name] = msgspec.structs.replace(link, polled=link.polled or POLL_ANY)
    return tuple(link for name, link in found.items() if name in used)


def _delays(context: Context, entry: Node) -> LinkConfig | None:
    words, tell = entry.line.words, context.teller(entry)
    if len(words) == 1:
        tell(Trouble(f"{words[0]} has no delay", "write IF DOWN [UP]", "the line is left aside"))
        return None
    spans = []
    for position in range(1, min(3, len(words))):
        span, troubles = values.READERS["decimal"](DELAY, words, position, "")
        for trouble in troubles:
            tell(trouble)
        spans.append(0 if span is values.INVALID else span)
    context.check_interface(entry, words[0], "interface_up_down_delays")
    return LinkConfig(name=words[0], down_ns=spans[0], up_ns=spans[1] if len(spans) > 1 else 0)


def _polled(context: Context, entry: Node) -> tuple[str, str]:
    words, tell = entry.line.words, context.teller(entry)
    way = POLL_ANY
    if len(words) > 1:
        chosen, troubles = values.READERS["choice"](POLLED, words, 1, "")
        for trouble in troubles:
            tell(trouble)
        if chosen is not values.INVALID:
            way = chosen
    context.check_interface(entry, words[0], "linkbeat_interfaces")
    return words[0], way
