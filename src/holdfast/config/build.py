"""The tree to a plan. `global_defs` is applied wherever it stands; everything else in the order written."""

import msgspec

from holdfast.base.problem import Grade
from holdfast.check.config import kind_of
from holdfast.config import values
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.config.build_bfd import read_sessions
from holdfast.config.build_carp import CarpBuilder
from holdfast.config.build_checks import CheckTable
from holdfast.config.build_global import (
    global_settings,
    read_defaults,
    read_scheduling,
    read_settings,
    set_up_scripts,
)
from holdfast.config.build_group import GroupDraft, build_group, draft_group
from holdfast.config.build_instance import Draft, InstanceBuilder
from holdfast.config.build_lvs import build_lvs
from holdfast.config.build_lvs_global import with_sync_id
from holdfast.config.build_mail import alert_default, read_mail
from holdfast.config.build_routes import RouteReader
from holdfast.config.build_static import read_statics
from holdfast.config.build_tracking import Trackers, limited, merged
from holdfast.config.build_vmac import Devices, expect_devices
from holdfast.config.build_watched import read_links
from holdfast.config.context import Context, entries, get
from holdfast.config.findings import Condition, Trouble
from holdfast.config.others import Others, read_others, virtual_servers
from holdfast.config.plan import Settings, VrrpPlan
from holdfast.config.tree import Node
from holdfast.lvs.config import LvsPlan
from holdfast.vrrp.config import GroupConfig, InstanceConfig, TrackedUse

Use = tuple[TrackedUse, Node]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration comes to; problems went to the context's findings."""

    plan: VrrpPlan
    balancer: BalancerPlan
    others: Others


def build(context: Context, nodes: list[Node]) -> Built:
    """The plan of a tree."""
    settings_lines = global_settings(context, nodes)
    context.dynamic_interfaces = "dynamic_interfaces" in settings_lines
    set_up_scripts(context, settings_lines)
    context.alert_default = alert_default(settings_lines)
    settings = msgspec.structs.replace(
        read_settings(context, settings_lines), mail=read_mail(context, nodes, settings_lines)
    )
    defaults = read_defaults(settings_lines)
    sessions = read_sessions(context, nodes)
    trackers = Trackers(context, defaults, sessions)
    for order, node in enumerate(nodes):
        trackers.define(node, order)
    expect_devices(context, nodes, settings_lines)
    routes = RouteReader(context, nodes, settings_lines)
    builders = {
        "vrrp_instance": InstanceBuilder(context, settings, defaults, trackers, routes),
        "carp_instance": CarpBuilder(context, settings, defaults, trackers, routes),
    }
    drafts: dict[str, Draft] = {}
    groups: dict[str, GroupDraft] = {}
    garp_groups: list[tuple[str, ...]] = []
    paces: dict[str, dict[str, int]] = {}  # by interface, what its garp_group says
    for order, node in enumerate(nodes):
        if node.value is values.INVALID:
            continue
        if node.name in builders and node.children is not None:
            if not _second(context, node, drafts):
                drafts[node.value] = builders[node.name].draft(node, order)
        elif node.name == "vrrp_sync_group" and node.children is not None:
            if not _second(context, node, groups):
                groups[node.value] = draft_group(context, node, trackers, order)
        elif node.name == "garp_group":
            garp_groups.append(_garp_group(node, paces))
    built = [(draft, builders[draft.node.name].build(draft)) for draft in drafts.values()]
    instances = [(draft, one) for draft, one in built if one is not None]
    devices = Devices(context, settings_lines).devise(instances)
    if paces:
        instances = [(draft, _paced(one, paces)) for draft, one in instances]
    _told_twins(context, instances)
    group_configs, finished = _join(context, instances, drafts, groups)
    if instances:
        trackers.unused()
    tls = next((node for node in nodes if node.name == "SSL"), None)
    table = CheckTable(context, settings_lines, tls, trackers.file, sessions)
    lvs = build_lvs(context, nodes, settings_lines, table.read)
    checks = table.checks
    beside = {one.name: get(draft.settings, "lvs_sync_daemon_interface", "") for draft, one in instances}
    lvs = with_sync_id(context, lvs, settings_lines, [one for _, one in instances], beside)
    others = read_others(context, nodes, virtual_servers(lvs, [kind_of(check) for check in checks]), sessions)
    polled = [one.network for draft, one in instances if "linkbeat_use_polling" in draft.settings]
    statics, entries_kept, finished = read_statics(context, nodes, settings_lines, finished, routes)
    plan = VrrpPlan(
        settings=settings,
        instances=tuple(finished),
        groups=tuple(group_configs),
        scripts=trackers.in_use(),
        files=tuple(file for file in trackers.files.values() if file is not None),
        processes=tuple(process for process in trackers.processes.values() if process is not None),
        bfd=tuple(sessions.values()),
        links=read_links(context, nodes, finished, polled),
        statics=statics,
        static_entries=entries_kept,
        devices=devices,
        garp_groups=tuple(group for group in garp_groups if group),
    )
    _told_security(context)
    balancer = _balancer_plan(context, settings_lines, settings, lvs, table)
    return Built(plan=plan, balancer=balancer, others=others)


