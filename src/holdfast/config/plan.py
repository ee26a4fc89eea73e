"""The plan: what the configuration comes to, ready to be handed to the workers as bytes."""

from collections.abc import Iterator

import msgspec

from holdfast.base.address import VRRP_GROUP_4, VRRP_GROUP_6, Address, text
from holdfast.base.command import Command
from holdfast.base.time import Nanoseconds
from holdfast.bfd.config import SessionConfig
from holdfast.track.config import FileConfig, LinkConfig, ProcessConfig, ScriptConfig
from holdfast.vrrp.config import GroupConfig, InstanceConfig, StaticAddress, VirtualDevice, hidden
from holdfast.vrrp.routes import RouteEntry


class Scheduling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the kernel is to schedule one process (`vrrp_priority`, `vrrp_rt_priority` …)."""

    nice: int = 0
    rt_priority: int = 0  # 0: the ordinary class
    rt_time_limit_us: int = 10_000
    no_swap: bool = False
    cpu_affinity: tuple[int, ...] = ()
    max_auto_priority: int = 0
    min_auto_priority_delay_us: int = 1_000_000


class Fifo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named pipe that gets a line an event, and the script that may read it."""

    path: str
    uid: int | None = None
    gid: int | None = None
    script: Command | None = None


class MailConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The relay, and whom is written to; `router_id` begins each subject."""

    server: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    helo: str
    router_id: str = ""
    timeout_ns: Nanoseconds = 30_000_000_000
    faults: bool = True  # of instances and groups that enter FAULT, too


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `global_defs` and the root keywords come to, for the daemon as a whole."""

    router_id: str = ""
    instance_name: str = ""  # `instance NAME`
    net_namespace: str = ""
    net_namespace_ipvs: str | None = None  # "": the one the daemon was started in
    use_pid_dir: bool = False
    child_wait_time_ns: Nanoseconds = 5_000_000_000
    process_names: dict[str, str] = {}  # parent, vrrp, checker, bfd → name
    umask: int | None = None
    vrrp_startup_delay_ns: Nanoseconds = 0
    address_probe_ns: Nanoseconds = 60_000_000_000  # `vrrp_address_probe`; 0: never
    vrrp_delay_after_boot_ns: Nanoseconds = 0
    group4: Address = VRRP_GROUP_4
    group6: Address = VRRP_GROUP_6
    log_unknown_vrids: bool = False
    scheduling: Scheduling = Scheduling()  # of the vrrp worker
    receive_buffer_policy: str = ""  # "", MTU, ADVERT or a number of bytes
    receive_buffer_multiplier: int = 3
    netlink_monitor_buffer_bytes: int = 0
    netlink_monitor_buffer_force: bool = False
    netlink_command_buffer_bytes: int = 0
    netlink_command_buffer_force: bool = False
    process_monitor_buffer_bytes: int = 0
    process_monitor_buffer_force: bool = False
    notify_fifo: Fifo | None = None
    vrrp_notify_fifo: Fifo | None = None
    lvs_notify_fifo: Fifo | None = None
    fifo_write_states_on_reload: bool = False
    json_version: int = 1
    dump_with_instance: bool = False  # `data_use_instance`
    state_dump_file: str = ""
    nftables_table: str = "keepalived"
    nftables_priority: int = -1
    nftables_counters: bool = False
    script_security: bool = False  # `enable_script_security`
    startup_script: Command | None = None
    startup_script_timeout_ns: Nanoseconds = 10_000_000_000
    shutdown_script: Command | None = None
    shutdown_script_timeout_ns: Nanoseconds = 10_000_000_000
    reload_check_log: str = ""
    reload_file: str = ""
    reload_time_file: str = ""
    reload_repeat: bool = False
    config_save_dir: str = ""
    mail: MailConfig | None = None
    dbus_service: str = ""  # `enable_dbus` and its name; "": not on the bus
    dbus_no_interface: str = ""  # "": none
    web_listen: str = ""  # ADDRESS:PORT of the web worker; "": none
    web_token_file: str = ""  # "": nobody changes anything by the web
    disable_local_igmp: bool = False
    dynamic_interfaces: bool = False
    allow_if_changes: bool = False


class VrrpPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that the vrrp worker and the supervisor's listeners need."""

    settings: Settings = Settings()
    instances: tuple[InstanceConfig, ...] = ()
    groups: tuple[GroupConfig, ...] = ()
    scripts: tuple[ScriptConfig, ...] = ()
    files: tuple[FileConfig, ...] = ()
    processes: tuple[ProcessConfig, ...] = ()
    bfd: tuple[SessionConfig, ...] = ()
    links: tuple[LinkConfig, ...] = ()
    statics: tuple[StaticAddress, ...] = ()
    static_entries: tuple[RouteEntry, ...] = ()  # routes, then rules
    devices: tuple[VirtualDevice, ...] = ()
    garp_groups: tuple[tuple[str, ...], ...] = ()  # interfaces that share one pace of announcements


def covered(plan: VrrpPlan, salt: bytes) -> VrrpPlan:
    """The plan with something else for each password and key, by which two plans of one `salt` can be compared."""
    from _blake2 import blake2b  # hashlib would bring all of OpenSSL into the daemon

    def stands_for(secret: bytes) -> bytes:
        return blake2b(secret, key=salt, digest_size=8).digest()

    return msgspec.structs.replace(plan, instances=tuple(hidden(one, stands_for) for one in plan.instances))


def plan_lines(value: object, name: str = "plan") -> Iterator[str]:
    """What a plan comes to, a line a value that is not the default: `plan.instances.0.vrid = 51` (`-d`)."""
    if isinstance(value, msgspec.Struct):
        defaults = dict(zip(reversed(value.__struct_fields__), reversed(value.__struct_defaults__), strict=False))
        for field in value.__struct_fields__:
            inner = getattr(value, field)
            if field not in defaults or defaults[field] != inner:
                yield from plan_lines(inner, f"{name}.{field}")
    elif isinstance(value, tuple) and value and not isinstance(value[0], str | int):
        for number, inner in enumerate(value):
            yield from plan_lines(inner, f"{name}.{number}")
    elif isinstance(value, bytes):
        secret = name.endswith(("auth_pass", "secret", "password"))
        yield f"{name} = {'********' if secret else text(Address(value)) if len(value) in (4, 16) else value.hex()}"
    else:
        yield f"{name} = {value}"
