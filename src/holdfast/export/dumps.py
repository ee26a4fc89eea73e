"""`keepalived.data` and `keepalived.stats`, as keepalived lays them out: other people's tools read them line by line.

An instance begins with one space, its lines with three, the items of its lists with five.
"""

from collections.abc import Collection, Iterator

from holdfast.base.address import text
from holdfast.base.time import SECOND
from holdfast.config.plan import Settings, VrrpPlan
from holdfast.engine.node import NodeView
from holdfast.export.words import address_words, command_words, moment, owner_words, plain, yes
from holdfast.track.config import ScriptConfig
from holdfast.track.view import TrackerView
from holdfast.vrrp.config import AuthType, Family, InstanceConfig, NotifyCommands, VirtualAddress
from holdfast.vrrp.view import GroupView, InstanceView

ON = ("enabled", "disabled")
MASKED = "********"
AUTH_WORDS = {AuthType.NONE: "none", AuthType.PASS: "SIMPLE_PASSWORD", AuthType.AH: "IPSEC_AH"}

STATS = (
    ("  Advertisements:", None),
    ("    Received", "adverts_received"),
    ("    Sent", "adverts_sent"),
    ("  Became master", "became_master"),
    ("  Released master", "released_master"),
    ("  Packet Errors:", None),
    ("    Length", "packet_length_errors"),
    ("    TTL", "ttl_errors"),
    ("    Invalid Type", "invalid_type_received"),
    ("    Advertisement Interval", "advert_interval_errors"),
    ("    Address List", "address_list_errors"),
    ("  Authentication Errors:", None),
    ("    Invalid Type", "invalid_auth_type"),
    ("    Type Mismatch", "auth_type_mismatches"),
    ("    Failure", "auth_failures"),
    ("  Priority Zero:", None),
    ("    Received", "priority_zero_received"),
    ("    Sent", "priority_zero_sent"),
)
"""The lines of an instance in the statistics file, and the statistic each shows."""


def stats_text(view: NodeView) -> str:
    """The whole of `keepalived.stats`."""
    lines = []
    for instance in view.instances:
        lines.append(f"VRRP Instance: {instance.name}")
        for label, statistic in STATS:
            lines.append(label if statistic is None else f"{label}: {instance.statistics.get(statistic, 0)}")
    return "".join(f"{line}\n" for line in lines)


def parent_text(plan: VrrpPlan) -> str:
    """The whole of `keepalived_parent.data`."""
    return "".join(f"{line}\n" for line in global_lines(plan.settings))


def data_text(plan: VrrpPlan, view: NodeView) -> str:
    """The whole of `keepalived.data`; an instance that a reload is just removing is left out."""
    lines = [*global_lines(plan.settings), *_static_lines(plan), "------< VRRP Topology >------"]
    by_name = {config.name: config for config in plan.instances}
    waiting = {tracker.name for tracker in view.trackers if tracker.kind == "script" and tracker.up is None}
    for instance in view.instances:
        config = by_name.get(instance.name)
        if config is not None:
            lines += instance_lines(config, instance, waiting)
    if view.sync_groups:
        lines.append("------< VRRP Sync groups >------")
        notifies = {group.name: group.notify for group in plan.groups}
        for group in view.sync_groups:
            lines += group_lines(group, notifies.get(group.name, NotifyCommands()), view)
    if plan.scripts:
        lines.append("------< VRRP Scripts >------")
        running = {tracker.name: tracker for tracker in view.trackers if tracker.kind == "script"}
        for script in plan.scripts:
            lines += script_lines(script, running.get(script.name), plan)
    return "".join(f"{line}\n" for line in lines)


def _static_lines(plan: VrrpPlan) -> Iterator[str]:
    """Static routes and rules."""
    for heading, kind in (("Routes", "route "), ("Rules", "rule ")):
        entries = [entry.text for entry in plan.static_entries if entry.name.startswith(kind)]
        if entries:
            yield f"------< Static {heading} >------"
            yield from (f"     {text}" for text in entries)


