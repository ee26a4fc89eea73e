"""`global_defs` and the root keywords to `Settings`, and the defaults instances inherit."""

from typing import Any

import msgspec

from holdfast.base.address import VRRP_GROUP_4, VRRP_GROUP_6, is_multicast
from holdfast.base.problem import Grade
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.context import TRACK_DIRECTORIES, Context, get, last_values
from holdfast.config.findings import Condition, Trouble
from holdfast.config.plan import Fifo, Scheduling, Settings
from holdfast.config.scripts import Identity, Scripts
from holdfast.config.tree import Node
from holdfast.config.values import parse_address
from holdfast.vrrp.config import USUAL_ANNOUNCE, AnnounceConfig

FIRST_KEPT = (
    "startup_script",
    "shutdown_script",
    "nftables",
    "vrrp_iptables",
    "vmac_prefix",
    "lvs_sync_daemon",
    "notify_fifo",
    "vrrp_notify_fifo",
    "lvs_notify_fifo",
    "tmp_config_directory",
    "snmp_socket",
    "instance",
    "net_namespace",
)


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance has unless it says otherwise."""

    version: int = 2
    announce: AnnounceConfig = AnnounceConfig()
    down_timer_adverts: int = 3
    lower_prio_no_advert: bool = False
    higher_prio_send_advert: bool = False
    checksum_as_v2: bool = False
    check_unicast_source: bool = False
    skip_check_adv_addr: bool = False
    strict: bool = False
    owner_ignore_adverts: bool | None = None
    notify_priority_changes: bool = False
    track_directories: tuple[str, ...] = TRACK_DIRECTORIES


def global_settings(context: Context, nodes: list[Node]) -> dict[str, Node]:
    """The lines of all `global_defs` blocks and the root level that hold one value: the last, or the first of some."""
    lines = [line for node in nodes if node.name == "global_defs" for line in node.children or []]
    lines += [node for node in nodes if node.children is None and not node.line.keyword.opens]
    settings = last_values(lines)
    seen: dict[str, Node] = {}
    for node in lines:
        if node.name not in FIRST_KEPT:
            continue
        first = seen.setdefault(node.name, node)
        settings[node.name] = first
        if first is not node:
            context.tell(
                node,
                Trouble(
                    f"{node.name} stands here a second time",
                    "keep one",
                    "the first is taken",
                    phrase=f"{node.name} has already been specified - ignoring",
                ),
            )
    _mail(context, lines, settings)
    return settings


def _mail(context: Context, lines: list[Node], settings: dict[str, Node]) -> None:
    """What the reference says of mail when it reads it."""
    for node in lines:
        if node.name == "notification_email" and not node.children:
            phrase = "Warning - empty notification_email block"
            context.tell(node, Trouble("notification_email names nobody", "list addresses", "no mail", phrase=phrase))
    server = settings.get("smtp_server")
    if server is not None and context.interfaces is not None and not context.disk.resolves(server.value[0]):
        host, port = server.value
        phrase = f"Invalid smtp server {host} {port}"
        context.tell(server, Trouble(f"{host} can't be resolved", "write an address", "no mail", word=1, phrase=phrase))


def set_up_scripts(context: Context, settings: dict[str, Node]) -> None:
    """Who runs scripts, and how strict their checks are."""
    context.scripts = scripts = Scripts(
        context.disk,
        secure="enable_script_security" in settings,
        keep_links=get(settings, "use_symlink_paths", False),
        all_groups=get(settings, "set_supplementary_groups", False),
    )
    scripts.directories = context.directories
    node = settings.get("script_user")
    if node is not None:
        identity, troubles = scripts.identity(node.value)
        if identity is None:
            for trouble in troubles:
                changed = msgspec.structs.replace(
                    trouble, meanwhile="scripts without a user of their own are not run",
                    phrase="Error setting global script uid/gid",
                )  # fmt: skip
                context.tell(node, changed)
            scripts.default_missing = True
            return
        scripts.default = identity
        return
    found = context.disk.user("keepalived_script")
    if found is not None:
        scripts.default = Identity(found[0], found[1])
    elif scripts.secure:
        scripts.default_missing = True


def read_defaults(settings: dict[str, Node]) -> Defaults:
    """The defaults of instances."""
    lower_delay = get(settings, "vrrp_garp_lower_prio_delay", None)
    lower_repeat = get(settings, "vrrp_garp_lower_prio_repeat", None)
    brief = get(settings, "vrrp_min_garp", False)
    delay = get(settings, "vrrp_garp_master_delay", 0 if brief else 5 * SECOND)
    repeat = get(settings, "vrrp_garp_master_repeat", 1 if brief else 5)
    announce = AnnounceConfig(
        master_delay_ns=delay,
        master_repeat=repeat,
        master_refresh_ns=get(settings, "vrrp_garp_master_refresh", 0),
        master_refresh_repeat=get(settings, "vrrp_garp_master_refresh_repeat", 1),
        lower_prio_delay_ns=delay if lower_delay is None else lower_delay,
        lower_prio_repeat=repeat if lower_repeat is None else lower_repeat,
        garp_interval_ns=get(settings, "vrrp_garp_interval", 0),
        gna_interval_ns=get(settings, "vrrp_gna_interval", 0),
        **extra_interfaces(settings, "vrrp_garp_extra_if", "vrrp_vmac_garp_intvl"),
    )
    directory = get(settings, "track_script_dir", TRACK_DIRECTORIES[0])
    return Defaults(
        version=get(settings, "vrrp_version", 2),
        announce=USUAL_ANNOUNCE if announce == USUAL_ANNOUNCE else announce,
        down_timer_adverts=get(settings, "vrrp_down_timer_adverts", 3),
        lower_prio_no_advert=get(settings, "vrrp_lower_prio_no_advert", False),
        higher_prio_send_advert=get(settings, "vrrp_higher_prio_send_advert", False),
        checksum_as_v2="v3_checksum_as_v2" in settings,  # whatever its argument, as the reference
        check_unicast_source="vrrp_check_unicast_src" in settings,
        skip_check_adv_addr=get(settings, "vrrp_skip_check_adv_addr", False),
        strict=get(settings, "vrrp_strict", False),
        owner_ignore_adverts=get(settings, "vrrp_owner_ignore_adverts", None),
        notify_priority_changes=get(settings, "vrrp_notify_priority_changes", False),
        track_directories=(directory, *TRACK_DIRECTORIES[1:]),
    )


def read_settings(context: Context, settings: dict[str, Node]) -> Settings:
    """The settings of the daemon as a whole."""
    reload_file = get(settings, "reload_file", None)
    reload_log = get(settings, "reload_check_config", None)
    startup_s = get(settings, "startup_script_timeout", 10 * SECOND)
    shutdown_s = get(settings, "shutdown_script_timeout", 10 * SECOND)
    return Settings(
        router_id=get(settings, "router_id", ""),
        instance_name=get(settings, "instance", ""),
        net_namespace=get(settings, "net_namespace", ""),
        net_namespace_ipvs=_optional_word(settings, "net_namespace_ipvs"),
        use_pid_dir="use_pid_dir" in settings,
        child_wait_time_ns=get(settings, "child_wait_time", 5 * SECOND),
        process_names=_process_names(settings),
        umask=get(settings, "umask", None),
        script_security="enable_script_security" in settings,
        vrrp_startup_delay_ns=get(settings, "vrrp_startup_delay", 0),
        address_probe_ns=get(settings, "vrrp_address_probe", 60 * SECOND),
        vrrp_delay_after_boot_ns=get(settings, "vrrp_delay_after_boot", 0),
        group4=_group(context, settings.get("vrrp_mcast_group4"), VRRP_GROUP_4),
        group6=_group(context, settings.get("vrrp_mcast_group6"), VRRP_GROUP_6),
        log_unknown_vrids="log_unknown_vrids" in settings,
        scheduling=read_scheduling(context, settings),
        receive_buffer_policy=get(settings, "vrrp_rx_bufs_policy", ""),
        receive_buffer_multiplier=get(settings, "vrrp_rx_bufs_multiplier", 3),
        process_monitor_buffer_bytes=get(settings, "process_monitor_rcv_bufs", 0),
        process_monitor_buffer_force=get(settings, "process_monitor_rcv_bufs_force", False),
        netlink_monitor_buffer_bytes=get(settings, "vrrp_netlink_monitor_rcv_bufs", 0),
        netlink_monitor_buffer_force=get(settings, "vrrp_netlink_monitor_rcv_bufs_force", False),
        netlink_command_buffer_bytes=get(settings, "vrrp_netlink_cmd_rcv_bufs", 0),
        netlink_command_buffer_force=get(settings, "vrrp_netlink_cmd_rcv_bufs_force", False),
        notify_fifo=_fifo(context, settings, "notify_fifo"),
        vrrp_notify_fifo=_fifo(context, settings, "vrrp_notify_fifo"),
        lvs_notify_fifo=_fifo(context, settings, "lvs_notify_fifo"),
        fifo_write_states_on_reload="fifo_write_vrrp_states_on_reload" in settings,
        json_version=int(get(settings, "json_version", "1")),
        dump_with_instance=get(settings, "data_use_instance", False),
        state_dump_file=get(settings, "state_dump_file", ""),
        nftables_table=get(settings, "nftables", None) or "keepalived",
        nftables_priority=get(settings, "nftables_priority", -1),
        nftables_counters="nftables_counters" in settings,
        startup_script=_script(context, settings.get("startup_script"), startup_s),
        startup_script_timeout_ns=startup_s,
        shutdown_script=_script(context, settings.get("shutdown_script"), shutdown_s),
        shutdown_script_timeout_ns=shutdown_s,
        reload_check_log="" if "reload_check_config" not in settings else reload_log or "/dev/null",
        reload_file="" if reload_file is None else reload_file or "keepalived.reload",
        reload_time_file=get(settings, "reload_time_file", ""),
        reload_repeat="reload_repeat" in settings,
        config_save_dir=get(settings, "config_save_dir", ""),
        dbus_service=get(settings, "dbus_service_name", "org.keepalived.Vrrp1") if "enable_dbus" in settings else "",
        dbus_no_interface=get(settings, "dbus_no_interface_name", ""),
        web_listen=_listen(context, settings.get("web_listen")),
        web_token_file=get(settings, "web_token_file", ""),
        disable_local_igmp="disable_local_igmp" in settings,
        dynamic_interfaces="dynamic_interfaces" in settings,
        allow_if_changes=get(settings, "dynamic_interfaces", None) == "allow_if_changes",
    )


def _listen(context: Context, node: Node | None) -> str:
    """ADDRESS:PORT of the web worker; what is none is told, and there is no web worker."""
    if node is None:
        return ""
    host, _, port = node.value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        parse_address(bare)
    except ValueError:
        port = ""
    if port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return str(node.value)
    what, cure = f"'{node.value}' is no ADDRESS:PORT", "write 127.0.0.1:9650, or [::1]:9650"
    context.tell(node, Trouble(what, cure, "there is no web worker"))
    return ""


def _optional_word(settings: dict[str, Node], name: str) -> str | None:
    """The word of a keyword that may stand alone ("" then); None without the keyword."""
    return (settings[name].value or "") if name in settings else None


def _script(context: Context, node: Node | None, timeout_ns: Nanoseconds) -> Any:
    return None if node is None else context.script(node, timeout_ns=timeout_ns)


def _process_names(settings: dict[str, Node]) -> dict[str, str]:
    names = {}
    if "process_names" in settings:
        names = {
            "parent": "keepalived",
            "vrrp": "keepalived_vrrp",
            "checker": "keepalived_lvs",
            "bfd": "keepalived_bfd",
        }
    for who, keyword in (
        ("parent", "process_name"),
        ("vrrp", "vrrp_process_name"),
        ("checker", "lvs_process_name"),
        ("checker", "checker_process_name"),
        ("bfd", "bfd_process_name"),
    ):
        if keyword in settings:
            names[who] = settings[keyword].value[:15]
    return names


def _group(context: Context, node: Node | None, default: Any) -> Any:
    if node is None:
        return default
    if len(node.value) == len(default) and is_multicast(node.value):
        return node.value
    context.tell(
        node,
        Trouble(
            f"{node.line.words[1]} is not a multicast address of that family",
            "use one of 224.0.0.0/24 or ff02::/16",
            "the default is kept",
            word=1,
        ),
    )
    return default


def read_scheduling(context: Context, settings: dict[str, Node], who: str = "vrrp") -> Scheduling:
    """How a worker is scheduled: `vrrp_…` or `checker_…`."""
    processors: list[int] = []
    node = settings.get(f"{who}_cpu_affinity")
    if node is not None:
        for position, word in enumerate(node.value, 1):
            if word.isdecimal() and word.isascii() and int(word[:6]) < 4096:
                processors.append(int(word))
            else:
                context.tell(
                    node,
                    Trouble(f"{word!r} is not the number of a processor", "count from 0", word=position),
                )
    automatic = settings.get("max_auto_priority")
    return Scheduling(
        nice=get(settings, f"{who}_priority", 0),
        rt_priority=get(settings, f"{who}_rt_priority", 0),
        rt_time_limit_us=get(settings, f"{who}_rlimit_rttime", get(settings, f"{who}_rlimit_rtime", 10_000)),
        no_swap=f"{who}_no_swap" in settings,
        cpu_affinity=tuple(processors),
        max_auto_priority=0 if automatic is None else 99 if automatic.value is None else max(0, automatic.value),
        min_auto_priority_delay_us=get(settings, "min_auto_priority_delay", 1_000_000),
    )


def _fifo(context: Context, settings: dict[str, Node], name: str) -> Fifo | None:
    node = settings.get(name)
    if node is None:
        if f"{name}_script" in settings:
            what = f"{name}_script without {name}"
            trouble = Trouble(what, f"name the pipe: {name} PATH", "it is not run", Grade.WARNING)
            context.tell(settings[f"{name}_script"], msgspec.structs.replace(trouble, condition=Condition.GENERAL))
        return None
    path, user = node.value
    uid = gid = None
    if user:
        identity, troubles = context.scripts.identity(user)
        for trouble in troubles:
            context.tell(node, msgspec.structs.replace(trouble, meanwhile="the pipe belongs to the daemon's user"))
        if identity is not None:
            uid, gid = identity.uid, identity.gid
    script = settings.get(f"{name}_script")
    command = context.script(script) if script is not None else None
    if command is not None:
        command = msgspec.structs.replace(command, argv=(*command.argv, path))
    return Fifo(path=path, uid=uid, gid=gid, script=command)


def extra_interfaces(settings: dict[str, Node], *names: str) -> dict[str, Any]:
    """What the first of the lines `garp_extra_if` and its old name says: [all] SECONDS."""
    node = next((settings[name] for name in names if name in settings), None)
    return {} if node is None else {"extra_all": node.value[0], "extra_ns": node.value[1] * SECOND}
