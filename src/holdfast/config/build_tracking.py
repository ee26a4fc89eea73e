"""Trackers: `vrrp_script` blocks, the directory look-up, and what instances and groups make of them."""

import msgspec

from holdfast.base.problem import Grade
from holdfast.base.time import SECOND
from holdfast.bfd.config import SessionConfig
from holdfast.config.build_global import Defaults
from holdfast.config.build_watched import read_file, read_process
from holdfast.config.context import Context, entries, get, last_values
from holdfast.config.findings import Condition, Trouble
from holdfast.config.lines import read_use
from holdfast.config.tree import Node
from holdfast.config.values import INVALID, RawScript
from holdfast.track.config import FileConfig, ProcessConfig, ScriptConfig
from holdfast.vrrp.config import OWNER, TrackedUse

BLOCKS = {
    "track_interface": "interface",
    "track_script": "script",
    "track_file": "file",
    "track_process": "process",
    "track_bfd": "bfd",
}
_DEFINED_BY = {
    "track_file": "file",
    "vrrp_track_file": "file",
    "vrrp_track_process": "process",
    "bfd_instance": "bfd",
}


class Trackers:
    """The trackers defined so far. A script is settled when somebody names it."""

    def __init__(self, context: Context, defaults: Defaults, sessions: dict[str, SessionConfig]) -> None:
        self.context = context
        self.directories = defaults.track_directories
        self.scripts: dict[str, ScriptConfig | None] = {}  # those somebody named
        self.places: dict[str, tuple[int, Node]] = {}  # the vrrp_script blocks, with their order
        self.others: dict[tuple[str, str], tuple[int, Node]] = {}  # kind, name → order, block
        self.files: dict[str, FileConfig | None] = {}  # those somebody named
        self.processes: dict[str, ProcessConfig | None] = {}
        self.sessions = sessions

    def define(self, node: Node, order: int) -> None:
        """Notes a block that defines a tracker; `order` counts the blocks as read."""
        if node.value is INVALID:
            return
        if node.name == "vrrp_script":
            self.places.setdefault(node.value, (order, node))
        elif node.name in _DEFINED_BY:
            kind = _DEFINED_BY[node.name]
            self.others.setdefault((kind, node.value), (order, node))

    def _script(self, node: Node) -> ScriptConfig | None:
        """The script of a `vrrp_script` block; None when it is disabled (told)."""
        settings = last_values(node.children or [])
        line = settings.get("script")
        if line is None:
            trouble = Trouble(
                f"vrrp_script {node.value} has no script",
                "name the program: script /path",
                "it is left aside",
                phrase=f"No script set for vrrp_script {node.value} - removing",
            )
            self.context.tell(node, trouble)
            return None
        interval = get(settings, "interval", SECOND)
        timeout = get(settings, "timeout", 0) or interval
        command = self.context.script(line, user=get(settings, "user", ()), timeout_ns=timeout, tracked=True)
        if command is None:
            return None
        weight, direction = get(settings, "weight", (0, None))
        return ScriptConfig(
            name=node.value,
            command=command,
            interval_ns=interval,
            weight=weight,
            reverse=direction == "reverse",
            rise=get(settings, "rise", 1),
            fall=get(settings, "fall", 1),
            init_fail="init_fail" in settings,
        )

    def _from_directory(self, name: str) -> ScriptConfig | None:
        """The executable `name`, or `name` less a leading `check_`, in the directories for that."""
        if "/" in name:
            return None
        for directory in self.directories:
            for spelled in dict.fromkeys((name, name.removeprefix("check_"))):
                path = f"{directory}/{spelled}"
                try:
                    mode = self.context.disk.mode(path)
                except OSError:
                    continue
                if mode & 0o170000 == 0o100000 and mode & 0o111:
                    resolved = self.context.scripts.resolve(RawScript((path,)), timeout_ns=SECOND)
                    if resolved.command is not None:
                        return ScriptConfig(name=name, command=resolved.command)
        return None

    def uses(self, block: Node, owner: str, order: int) -> list[tuple[TrackedUse, Node]]:
        """What a `track_…` block asks for, with unknown and disabled trackers left out (told)."""
        kind = BLOCKS[block.name]
        found = []
        for entry in entries(block):
            name = entry.line.words[0]
            default = (0, False)
            if kind == "script":
                script = self._find(entry, name, owner, order)
                if script is None:
                    continue
                default = (script.weight, script.reverse)
            elif kind != "interface":
                other = self.others.get((kind, name))
                if other is None or other[0] > order:
                    self._not_found(entry, kind, owner, other is not None)
                    continue
                settled = self._settled(kind, name, other[1])
                if settled is None or (kind == "bfd" and not self._told(entry, name)):
                    continue
                default = settled
            else:
                self.context.check_interface(entry, name, f"track_interface of {owner}")
            found.append((read_use(kind, entry.line.words, self.context.teller(entry), default), entry))
        return found

    def _told(self, entry: Node, name: str) -> bool:
        """Whether a BFD session is for VRRP; it is told when it isn't."""
        if self.sessions[name].for_vrrp:
            return True
        what, cure = f"bfd_instance {name} is for the checkers only", "remove `checker` from it, or add `vrrp`"
        self.context.tell(entry, Trouble(what, cure, "it is not tracked"))
        return False

    def file(self, name: str) -> FileConfig | None:
        """The `track_file` of that name, which is watched from now on; None without one that can be (told)."""
        defined = self.others.get(("file", name))
        if name not in self.files and defined is not None:
            self.files[name] = read_file(self.context, defined[1])
        return self.files.get(name)

    def _settled(self, kind: str, name: str, node: Node) -> tuple[int, bool] | None:
        """The weight and direction of a tracker somebody names; None when it is left aside (told)."""
        config: FileConfig | ProcessConfig | SessionConfig | None
        if kind == "file":
            config = self.file(name)
        elif kind == "process":
            if name not in self.processes:
                self.processes[name] = read_process(self.context, node)
            config = self.processes[name]
        else:
            config = self.sessions.get(name)
        return None if config is None else (config.weight, config.reverse)

    def _find(self, entry: Node, name: str, owner: str, order: int) -> ScriptConfig | None:
        defined = self.places.get(name)
        if defined is not None and defined[0] > order:
            self._not_found(entry, "script", owner, True)
            return None
        if name not in self.scripts:
            self.scripts[name] = self._script(defined[1]) if defined is not None else self._from_directory(name)
        script = self.scripts[name]
        if script is None and defined is None:
            self._not_found(entry, "script", owner, False)
        return script

    def _not_found(self, entry: Node, kind: str, owner: str, later: bool) -> None:
        name = entry.line.words[0]
        block = {"script": "vrrp_script", "file": "track_file", "process": "vrrp_track_process"}.get(
            kind, "bfd_instance"
        )
        cure = f"move the {block} block above this one" if later else f"define {block} {name} above"
        if kind == "script" and not later:
            cure += f", or put an executable {name} into {self.directories[0]}"
        self.context.tell(
            entry,
            Trouble(
                f"there is no {block} {name!r}" + (" before this line" if later else ""),
                cure,
                "it is not tracked",
                phrase=f"({owner}) track {kind} {name} not found, ignoring...",
            ),
        )

    def unused(self) -> None:
        """Tells of scripts nobody tracks."""
        for name, (_order, node) in self.places.items():
            if name not in self.scripts:
                self._script(node)  # the reference checks it all the same
                self.context.tell(
                    node,
                    Trouble(
                        f"nobody tracks vrrp_script {name}",
                        f"name it in a track_script block: track_script {{ {name} }}",
                        "it is not run",
                        Grade.ADVICE,
                        word=1,
                        condition=Condition.NONE,
                        phrase=f"Warning - script {name} is not used",
                    ),
                )

    def in_use(self) -> tuple[ScriptConfig, ...]:
        """The scripts somebody tracks."""
        return tuple(script for script in self.scripts.values() if script is not None)