def global_lines(settings: Settings) -> Iterator[str]:
    """The settings of the daemon as a whole."""
    scheduling = settings.scheduling
    yield "------< Global definitions >------"
    yield f" Network namespace = {settings.net_namespace or '(default)'}"
    if settings.instance_name:
        yield f" Instance name = {settings.instance_name}"
    yield f" Router ID = {settings.router_id}"
    if settings.dump_with_instance:
        yield " Use instance name in data dumps"
    yield f" Dynamic interfaces = {yes(settings.dynamic_interfaces)}"
    yield f" Allow interface changes = {yes(settings.allow_if_changes)}"
    yield f" FIFO write vrrp states on reload = {yes(settings.fifo_write_states_on_reload)}"
    if settings.notify_fifo is not None:
        yield f" Global notify fifo = {settings.notify_fifo.path}"
    if settings.vrrp_notify_fifo is not None:
        yield f" VRRP notify fifo = {settings.vrrp_notify_fifo.path}"
    if settings.startup_script is not None:
        yield f" Startup script = {command_words(settings.startup_script)}"
    if settings.shutdown_script is not None:
        yield f" Shutdown script = {command_words(settings.shutdown_script)}"
    yield f" VRRP IPv4 mcast group = {text(settings.group4)}"
    yield f" VRRP IPv6 mcast group = {text(settings.group6)}"
    yield f" VRRP startup delay = {settings.vrrp_startup_delay_ns / SECOND:g}"
    yield f" nftables {'with' if settings.nftables_counters else 'without'} counters"
    yield f" Max auto priority = {scheduling.max_auto_priority}"
    yield f" Min auto priority delay = {scheduling.min_auto_priority_delay_us} usecs"
    yield f" VRRP process priority = {scheduling.nice}"
    yield f" VRRP don't swap = {yes(scheduling.no_swap)}"
    yield f" VRRP realtime priority = {scheduling.rt_priority}"
    yield f" VRRP realtime limit = {scheduling.rt_time_limit_us}"
    yield f" vrrp_netlink_cmd_rcv_bufs = {settings.netlink_command_buffer_bytes}"
    yield f" vrrp_netlink_cmd_rcv_bufs_force = {int(settings.netlink_command_buffer_force)}"
    yield f" vrrp_netlink_monitor_rcv_bufs = {settings.netlink_monitor_buffer_bytes}"
    yield f" vrrp_netlink_monitor_rcv_bufs_force = {int(settings.netlink_monitor_buffer_force)}"
    yield f" rx_bufs_multiples = {settings.receive_buffer_multiplier}"
    yield f" umask = {0o177 if settings.umask is None else settings.umask:04o}"


def instance_lines(config: InstanceConfig, view: InstanceView, waiting: Collection[str] = ()) -> Iterator[str]:
    """One instance; `waiting` names the scripts that have no verdict yet."""
    yield f" VRRP Instance = {config.name}"
    yield f"   VRRP Version = {config.version}"
    if view.sync_group:
        yield f"   Sync group = {view.sync_group}"
    if config.family == Family.IPV6:
        yield "   Using Native IPv6"
    yield from _state_lines(config, view, waiting)
    yield from _election_lines(config, view)
    yield from _list("Virtual IP", config.addresses, config, view)
    yield from _list("Virtual IP Excluded", config.excluded, config, view)
    if config.unicast:
        yield f"   Unicast TTL = {255 if config.unicast_ttl is None else config.unicast_ttl}"
        yield f"   Check unicast src : {yes(config.check_unicast_source, ('yes', 'no'))}"
        yield "   Unicast Peer :"
        for peer in config.unicast_peers:
            low = 0 if peer.min_ttl is None else peer.min_ttl
            high = 255 if peer.max_ttl is None else peer.max_ttl
            yield f"     {text(peer.address)} min_ttl {low} max_ttl {high}"
    for heading, entries in (("Routes", config.routes), ("Rules", config.rules)):
        if entries:
            yield f"   Virtual {heading} :"
            yield from (f"     {entry.text}" for entry in entries)
    for kind, heading in (("interface", "interfaces"), ("script", "scripts"), ("file", "files"),
                          ("process", "processes"), ("bfd", "BFDs")):  # fmt: skip
        uses = [use for use in config.trackers if use.kind == kind]
        if uses:
            yield f"   Tracked {heading} :"
            for use in uses:
                yield f"     {use.name} weight {use.weight}{' reverse' if use.reverse else ''}"
    yield f"   Using smtp notification = {yes(config.notify.smtp_alert, ('yes', 'no'))}"
    yield f"   Notify deleted = {yes(config.notify.notify_deleted, ('Deleted', 'Fault'))}"
    yield from _notify_lines(config.notify)
    yield f"   Notify priority changes = {yes(config.notify_priority_changes)}"


def _state_lines(config: InstanceConfig, view: InstanceView, waiting: Collection[str]) -> Iterator[str]:
    changed = moment(view.since)
    yield f"   State = {view.state}"
    if view.state == "BACKUP" and view.master is not None:
        yield f"   Master router = {view.master.address}"
        yield f"   Master priority = {view.master.priority}"
        if config.version == 3:
            yield f"   Master advert int = {view.master_advert_interval_s:.2f} sec"
    if config.unicast:
        yield "   Flags:"
        yield "     Using unicast"
    else:
        yield "   Flags: none"
    yield f"   Wantstate = {view.state}"
    yield f"   Number of config faults = {len(config.faults)}"
    yield f"   Number of interface and track script faults = {max(len(view.faults) - len(config.faults), 0)}"
    undecided = [use for use in config.trackers if use.kind == "script" and use.name in waiting]
    yield f"   Number of track scripts init = {len(undecided)}"
    yield f"   Last transition = {changed.epoch_s} ({changed.local})"
    if config.interface:
        yield f"   Interface = {config.interface}"
    written = " (from configuration)" if config.source is not None else ""
    yield f"   Using src_ip = {view.source + written if view.source else '(none)'}"
    if config.group is not None:
        yield f"   Multicast address {text(config.group)}"


