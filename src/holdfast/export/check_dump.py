"""`keepalived_check.data`, as keepalived's checker process lays it out: services, real servers, checkers.

What a file says of a whole virtual server for all its checks is settled in each check when it is read: delay_loop and
alpha are shown as the first check has them, a timeout, a number of retries and a virtualhost only there. The addresses
of a group stand one by one, for each is a service of its own.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from holdfast.base.address import Address, text
from holdfast.base.ipvs import (
    HOST_MASK,
    INET,
    PROTOCOL_NAMES,
    Forwarding,
    Method,
    ServiceFlags,
    TunnelFlags,
    TunnelType,
)
from holdfast.base.time import MICROSECOND, SECOND
from holdfast.check.config import (
    CONNECT_TIMEOUT_NS,
    DELAY_LOOP_NS,
    BfdCheck,
    Check,
    DnsCheck,
    FileCheck,
    HttpCheck,
    MiscCheck,
    Pace,
    SmtpCheck,
    Target,
    UdpCheck,
    Url,
    kind_of,
)
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.config.plan import Settings
from holdfast.export.dumps import ON, global_lines
from holdfast.export.words import command_words, moment_words, owner_words, yes
from holdfast.lvs.config import RealServerConfig, SorryServerConfig, VirtualServerConfig

SWITCH = ("ON", "OFF")
ANSWER = ("yes", "no")
UDP = 17
_GROUP = "group "
_NO_RUN = "0.000000 (Thu Jan  1 00:00:00 1970.000000)"
_CHECKSUMS = {
    TunnelFlags.NOCSUM: "no checksum",
    TunnelFlags.CSUM: "checksum",
    TunnelFlags.REMCSUM: "remote checksum",
}

Row = dict[str, Any]
"""A virtual server, a real server or a check as `status --json` shows it."""


def check_text(settings: Settings, plan: BalancerPlan, rows: list[Row]) -> str:
    """The whole of `keepalived_check.data`; `rows`: `virtual_servers` of the status, {} stands for a missing one."""
    known = {str(row.get("label")): row for row in rows}
    lines = [*global_lines(settings), "------< SSL definitions >------", " Using autogen SSL context"]
    if plan.lvs.services:
        lines += ["------< LVS Topology >------", " System is compiled with LVS v1.2.1"]
    groups = [service for service in plan.lvs.services if service.name.startswith(_GROUP)]
    if groups:
        lines.append(" ------< Virtual server group >------")
        for service in groups:
            lines += _group_lines(service)
    for service in plan.lvs.services:
        lines += _service_lines(service, known.get(service.label, {}), plan.checks)
    if plan.checks:
        lines.append("------< Health checkers >------")
    for use in _uses(plan, known):
        lines += _checker_lines(use)
    lines += _track_file_lines(plan, known)
    lines += _track_bfd_lines(plan)
    return "".join(f"{line}\n" for line in lines)


def _track_file_lines(plan: BalancerPlan, known: dict[str, Row]) -> Iterator[str]:
    if plan.files:
        yield "------< Checker track files >------"
    for file in plan.files:
        yield f" Track file = {file.name}"
        yield f"   File = {file.path}"
        status, tracking = 0, []
        for use in _uses(plan, known):
            check = use.check
            if isinstance(check, FileCheck) and check.track_file == file.name:
                tracking.append(f"     {use.service} -> {use.server}, {_weight(check)}")
                factor = -check.weight if check.reverse else check.weight
                status = use.state.get("weight_change", 0) // factor if factor else status
        yield f"   Status = {status}"
        yield f"   Weight = {file.weight}"
        yield "   Tracking instances :"
        yield from tracking


def _track_bfd_lines(plan: BalancerPlan) -> Iterator[str]:
    names = sorted({check.name for check in plan.checks if isinstance(check, BfdCheck)})
    if names:
        yield "------< Checker track BFDs >------"
    for name in names:
        yield f" Checker Track BFD = {name}"
        yield "   Tracking RS :"
        for use in _uses(plan, {}):
            if isinstance(use.check, BfdCheck) and use.check.name == name:
                yield f"   {use.server}"


class _Use(NamedTuple):
    """A check of a server, and how it stands."""

    service: str
    server: str
    check: Check
    state: Row
    alpha: bool
    enabled: bool


def _uses(plan: BalancerPlan, known: dict[str, Row]) -> Iterator[_Use]:
    """Every check of every server; one that several share is there for each."""
    for service in plan.lvs.services:
        row = known.get(service.label, {})
        rows = _server_rows(row)
        for place, server in enumerate(service.servers):
            told = rows[place].get("checks", []) if place < len(rows) else []
            here = _endpoint(server.address, service.protocol, server.port)
            for order, number in enumerate(server.checks):
                state = told[order] if order < len(told) else {}
                alpha = number in server.alpha_checks
                yield _Use(service.label, here, plan.checks[number], state, alpha, not row.get("suspended"))


def _weight(check: FileCheck) -> str:
    return f"weight {check.weight}{' reverse' if check.reverse else ''}"


def _protocol(number: int) -> str:
    return PROTOCOL_NAMES.get(number, "none")


def _endpoint(address: Address, protocol: int, port: int) -> str:
    return f"[{text(address)}]:{_protocol(protocol)}:{port}"


def _server_rows(row: Row) -> list[Row]:
    servers: list[Row] = row.get("real_servers", [])
    return servers


def _group_lines(service: VirtualServerConfig) -> Iterator[str]:
    families = {key.family for key in service.keys}
    has4, has6 = yes(INET in families, ANSWER), yes(bool(families - {INET}), ANSWER)
    yield f" Virtual Server Group = {service.name.removeprefix(_GROUP)}, IPv4 = {has4}, IPv6 = {has6}"
    for key in service.keys:
        if key.fwmark:
            yield f"   FWMARK = {key.fwmark}"
            yield f"     Alive: {int(key.family == INET)} IPv4, {int(key.family != INET)} IPv6"
        else:
            yield f"   VIP = {text(Address(key.address))}, VPORT = {key.port}"
            alive = ", ".join(f"{int(_protocol(key.protocol) == name)} {name}" for name in ("tcp", "udp", "sctp"))
            yield f"     Alive: {alive}"
        yield "     reloaded = False"


def _service_lines(service: VirtualServerConfig, row: Row, checks: tuple[Check, ...]) -> Iterator[str]:
    first, kernel = service.keys[0], service.service
    yield " ------< Virtual server >------"
    if service.name.startswith(_GROUP):
        yield f" VS GROUP = {service.label}"
    elif first.fwmark:
        yield f" VS FWMARK = {first.fwmark}"
    else:
        yield f" VS VIP = {text(Address(first.address))}, VPORT = {first.port}"
    own = [checks[number] for server in service.servers for number in server.checks]
    yield f"   Address family = {'inet' if first.family == INET else 'inet6'}"
    yield f"   connection timeout = {CONNECT_TIMEOUT_NS / SECOND:.6f}"
    yield f"   delay_loop = {_delay_loop(own)}"
    yield f"   lvs_sched = {kernel.scheduler}"
    yield from _flag_lines(service)
    if kernel.flags & ServiceFlags.PERSISTENT:
        yield f"   persistence timeout = {kernel.timeout_s}"
        if first.family == INET and kernel.netmask != HOST_MASK[INET]:
            yield f"   persistence granularity = {_mask(kernel.netmask)}"
        elif first.family != INET and service.netmask6 != 128:
            yield f"   persistence granularity = {service.netmask6}"
    yield f"   protocol = {_protocol(service.protocol).upper() if service.protocol else 'none'}"
    servers = service.servers
    yield f"   alpha is {yes(any(one.alpha_checks for one in servers), SWITCH)}"
    yield f"   omega is {yes(service.omega, SWITCH)}"
    yield f"   Inhibit on failure is {yes(bool(servers) and all(one.inhibit for one in servers), SWITCH)}"
    yield f"   quorum = {service.quorum}, hysteresis = {service.hysteresis}"
    for word, command in (("up", service.quorum_up), ("down", service.quorum_down)):
        if command is not None:
            yield f"   Quorum {word} notify script = {command_words(command)}, uid:gid {owner_words(command)}"
    if service.ha_suspend:
        yield "   Using HA suspend"
    yield f"   Using smtp notification = {yes(bool(service.smtp_alert), ANSWER)}"
    yield f"   default forwarding method = {_forwarding(service.forwarding)}"
    if service.sorry is not None:
        yield from _sorry_lines(service.sorry, service.protocol)
    yield "   alive = 1"
    yield f"   quorum_state_up = {int(bool(row.get('quorum_met')))}"
    yield "   reloaded = 0"
    rows = _server_rows(row)
    for number, server in enumerate(servers):
        mine = [checks[one] for one in server.checks]
        yield from _server_lines(server, rows[number] if number < len(rows) else {}, mine)


def _flag_lines(service: VirtualServerConfig) -> Iterator[str]:
    flags, scheduler = service.service.flags, service.service.scheduler
    yield f"   Hashed = {yes(bool(flags & ServiceFlags.HASHED), ON)}"
    named: tuple[tuple[str, int], ...]
    named = (("flag-1", ServiceFlags.SCHED1), ("flag-2", ServiceFlags.SCHED2), ("flag-3", ServiceFlags.SCHED3))
    if scheduler in ("sh", "mh"):
        named = ((f"{scheduler}-port", ServiceFlags.SCHED2), (f"{scheduler}-fallback", ServiceFlags.SCHED1))
    for name, flag in named:
        yield f"   {name} = {yes(bool(flags & flag), ON)}"
    single = bool(flags & ServiceFlags.ONE_PACKET)
    idle = " (inactive due to not UDP)" if single and service.protocol != UDP else ""
    yield f"   One packet scheduling = {yes(single, ON)}{idle}"


def _sorry_lines(sorry: SorryServerConfig, protocol: int) -> Iterator[str]:
    yield f"   sorry server = {_endpoint(sorry.address, protocol, sorry.port)}"
    yield f"     forwarding method = {_forwarding(sorry.forwarding)}"
    yield f"     Inhibit on failure is {yes(sorry.inhibit, SWITCH)}"


def _server_lines(server: RealServerConfig, row: Row, checks: list[Check]) -> Iterator[str]:
    alive = bool(row.get("alive"))
    weight = row.get("effective_weight", server.weight)
    failed = [one for one in row.get("checks", []) if one.get("ok") is False]
    unproven = [one for one in row.get("checks", []) if one.get("ok") is None] if server.alpha_checks else []
    yield "   ------< Real server >------"
    yield (
        f"   RIP = {text(server.address)}, RPORT = {server.port}, WEIGHT = {server.weight} EFF WEIGHT = {weight}"
    )
    yield f"   forwarding method = {_forwarding(server.forwarding)}"
    yield f"   Alpha is {yes(bool(server.alpha_checks), SWITCH)}"
    yield f"   connection timeout = {CONNECT_TIMEOUT_NS / SECOND:.6f}"
    yield f"   connection limit range = {server.lower_threshold} -> {server.upper_threshold}"
    yield f"   Delay loop = {_delay_loop(checks)}"
    yield f"   Inhibit on failure is {yes(server.inhibit, SWITCH)}"
    for word, command in (("up", server.notify_up), ("down", server.notify_down)):
        if command is not None:
            yield f"     RS {word} notify script = {command_words(command)}, uid:gid {owner_words(command)}"
    if server.virtualhost:
        yield f"    VirtualHost = '{server.virtualhost}'"
    yield f"   Using smtp notification = {yes(server.smtp_alert is not False, ANSWER)}"
    yield f"   initial weight = {server.weight}"
    yield f"   effective weight = {weight}"
    yield "   previous effective_weight = 0"
    yield f"   alive = {int(alive)}"
    yield f"   num failed checkers = {len(failed) + len(unproven)}"
    yield f"   RS set = {int((alive and row.get('state') != 'aside') or server.inhibit)}"
    yield "   reloaded = 0"
    files = [check for check in checks if isinstance(check, FileCheck)]
    if files:
        yield "   Tracked Files"
        yield from (f"     {check.track_file}, {_weight(check)}" for check in files)
    sessions = [check for check in checks if isinstance(check, BfdCheck)]
    if sessions:
        yield "   Tracked BFDs"
        yield from (f"     {check.name}" for check in sessions)


def _checker_lines(use: _Use) -> Iterator[str]:
    check, state, pace = use.check, use.state, use.check.pace
    yield f" {use.service} -> {use.server}"
    yield f"   Enabled = {yes(use.enabled, ANSWER)}"
    up = state.get("ok")
    yield f"   Up = {yes(not use.alpha if up is None else bool(up), ANSWER)}"
    yield f"   Has run = {yes(state.get('last_run') is not None, ANSWER)}"
    yield f"   Current weight = {state.get('weight_change', 0)}"
    if not isinstance(check, FileCheck):
        yield from _pace_lines(pace, use)
    yield f"   Log all failures = {yes(pace.log_all_failures, ANSWER)}"
    if not isinstance(check, MiscCheck | FileCheck | BfdCheck):
        yield from _connection_lines(check.target)
    yield from _method_lines(check, state)


def _pace_lines(pace: Pace, use: _Use) -> Iterator[str]:
    yield f"   Alpha = {yes(use.alpha, ANSWER)}"
    yield f"   Delay loop = {pace.delay_loop_ns // MICROSECOND} us"
    yield f"   Warmup = {pace.warmup_ns // MICROSECOND} us"
    yield f"   Retries = {pace.retry}"
    between = pace.delay_before_retry_ns // MICROSECOND
    if pace.retry:
        yield f"   Delay before retry = {between} us"
        yield f"   Retries iterations = {use.state.get('failures', 0)}"
    yield f"   Default delay before retry = {between} us"


def _connection_lines(target: Target) -> Iterator[str]:
    yield "   Connection"
    yield f"     Dest = [{text(target.address)}]:{target.port}"
    if target.bind_address is not None:
        yield f"     Bind to = [{text(target.bind_address)}]:{target.bind_port}"
    if target.bind_interface:
        yield f"     Bind i/f = {target.bind_interface}"
    if target.fwmark:
        yield f"     Mark = {target.fwmark}"
    yield f"     Timeout = {target.timeout_ns / SECOND:.6f}"


def _method_lines(check: Check, state: Row) -> Iterator[str]:
    kind = f"   Keepalive method = {kind_of(check)}"
    match check:
        case HttpCheck():
            yield f"{kind}, http protocol {check.protocol}"
            named = any(url.server_name for url in check.urls) or (check.tls is not None and check.tls.server_name)
            yield f"   Enable SNI {'set' if named else 'unset'}"
            yield f"   Fast recovery {'set' if check.fast_recovery else 'unset'}"
            for url in check.urls:
                yield from _url_lines(url, check.target)
        case SmtpCheck():
            yield kind
            yield f"   helo = {check.helo_name}"
        case DnsCheck():
            yield kind
            yield f"   Type = {check.type}"
            yield f"   Name = {check.name}"
        case UdpCheck():
            yield kind
            yield from _udp_lines(check)
        case MiscCheck():
            yield kind
            yield from _misc_lines(check, state)
        case FileCheck():
            yield kind
            yield f"     Tracked file = {check.track_file}"
            yield "     Reloaded = No"
        case BfdCheck():
            yield kind
            yield f"   Name = {check.name}"
            yield f"   Alpha is {yes(check.pace.alpha, SWITCH)}"
        case _:
            yield kind


def _url_lines(url: Url, target: Target) -> Iterator[str]:
    yield f"   Checked url = {url.path}"
    if url.digest:
        yield f"     digest = {url.digest}"
    yield "     HTTP Status Code(s)"
    for low, high in url.status:
        yield f"       {low}" if low == high else f"       {low}-{high}"
    if not url.host.lstrip("[").startswith(text(target.address)):
        yield f"     Virtual host = {url.host}"
    if url.regex is not None:
        regex = url.regex
        yield f'     Regex = "{regex.expression}"'
        if regex.no_match:
            yield "     Regex no match"
        if regex.min_offset or regex.max_offset is not None:
            yield f"     Regex min offset = {regex.min_offset}, max_offset = {regex.max_offset or 0}"
        yield f"     Regex options:{''.join(f' {one}' for one in regex.options)}"
        yield "     Regex ref count = 1"


def _udp_lines(check: UdpCheck) -> Iterator[str]:
    yield f"   Payload len = {len(check.payload or b'')}"
    yield f"   Require reply = {yes(check.require_reply, ANSWER)}"
    if check.require_reply:
        yield f"     Min reply length = {check.min_reply_length}"
        yield f"     Max reply length = {check.max_reply_length}"
        yield f"     Reply data len = {len(check.reply)}"
        yield f"     Reply data mask = {yes(any(octet != 255 for octet in check.reply_mask), ANSWER)}"


def _misc_lines(check: MiscCheck, state: Row) -> Iterator[str]:
    command, ran = check.command, state.get("last_run")
    timeout_ns = 0 if command.timeout_ns == check.pace.delay_loop_ns else command.timeout_ns
    yield f"   script = {command_words(command)}"
    yield f"   timeout = {timeout_ns // SECOND}"
    yield f"   dynamic = {'YES' if check.dynamic else 'NO'}"
    yield f"   uid:gid = {owner_words(command)}"
    yield f"   Last ran = {_NO_RUN if ran is None else moment_words(ran)}"
    yield f"   Last status = {int(state.get('ok') is False)}"


def _forwarding(method: Forwarding) -> str:
    if method.method != Method.TUN:
        return method.name
    kind = TunnelType(method.tunnel_type)
    words = f"TUN, type = {kind.name}"
    if kind is TunnelType.IPIP:
        return words
    port = f", port = {method.tunnel_port}" if kind is TunnelType.GUE else ""
    return f"{words}{port}, {_CHECKSUMS[TunnelFlags(method.tunnel_flags)]}"


def _mask(netmask: int) -> str:
    return text(Address(netmask.to_bytes(4, "big")))


def _delay_loop(checks: list[Check]) -> str:
    return f"{(checks[0].pace.delay_loop_ns if checks else DELAY_LOOP_NS) / SECOND:.6f}"