def _balancer_plan(
    context: Context, lines: dict[str, Node], settings: Settings, lvs: LvsPlan, table: CheckTable
) -> BalancerPlan:
    """The load balancer's plan: services, checks, and the lvs worker's own settings."""
    return BalancerPlan(
        lvs=lvs,
        checks=table.checks,
        files=tuple(table.files.values()),
        scheduling=read_scheduling(context, lines, "checker"),
        process_name=settings.process_names.get("checker", ""),
        receive_bytes=get(lines, "lvs_netlink_monitor_rcv_bufs", 0),
        receive_forced=get(lines, "lvs_netlink_monitor_rcv_bufs_force", False),
    )


def _second(context: Context, node: Node, seen: dict[str, Draft] | dict[str, GroupDraft]) -> bool:
    if node.value not in seen:
        return False
    kind = node.name.removeprefix("vrrp_").replace("_", " ")
    trouble = Trouble(
        f"{node.name} {node.value} stands here a second time",
        "give it another name",
        "this one is left aside",
        word=1,
        phrase=f"vrrp {kind} {node.value} already defined",
    )
    context.tell(node, trouble)
    return True


def _paced(one: InstanceConfig, paces: dict[str, dict[str, int]]) -> InstanceConfig:
    """The instance with the pace of its interface's garp_group."""
    if not paces.get(one.network):
        return one
    announce = msgspec.structs.replace(one.announce, **paces[one.network])
    return msgspec.structs.replace(one, announce=announce)


def _garp_group(node: Node, paces: dict[str, dict[str, int]]) -> tuple[str, ...]:
    names: list[str] = []
    pace: dict[str, int] = {}
    for line in node.children or []:
        if line.name in ("garp_interval", "gna_interval") and line.value is not values.INVALID:
            pace[f"{line.name}_ns"] = line.value
        elif line.name == "interface" and line.value is not values.INVALID:
            names.append(line.value)
        elif line.name == "interfaces":
            names += [word for entry in entries(line) for word in entry.line.words]
    paces.update(dict.fromkeys(names, pace))
    return tuple(dict.fromkeys(names))


def _told_twins(context: Context, instances: list[tuple[Draft, InstanceConfig]]) -> None:
    """Two instances that answer to the same number on one network: nothing can run."""
    by_key: dict[tuple[str, int, int, str], list[InstanceConfig]] = {}
    for draft, one in instances:
        key = (one.network, one.family, one.vrid, one.protocol)
        others = by_key.get(key)
        if others is None:
            by_key[key] = [one]
            continue
        for other in others:
            if not _clash(one, other):
                continue
            node = draft.settings.get("virtual_router_id") or draft.node
            trouble = Trouble(
                f"{one.name} and {other.name} are both virtual router {one.vrid} on {one.network or 'no interface'}",
                "give one of them another virtual_router_id",
                "nothing can run, as in keepalived",
                word=1,
                phrase=f"({one.name}) VRID {one.vrid} is duplicated on interface {one.network}",
            )
            context.tell(node, trouble, refuses=True)
            break
        others.append(one)


def _clash(one: InstanceConfig, other: InstanceConfig) -> bool:
    if one.group is not None or other.group is not None:
        return one.group == other.group
    peers = {peer.address for peer in one.unicast_peers}
    return any(peer.address in peers for peer in other.unicast_peers)


def _join(
    context: Context,
    instances: list[tuple[Draft, InstanceConfig]],
    drafts: dict[str, Draft],
    groups: dict[str, GroupDraft],
) -> tuple[list[GroupConfig], list[InstanceConfig]]:
    """Groups with their members, and instances with the trackers of their groups."""
    taken: dict[str, str] = {}
    configs = [config for draft in groups.values() if (config := build_group(context, draft, drafts, taken))]
    owners = {one.name for _draft, one in instances if one.starts_as_owner}
    all_owners = {config.name for config in configs if all(member in owners for member in config.members)}
    finished = []
    for draft, one in instances:
        group = groups[taken[one.name]] if one.name in taken else None
        uses: list[Use] = draft.uses
        if uses or (group is not None and group.uses):
            uses = merged(context, one.name, uses, group.uses if group is not None else [])
            limited(context, one.name, one.priority, group is not None and not group.weights, uses)
            one = msgspec.structs.replace(one, trackers=tuple(use for use, _node in uses))
        if one.starts_as_owner and group is not None and group.name not in all_owners:
            one = msgspec.structs.replace(one, starts_as_owner=False)
        finished.append(one)
    return configs, finished


def _told_security(context: Context) -> None:
    if not context.script_places or context.scripts.secure:
        return
    trouble = Trouble(
        "scripts are run, and enable_script_security is not set",
        "add enable_script_security to global_defs, and a script_user",
        "they are run",
        Grade.ADVICE,
        condition=Condition.SECURITY,
        phrase="SECURITY VIOLATION - scripts are being executed but script_security not enabled.",
    )
    for domain in ("lvs", "vrrp"):
        if domain in context.script_places:
            context.findings.add(context.script_places[domain], trouble, domain=domain)
            break