def limited(context: Context, owner: str, priority: int, grouped: bool, uses: list[tuple[TrackedUse, Node]]) -> None:
    """Weights that can't count for an address owner, or in a group without sync_group_tracking_weight, in place."""
    if priority != OWNER and not grouped:
        return
    why = "address_owner" if priority == OWNER else "SYNC group"
    cure = "remove the weight" if priority == OWNER else "remove the weight, or say sync_group_tracking_weight"
    kept: list[tuple[TrackedUse, Node]] = []
    for use, node in uses:
        if not use.weight or (use.kind == "process" and priority != OWNER):
            kept.append((use, node))
            continue
        drops = use.kind in ("script", "bfd") or (use.kind == "file" and abs(use.weight) != 1)
        context.tell(
            node,
            Trouble(
                f"{owner}: the weight of {use.name} can't count ({why})",
                cure,
                "it is not tracked" if drops else "it is tracked without weight",
                phrase=f"({owner}) ignoring tracked {use.kind} {use.name} with weights due to {why}",
            ),
        )
        if not drops:
            kept.append((msgspec.structs.replace(use, weight=0), node))
    uses[:] = kept


def merged(
    context: Context, owner: str, own: list[tuple[TrackedUse, Node]], shared: list[tuple[TrackedUse, Node]]
) -> list[tuple[TrackedUse, Node]]:
    """The trackers of a member: its own, and its group's; of one listed twice the group's weight, unless ours is 0."""
    if not shared:
        return own
    by_name = {(use.kind, use.name): (use, node) for use, node in own}
    for use, node in shared:
        key = (use.kind, use.name)
        if key in by_name:
            mine = by_name[key][0]
            context.tell(
                by_name[key][1],
                Trouble(
                    f"{owner} and its sync group both track {use.name}",
                    "track it in one of the two",
                    "the weight of the instance counts" if mine.weight == 0 else "the weight of the group counts",
                    Grade.WARNING,
                ),
            )
            if mine.weight == 0:
                continue
        by_name[key] = (use, node)
    return list(by_name.values())
