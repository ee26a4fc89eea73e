"""`vrrp_sync_group` blocks: members, trackers, scripts."""

from collections.abc import Container

from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.build_notify import notify_commands
from holdfast.config.build_tracking import BLOCKS, Trackers
from holdfast.config.context import Context, entries
from holdfast.config.findings import Condition, Trouble
from holdfast.config.tree import Node
from holdfast.vrrp.config import GroupConfig, TrackedUse


class GroupDraft:
    """A group while it is being put together."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.name: str = node.value
        self.members: list[Node] = []
        self.names: list[str] = []
        self.uses: list[tuple[TrackedUse, Node]] = []
        self.notify: list[Node] = []
        self.weights = False
        self.alert: Node | None = None


def draft_group(context: Context, node: Node, trackers: Trackers, order: int) -> GroupDraft:
    """The lines of the block, gathered."""
    draft = GroupDraft(node)
    seen = False
    for line in node.children or []:
        name = line.name
        if name == "group":
            if seen:
                _tell(context, line, f"{draft.name} has a second group block", "join them", "it is left aside")
                continue
            seen = True
            for entry in entries(line):
                for word in entry.line.words:
                    draft.members.append(entry)
                    draft.names.append(word)
        elif name in BLOCKS:
            draft.uses += trackers.uses(line, draft.name, order)
        elif name in ("sync_group_tracking_weight", "global_tracking"):
            draft.weights = True
        elif name == "smtp_alert":
            draft.alert = line
        elif name.startswith("notify") and line.line.value is not values.INVALID:
            draft.notify.append(line)
    return draft


def build_group(
    context: Context, draft: GroupDraft, known: Container[str], taken: dict[str, str]
) -> GroupConfig | None:
    """The group; None when it has no members (told). `taken` gets group names by member."""
    members: list[str] = []
    for name, entry in zip(draft.names, draft.members, strict=True):
        if name not in known:
            phrase = f"Virtual router {name} specified in sync group {draft.name} doesn't exist - ignoring"
            what = f"there is no vrrp_instance {name}"
            _tell(context, entry, what, "correct the name", "it is left out", phrase, name)
        elif name in taken:
            where = "twice" if taken[name] == draft.name else f"in {taken[name]} already"
            _tell(context, entry, f"{name} is {where}", "an instance can be in one group", "it is left out", token=name)
        else:
            taken[name] = draft.name
            members.append(name)
    if not members:
        phrase = f"Sync group {draft.name} has no members - removing"
        _tell(context, draft.node, f"sync group {draft.name} has no members", "list instances in group { }",
              "the group is left aside", phrase)  # fmt: skip
        return None
    if len(members) == 1:
        trouble = Trouble(
            f"sync group {draft.name} has only one member",
            "add the others, or remove the group",
            "it is kept",
            Grade.WARNING,
            1,
            Condition.GENERAL,
            f"Sync group {draft.name} has only 1 virtual router(s) - this probably isn't what you want",
        )
        context.tell(draft.node, trouble)
    notify = notify_commands(context, draft.notify, draft.alert)
    return GroupConfig(name=draft.name, members=tuple(members), notify=notify)


def _tell(
    context: Context, node: Node, what: str, cure: str, meanwhile: str, phrase: str = "", token: str = ""
) -> None:
    context.tell(node, Trouble(what, cure, meanwhile, phrase=phrase, token=token))
