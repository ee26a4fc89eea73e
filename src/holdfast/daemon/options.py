"""What the command line asks of the daemon, whichever of the two commands was used."""

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `holdfast run` and `holdfast-keepalived`, in one form."""

    config_file: str = "/etc/keepalived/keepalived.conf"
    config_id: str = ""  # for @ID lines; "": the host name up to its first dot
    run_dir: str = "/run/holdfast"  # control.sock, state, pid files
    parent_pid_file: str = ""  # "": holdfast.pid in run_dir
    vrrp_pid_file: str = ""  # "": vrrp.pid in run_dir
    checkers_pid_file: str = ""
    bfd_pid_file: str = ""
    foreground: bool = True
    compatible: bool = False  # stand in for keepalived: its idents, pid files, exit statuses and dumps
    run_vrrp: bool = True
    run_checkers: bool = True
    run_bfd: bool = True
    log_console: bool = True
    log_syslog: bool = False
    log_facility: int = 3  # daemon, as in syslog(3)
    log_file: str = ""
    log_flush: bool = False
    log_json: bool = False
    log_detail: int = 0
    dump_config: bool = False
    log_addresses: bool = False  # -a: every address added or removed on this host
    release_vips: bool = False  # -X
    keep_vrrp_addresses: bool = False  # -V: leave addresses in place when stopping
    keep_services: bool = False  # -I: leave virtual servers in the kernel when stopping
    respawn: bool = True
    all_includes_checked: bool = False  # -e
    net_namespace: str = ""
    ipvs_network: str = ""  # path of the network namespace of the IPVS table; "": the daemon's
    ipvs_network_fd: int = -1  # or the supervisor's descriptor of it
    umask: int | None = None
    ignore_sigint: bool = False
    core_dump: bool = False
    web: str = ""  # ADDRESS:PORT of the web worker; "": as `web_listen` says
    web_token_file: str = ""