def _election_lines(config: InstanceConfig, view: InstanceView) -> Iterator[str]:
    announce = config.announce
    yield f"   Gratuitous ARP delay = {announce.master_delay_ns // SECOND}"
    yield f"   Gratuitous ARP repeat = {announce.master_repeat}"
    yield f"   Gratuitous ARP refresh = {announce.master_refresh_ns // SECOND}"
    yield f"   Gratuitous ARP refresh repeat = {announce.master_refresh_repeat}"
    yield f"   Gratuitous ARP lower priority delay = {announce.lower_prio_delay_ns // SECOND}"
    yield f"   Gratuitous ARP lower priority repeat = {announce.lower_prio_repeat}"
    yield f"   Down timer adverts = {config.down_timer_adverts}"
    yield f"   Send advert after receive lower priority advert = {yes(not config.lower_prio_no_advert)}"
    yield f"   Send advert after receive higher priority advert = {yes(config.higher_prio_send_advert)}"
    yield f"   Virtual Router ID = {config.vrid}"
    yield f"   Priority = {config.priority}"
    yield f"   Effective priority = {view.effective_priority}"
    yield f"   Total priority = {view.effective_priority}"
    if config.version == 2:
        yield f"   Advert interval = {config.adver_interval_ns // SECOND} sec"
    else:
        yield f"   Advert interval = {plain(config.adver_interval_ns / 1_000_000)} milli-sec"
    yield f"   Accept = {yes(config.accept, ON)}"
    yield f"   Preempt = {yes(config.preempt, ON)}"
    if config.preempt_delay_ns:
        yield f"   Preempt delay = {plain(config.preempt_delay_ns / SECOND)} secs"
    yield f"   Promote_secondaries = {yes(config.promote_secondaries, ON)}"
    if config.version == 2:
        yield f"   Authentication type = {AUTH_WORDS[config.auth_type]}"
        if config.auth_type is not AuthType.NONE:
            yield f"   Password = {MASKED}"


def _list(
    heading: str, addresses: tuple[VirtualAddress, ...], config: InstanceConfig, view: InstanceView
) -> Iterator[str]:
    if addresses:
        yield f"   {heading} ({len(addresses)}):"
        for address in addresses:
            yield f"     {address_words(address, config.interface, view.state == 'MASTER')}"


def _notify_lines(notify: NotifyCommands) -> Iterator[str]:
    for heading, command in (
        ("Backup", notify.backup),
        ("Master", notify.master),
        ("Fault", notify.fault),
        ("Stop", notify.stop),
        ("Deleted", notify.deleted),
        ("Generic", notify.any),
        ("Master rx lower pri", notify.master_rx_lower_pri),
    ):
        if command is not None:
            yield f"   {heading} state transition script = {command_words(command)}, uid:gid {owner_words(command)}"


def group_lines(group: GroupView, notify: NotifyCommands, view: NodeView) -> Iterator[str]:
    """One sync group."""
    states = [instance.state for instance in view.instances if instance.name in group.members]
    yield f" VRRP Sync Group = {group.name}, {group.state}"
    yield f"   Num member fault {states.count('FAULT')}, num member init {states.count('INIT')}"
    yield "   VRRP member instances :"
    for member in group.members:
        yield f"     {member}"
    yield f"   Using smtp notification = {yes(notify.smtp_alert, ('yes', 'no'))}"
    yield from _notify_lines(notify)


def script_lines(config: ScriptConfig, view: TrackerView | None, plan: VrrpPlan) -> Iterator[str]:
    """One tracking script."""
    timeout_ns = 0 if config.command.timeout_ns == config.interval_ns else config.command.timeout_ns
    yield f" VRRP Script = {config.name}"
    yield f"   Command = {command_words(config.command)}"
    yield f"   Interval = {plain(config.interval_ns / SECOND)} sec"
    yield f"   Timeout = {plain(timeout_ns / SECOND)} sec"
    yield f"   Weight = {config.weight}{' reverse' if config.reverse else ''}"
    yield f"   Rise = {config.rise}"
    yield f"   Fall = {config.fall}"
    yield f"   Result = {view.counter if view else config.rise - 1}"
    yield "   Insecure = no"
    yield f"   Init state = {'failed' if config.init_fail else 'unknown'}"
    yield f"   Status = {'GOOD' if view is not None and view.up else 'BAD'}"
    yield f"   Script uid:gid = {owner_words(config.command)}"
    yield "   VRRP instances :"
    yield "   Tracking instances :"
    for instance in plan.instances:
        for use in instance.trackers:
            if (use.kind, use.name) == ("script", config.name):
                yield f"     {instance.name}, weight {use.weight}{' reverse' if use.reverse else ''}"
    yield f"   State = {'running' if view is not None and view.running else 'idle'}"
