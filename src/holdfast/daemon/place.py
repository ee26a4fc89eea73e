"""Where a daemon lives: its network namespace, its run directory, its pid files."""

import os

import msgspec

from holdfast.config.plan import Settings
from holdfast.daemon.options import Options
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.namespaces import FIRST_NETWORK, NAMED, join_network, show_directory_as

KEEPALIVED_RUN_DIR = "/run/keepalived"

PID_FILES = (
    ("parent_pid_file", "keepalived"),
    ("vrrp_pid_file", "vrrp"),
    ("checkers_pid_file", "checkers"),
    ("bfd_pid_file", "bfd"),
)
"""The options that name pid files, and what keepalived calls them."""


def settle(options: Options, settings: Settings) -> Options:
    """Join the network namespace asked for; the options as they are there. Raises KernelRefused.

    The namespace of the command line goes before the configuration's. A daemon in namespace N has its files in N's
    folder of the run directory, unless another one was named: `/run/holdfast/N`. Standing in for keepalived it sees
    `/run/keepalived/N` as `/run/keepalived`, as keepalived does, so that scripts find its files where they look.
    """
    name = options.net_namespace or settings.net_namespace
    table = ipvs_network(settings, bool(name))
    if table == FIRST_NETWORK:  # its name must not change with the process that is asked
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        options = msgspec.structs.replace(options, ipvs_network_fd=home)
    elif table:
        options = msgspec.structs.replace(options, ipvs_network=table)
    if name:
        join_network(name)
        options = _at_home(msgspec.structs.replace(options, net_namespace=name))
    if options.compatible:
        options = _with_pid_files(options, settings)
    try:
        os.makedirs(options.run_dir, mode=0o755, exist_ok=True)
    except OSError as refused:
        raise KernelRefused("make the run directory", options.run_dir, refused.errno or 0, _CHOOSE) from None
    return options


_CHOOSE = "choose one with --run-dir"


def ipvs_network(settings: Settings, elsewhere: bool) -> str:
    """The network namespace of the IPVS table, as a path; "" when it is the daemon's own."""
    name = settings.net_namespace_ipvs
    if name is None or (not name and not elsewhere):
        return ""
    return f"{NAMED}/{name}" if name else FIRST_NETWORK


def _at_home(options: Options) -> Options:
    """With the files of this namespace's daemon apart from those of others."""
    run_dir, name = options.run_dir, options.net_namespace
    own = os.path.join(run_dir, name)
    if run_dir == KEEPALIVED_RUN_DIR and options.compatible:
        try:
            os.makedirs(own, mode=0o755, exist_ok=True)
            show_directory_as(own, run_dir)
        except OSError as refused:
            cure = "grant CAP_SYS_ADMIN, or name another place with -p"
            raise KernelRefused(f"show {own} as", run_dir, refused.errno or 0, cure) from None
    elif run_dir == Options().run_dir:
        return msgspec.structs.replace(options, run_dir=own)
    return options


def _with_pid_files(options: Options, settings: Settings) -> Options:
    """Pid files nobody named are in /run/keepalived with `use_pid_dir`, `instance` or a namespace."""
    name = settings.instance_name
    if not (name or settings.use_pid_dir or options.net_namespace):
        return options
    suffix = f"_{name}" if name else ""
    named = {}
    for field, stem in PID_FILES:
        if getattr(options, field) in ("", f"/run/{stem}.pid"):
            named[field] = f"{KEEPALIVED_RUN_DIR}/{stem}{suffix}.pid"
    return msgspec.structs.replace(options, **named)


def log_suffix(options: Options, settings: Settings) -> str:
    """What follows keepalived's names in the log: `_NAMESPACE_INSTANCE`; nothing where there is neither."""
    parts = (options.net_namespace, settings.instance_name) if options.compatible else ()
    return "".join(f"_{part}" for part in parts if part)
