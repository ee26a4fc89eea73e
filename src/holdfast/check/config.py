"""What an operator asked of the health checks: one struct a kind, every default settled, times in nanoseconds.

A value that a checker leaves out is its real server's, then its virtual server's, then the kind's own. `settle_pace`
and `settle_target` work that out once, when the configuration is read; nothing here is None because "somebody else
knows". Two checks that are equal ask the same of the same server, so one may stand for both.
"""

from typing import Literal, TypeAlias

import msgspec

from holdfast.base.address import Address
from holdfast.base.command import Command
from holdfast.base.time import SECOND, Nanoseconds

DELAY_LOOP_NS: Nanoseconds = 60 * SECOND
CONNECT_TIMEOUT_NS: Nanoseconds = 5 * SECOND
DEFAULT_STATUS: tuple[tuple[int, int], ...] = ((200, 299),)

Kind: TypeAlias = Literal[
    "TCP_CHECK", "PING_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "MISC_CHECK",
    "FILE_CHECK", "BFD_CHECK", "GRPC_CHECK",
]  # fmt: skip
HttpProtocol: TypeAlias = Literal["1.0", "1.0C", "1.1", "1.1C", "2"]
DnsType: TypeAlias = Literal["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"]

_RETRY: dict[str, int] = {"DNS_CHECK": 3, "MISC_CHECK": 0}
_DELAY_BEFORE_RETRY_NS: dict[str, Nanoseconds] = {"HTTP_GET": 3 * SECOND, "SSL_GET": 3 * SECOND}


