"""From a check to its conversations: what can be made ready once is, and a run costs only what is its own.

Libraries are imported here, when the first check that needs them is made ready.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from holdfast.base.time import MILLISECOND
from holdfast.check.config import (
    Check,
    DnsCheck,
    GrpcCheck,
    HttpCheck,
    PingCheck,
    Regex,
    SmtpCheck,
    Target,
    TcpCheck,
    Tls,
    UdpCheck,
)  # fmt: skip
from holdfast.check.conversation import Conversation, Expression, Occasion

if TYPE_CHECKING:
    import ssl

Transport: TypeAlias = str
"""How octets travel: `tcp`, `udp` or `ping`."""

Begin: TypeAlias = Callable[[Occasion], Conversation]


class Asking(msgspec.Struct, frozen=True):
    """A check made ready: whom to ask and how, and for each stage of a round how to begin its conversation."""

    transport: Transport
    target: Target
    stages: tuple[Begin, ...]


class Tools(msgspec.Struct, frozen=True):
    """What conversations need of the world, brought by the edge.

    `tls_context(settings, alpn)` reads the certificates; `expression(regex)` compiles. Both raise ValueError with words
    for the operator when they can't.
    """

    tls_context: "Callable[[Tls, str], ssl.SSLContext]"
    expression: Callable[[Regex], Expression]


def prepare(check: Check, tools: Tools) -> Asking | None:
    """`check` made ready; None for a kind that asks nobody over a socket (MISC, FILE, BFD). ValueError: it can't be."""
    match check:
        case TcpCheck():
            from holdfast.check.tcp import TCP

            return Asking("tcp", check.target, (lambda occasion: TCP,))
        case HttpCheck():
            return Asking("tcp", check.target, tuple(_http(check, stage, tools) for stage in range(len(check.urls))))
        case GrpcCheck():
            return Asking("tcp", check.target, (_grpc(check, tools),))
        case SmtpCheck():
            from holdfast.check.smtp import SmtpConversation

            return Asking("tcp", check.target, (lambda occasion: SmtpConversation(check.helo_name),))
        case DnsCheck():
            from holdfast.check.dns import DnsConversation, question

            asked = question(check.name, check.type)
            return Asking("udp", check.target, (lambda occasion: DnsConversation(asked, occasion.chance),))
        case UdpCheck():
            from holdfast.check.udp import UdpConversation

            return Asking("udp", check.target, (lambda occasion: UdpConversation(check, occasion.chance),))
        case PingCheck():
            from holdfast.check.ping import PingConversation

            version = 4 if len(check.target.address) == 4 else 6
            return Asking("ping", check.target, (lambda occasion: PingConversation(version, occasion.chance),))
        case _:
            return None


def _http(check: HttpCheck, stage: int, tools: Tools) -> Begin:
    from holdfast.check.http import HttpConversation, url_rules

    url = check.urls[stage]
    rules = url_rules(url, check.protocol, tools.expression(url.regex) if url.regex is not None else None)
    tls = check.tls
    if tls is not None and url.server_name:
        tls = msgspec.structs.replace(tls, server_name=url.server_name)
    if check.protocol == "2":
        from holdfast.check.http2 import ALPN, Http2Get

        scheme = "http" if check.tls is None else "https"
        return _wrapped(lambda: Http2Get(rules, url.host, scheme), tls, tools, ALPN)
    if tls is None:
        return lambda occasion: HttpConversation(rules)
    return _wrapped(lambda: HttpConversation(rules), tls, tools, "")


def _grpc(check: GrpcCheck, tools: Tools) -> Begin:
    from holdfast.check.grpc import GrpcConversation
    from holdfast.check.http2 import ALPN

    scheme = "http" if check.tls is None else "https"
    timeout_ms = check.target.timeout_ns // MILLISECOND
    return _wrapped(
        lambda: GrpcConversation(check.host, check.service, scheme, timeout_ms), check.tls, tools, ALPN
    )  # fmt: skip


def _wrapped(inner: Callable[[], Conversation], tls: Tls | None, tools: Tools, alpn: str) -> Begin:
    """`inner` as it is, or inside TLS; begun once on trial, so that a name or path nobody can send is told now."""
    begin = _inside(inner, tls, tools, alpn)
    try:
        inner().begin()
        begin(Occasion(bytes(16), 0.0)).begin()
    except Exception as error:
        raise ValueError(f"it cannot be asked like this: {str(error) or type(error).__name__}") from None
    return begin


def _inside(inner: Callable[[], Conversation], tls: Tls | None, tools: Tools, alpn: str) -> Begin:
    if tls is None:
        return lambda occasion: inner()
    from holdfast.check.tls import TlsConversation

    context = tools.tls_context(tls, alpn)
    settings = tls
    return lambda occasion: TlsConversation(inner(), context, settings, occasion.wall_s, alpn)