class PaceWords(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one level (virtual server, real server, checker) says of the pace; None where it is silent."""

    delay_loop_ns: Nanoseconds | None = None
    retry: int | None = None
    delay_before_retry_ns: Nanoseconds | None = None
    warmup_ns: Nanoseconds | None = None
    connect_timeout_ns: Nanoseconds | None = None
    alpha: bool | None = None
    log_all_failures: bool | None = None


class TargetWords(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a checker says of whom to ask, and from where; None where the real server's holds."""

    connect_ip: Address | None = None
    connect_port: int | None = None
    bindto: Address | None = None
    bind_port: int = 0
    bind_if: str = ""
    fwmark: int = 0


class Pace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a check runs, and what its failures lead to. `retry`: how many failures in a row are forgiven."""

    delay_loop_ns: Nanoseconds = DELAY_LOOP_NS
    retry: int = 1
    delay_before_retry_ns: Nanoseconds = SECOND
    warmup_ns: Nanoseconds = DELAY_LOOP_NS
    alpha: bool = False
    log_all_failures: bool = False


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom to ask, from where, and how long the whole conversation may take. 0 and "": the kernel's choice."""

    address: Address
    port: int = 0
    bind_address: Address | None = None
    bind_port: int = 0
    bind_interface: str = ""
    fwmark: int = 0
    timeout_ns: Nanoseconds = CONNECT_TIMEOUT_NS


class Tls(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How TLS is spoken. Paths and the key's password as in the `SSL` block; empty: none.

    `verify`: the certificate must be of one of `ca` (empty: the system's) and, when a `server_name` is told, be for it.
    `cert_min_days`: for at least so long it must still be valid; None: not asked.
    """

    server_name: str = ""
    verify: bool = False
    cert_min_days: int | None = None
    compliant: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    password: str = ""


class Regex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`regex` of a url: a PCRE2 expression, its options by name, and where a match may begin."""

    expression: str
    options: tuple[str, ...] = ()
    no_match: bool = False
    min_offset: int = 0
    max_offset: int | None = None


class Url(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request of HTTP_GET or SSL_GET. `status`: accepted codes as pairs, both ends included."""

    path: str
    host: str  # of the Host header, settled: the url's virtualhost, the checker's, the servers', else address:port
    status: tuple[tuple[int, int], ...] = DEFAULT_STATUS
    digest: str = ""  # 32 hexadecimal digits, or empty
    regex: Regex | None = None
    server_name: str = ""  # told in TLS; empty: that of the check's own Tls


class _Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    pace: Pace = Pace()


class TcpCheck(_Check, frozen=True, kw_only=True, tag="TCP_CHECK"):
    """A connection is accepted."""

    target: Target


class PingCheck(_Check, frozen=True, kw_only=True, tag="PING_CHECK"):
    """An echo is answered."""

    target: Target


class HttpCheck(_Check, frozen=True, kw_only=True, tag="HTTP_GET"):
    """Every url answers as it should; `tls` None: in the clear (HTTP_GET), else SSL_GET."""

    target: Target
    urls: tuple[Url, ...]
    protocol: HttpProtocol = "1.0"
    fast_recovery: bool = False
    tls: Tls | None = None


class SmtpCheck(_Check, frozen=True, kw_only=True, tag="SMTP_CHECK"):
    """A mail server greets with 220 and answers HELO with 250."""

    target: Target
    helo_name: str = "smtpchecker.keepalived.org"


class DnsCheck(_Check, frozen=True, kw_only=True, tag="DNS_CHECK"):
    """A name server answers the question without an error."""

    target: Target
    type: DnsType = "SOA"
    name: str = "."


class UdpCheck(_Check, frozen=True, kw_only=True, tag="UDP_CHECK"):
    """A datagram is not refused, or answered as expected.

    `payload` None: random octets. `reply`/`reply_mask`: expected octets, of which those with mask 0xff count.
    """

    target: Target
    payload: bytes | None = None
    require_reply: bool = False
    reply: bytes = b""
    reply_mask: bytes = b""
    min_reply_length: int = 0
    max_reply_length: int = 255


class MiscCheck(_Check, frozen=True, kw_only=True, tag="MISC_CHECK"):
    """A program says so: its exit status; `command.timeout_ns` is `misc_timeout`, by default delay_loop."""

    command: Command
    dynamic: bool = False


class FileCheck(_Check, frozen=True, kw_only=True, tag="FILE_CHECK"):
    """A tracked file's number, times `weight`, is added to the server's weight."""

    track_file: str
    weight: int
    reverse: bool = False


class BfdCheck(_Check, frozen=True, kw_only=True, tag="BFD_CHECK"):
    """A BFD session is Up."""

    name: str


class GrpcCheck(_Check, frozen=True, kw_only=True, tag="GRPC_CHECK"):
    """The standard health service of gRPC says SERVING; `service` empty: the server as a whole. `host`: :authority."""

    target: Target
    host: str
    service: str = ""
    tls: Tls | None = None


Check: TypeAlias = (
    TcpCheck | PingCheck | HttpCheck | SmtpCheck | DnsCheck | UdpCheck | MiscCheck | FileCheck | BfdCheck | GrpcCheck
)


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the machine needs of a check: its pace, how long one run may take, and of how many runs a round consists."""

    pace: Pace
    deadline_ns: Nanoseconds = CONNECT_TIMEOUT_NS
    stages: int = 1
    fast_recovery: bool = False


def settle_pace(
    kind: Kind, service: PaceWords, server: PaceWords, own: PaceWords, log_all_failures: bool = False
) -> Pace:
    """The pace of a checker of `kind`: its own words, else its real server's, its virtual server's, the kind's.

    `log_all_failures` is the global `checker_log_all_failures`. Source: the keyword reference, sections 17 to 20.
    """
    delay_loop = _first(own.delay_loop_ns, server.delay_loop_ns, service.delay_loop_ns, DELAY_LOOP_NS)
    between = delay_loop if kind == "DNS_CHECK" else _DELAY_BEFORE_RETRY_NS.get(kind, SECOND)
    return Pace(
        delay_loop_ns=delay_loop,
        retry=_first(own.retry, server.retry, service.retry, _RETRY.get(kind, 1)),
        delay_before_retry_ns=_first(
            own.delay_before_retry_ns, server.delay_before_retry_ns, service.delay_before_retry_ns, between
        ),
        warmup_ns=_first(own.warmup_ns, server.warmup_ns, service.warmup_ns, delay_loop),
        alpha=bool(_first(own.alpha, server.alpha, service.alpha, False)),
        log_all_failures=bool(_first(own.log_all_failures, log_all_failures)),
    )


def settle_target(
    address: Address, port: int, words: TargetWords, service: PaceWords, server: PaceWords, own: PaceWords
) -> Target:
    """Whom a checker of the real server `address`:`port` asks, by its own words and the three levels' timeouts."""
    return Target(
        address=words.connect_ip if words.connect_ip is not None else address,
        port=words.connect_port if words.connect_port is not None else port,
        bind_address=words.bindto,
        bind_port=words.bind_port,
        bind_interface=words.bind_if,
        fwmark=words.fwmark,
        timeout_ns=_first(
            own.connect_timeout_ns, server.connect_timeout_ns, service.connect_timeout_ns, CONNECT_TIMEOUT_NS
        ),
    )


def schedule_of(check: Check) -> Schedule:
    """When and in how many runs `check` is made."""
    match check:
        case HttpCheck():
            return Schedule(
                pace=check.pace, deadline_ns=check.target.timeout_ns, stages=max(len(check.urls), 1),
                fast_recovery=check.fast_recovery,
            )  # fmt: skip
        case MiscCheck():
            return Schedule(pace=check.pace, deadline_ns=check.command.timeout_ns)
        case FileCheck() | BfdCheck():
            return Schedule(pace=check.pace)
        case _:
            return Schedule(pace=check.pace, deadline_ns=check.target.timeout_ns)


def kind_of(check: Check) -> str:
    """The keyword that made `check`, as an operator knows it."""
    if isinstance(check, HttpCheck):
        return "SSL_GET" if check.tls is not None else "HTTP_GET"
    return str(check.__struct_config__.tag)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
