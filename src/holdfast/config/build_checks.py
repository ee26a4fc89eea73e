"""The checks of real servers: from their lines to `check/config.py`, every default settled, equal ones made once.

A checker that can't be made is left out, and told; its server is then checked by its others, or taken for alive.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from holdfast.base.address import Address, is_link_local, text
from holdfast.bfd.config import SessionConfig
from holdfast.check.config import (
    DEFAULT_STATUS,
    BfdCheck,
    Check,
    DnsCheck,
    FileCheck,
    GrpcCheck,
    HttpCheck,
    MiscCheck,
    PaceWords,
    PingCheck,
    Regex,
    SmtpCheck,
    Target,
    TargetWords,
    TcpCheck,
    Tls,
    UdpCheck,
    Url,
    settle_pace,
    settle_target,
)
from holdfast.check.udp import parse_reply
from holdfast.config.context import Context, get, last_values
from holdfast.config.findings import Trouble
from holdfast.config.tree import Node
from holdfast.track.config import FileConfig

KINDS = frozenset(
    ("TCP_CHECK", "PING_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "MISC_CHECK",
     "FILE_CHECK", "BFD_CHECK", "GRPC_CHECK")
)  # fmt: skip


class _Levels(msgspec.Struct, frozen=True):
    """What the service, its server and one checker say; `host` is the Host header they come to, less the url's."""

    service: PaceWords
    server: PaceWords
    own: PaceWords
    settings: dict[str, Node]
    target: Target
    host: str


class CheckTable:
    """All checks of a configuration. `read` has the form that the builder of virtual servers calls."""

    def __init__(self, context: Context, settings: dict[str, Node], tls: Node | None = None,
                 file: Callable[[str], FileConfig | None] = lambda name: None,
                 sessions: Mapping[str, SessionConfig] | None = None) -> None:  # fmt: skip
        """`settings`: the lines of `global_defs`; `tls`: the `SSL` block, if any; `file` gives a track_file by name."""
        self._file_named = file
        self._sessions = sessions or {}
        self.files: dict[str, FileConfig] = {}  # those a check names
        self.context = context
        self.log_all_failures = bool(get(settings, "checker_log_all_failures", False))
        self._material = _material(last_values(tls.children or [])) if tls is not None else Tls()
        self._numbers: dict[Check, int] = {}

    @property
    def checks(self) -> tuple[Check, ...]:
        """All that were read, by number."""
        return tuple(self._numbers)

    def read(self, service: Node, server: Node, address: Address, port: int) -> Iterator[tuple[int, bool]]:
        """Each check of a real server at `address`:`port`: its number, and whether it must succeed first (alpha)."""
        outer, middle = last_values(service.children or []), last_values(server.children or [])
        for node in server.children or []:
            if node.name not in KINDS or node.children is None:
                continue
            own = last_values(node.children)
            for block in _targets(node):
                check = self._check(node, block, (outer, middle, own), address, port)
                if check is not None:
                    yield self._numbers.setdefault(check, len(self._numbers)), check.pace.alpha

    def _check(
        self, node: Node, block: dict[str, Node], levels: tuple[dict[str, Node], dict[str, Node], dict[str, Node]],
        address: Address, port: int,
    ) -> Check | None:  # fmt: skip
        outer, middle, own = levels
        words = _pace_words(own, flag=False)
        service, server = _pace_words(outer, flag=True), _pace_words(middle, flag=False)
        target = settle_target(address, port, _target_words({**own, **block}), service, server, words)
        kind = node.name
        asks = kind not in ("MISC_CHECK", "FILE_CHECK", "BFD_CHECK")
        if asks and kind != "PING_CHECK" and not target.port:
            self._tell(node, f"{kind} has no port to ask: the service has none", "add connect_port")
            return None
        if target.bind_address is not None and len(target.bind_address) != len(target.address):
            self._tell(node, f"bindto is of another family than {text(target.address)}", "write one of the same")
            return None
        if asks and is_link_local(target.address) and not target.bind_interface:
            self._tell(node, f"{text(target.address)} is link-local, it needs a device", "add bind_if")
            return None
        host = next((get(one, "virtualhost", "") for one in (own, middle, outer) if "virtualhost" in one), "")
        pace = settle_pace(kind, service, server, words, self.log_all_failures)  # type: ignore[arg-type]
        found = _Levels(service, server, words, own, target, host)
        made = _MAKERS[kind](self, node, found)
        if not asks and kind != "MISC_CHECK":  # what is told of them is so: there is nothing to try again
            pace = msgspec.structs.replace(pace, retry=0)
        return None if made is None else msgspec.structs.replace(made, pace=pace)

    def _tell(self, node: Node, what: str, cure: str, phrase: str = "") -> None:
        self.context.tell(node, Trouble(what, cure, "the check is left out", phrase=phrase), domain="lvs")

    # ---- kinds ------------------------------------------------------------------------------------------------------

    def _tcp(self, node: Node, levels: _Levels) -> Check | None:
        return TcpCheck(target=levels.target)

    def _ping(self, node: Node, levels: _Levels) -> Check | None:
        return PingCheck(target=msgspec.structs.replace(levels.target, port=0, bind_port=0))

    def _http(self, node: Node, levels: _Levels) -> Check | None:
        settings, target = levels.settings, levels.target
        fallback = levels.host or _shown(target)
        urls = [self._url(url, fallback) for url in node.children or [] if url.name == "url"]
        kept = tuple(url for url in urls if url is not None)
        if not kept:
            self._tell(node, f"{node.name} asks for no url", "add url { path / }")
            return None
        tls = None
        if node.name == "SSL_GET":
            # sni_name is told for every url, else each url's own virtualhost is
            if not get(settings, "sni_name", None) and ("sni_name" in settings or get(settings, "enable_sni", False)):
                kept = tuple(msgspec.structs.replace(url, server_name=_name_of(url.host, target)) for url in kept)
            polite = any(get(last_values(url.children or []), "tls_compliant", False) for url in node.children or [])
            tls = msgspec.structs.replace(
                self._tls(settings),
                server_name=get(settings, "sni_name", None) or "",
                compliant=bool(get(settings, "tls_compliant", polite)),
            )
        return HttpCheck(
            target=target,
            urls=kept,
            protocol=get(settings, "http_protocol", "1.0"),
            fast_recovery=bool(get(settings, "fast_recovery", False)),
            tls=tls,
        )

    def _tls(self, settings: dict[str, Node]) -> Tls:
        """How a checker with these lines speaks TLS, but for the name."""
        return msgspec.structs.replace(
            self._material,
            verify=bool(get(settings, "verify_certificate", False)),
            cert_min_days=get(settings, "cert_min_days", None),
            compliant=bool(get(settings, "tls_compliant", False)),
        )

    def _grpc(self, node: Node, levels: _Levels) -> Check | None:
        settings = levels.settings
        tls = None
        if "tls" in settings:
            told = "sni_name" in settings or get(settings, "enable_sni", False)
            name = get(settings, "sni_name", None) or levels.host if told else ""
            tls = msgspec.structs.replace(self._tls(settings), server_name=name)
        return GrpcCheck(
            target=levels.target,
            host=levels.host or _shown(levels.target),
            service=get(settings, "service", ""),
            tls=tls,
        )

    def _url(self, node: Node, host: str) -> Url | None:
        settings = last_values(node.children or [])
        if "path" not in settings:
            self._tell(node, "a url without a path", "add path /")
            return None
        regex = None
        if "regex" in settings:
            regex = Regex(
                expression=get(settings, "regex", ""),
                options=tuple(get(settings, "regex_options", ())),
                no_match="regex_no_match" in settings,
                min_offset=get(settings, "regex_min_offset", 0),
                max_offset=get(settings, "regex_max_offset", None),
            )
        return Url(
            path=get(settings, "path", "/"),
            host=get(settings, "virtualhost", host),
            status=get(settings, "status_code", DEFAULT_STATUS),
            digest=str(get(settings, "digest", "")).lower(),
            regex=regex,
        )

    def _smtp(self, node: Node, levels: _Levels) -> Check | None:
        helo = get(levels.settings, "helo_name", "smtpchecker.keepalived.org")
        return SmtpCheck(target=levels.target, helo_name=helo)

    def _dns(self, node: Node, levels: _Levels) -> Check | None:
        return DnsCheck(
            target=levels.target,
            type=get(levels.settings, "type", "SOA"),
            name=get(levels.settings, "name", "."),
        )

    def _udp(self, node: Node, levels: _Levels) -> Check | None:
        settings = levels.settings
        payload = get(settings, "payload", None)
        reply, mask = parse_reply(str(get(settings, "require_reply", "") or ""))
        least, most = get(settings, "min_reply_length", 0), get(settings, "max_reply_length", 255)
        if least > most:
            self._tell(node, f"min_reply_length {least} is above max_reply_length {most}", "exchange the two")
            return None
        return UdpCheck(
            target=levels.target,
            payload=bytes.fromhex(payload) if payload else None,
            require_reply="require_reply" in settings,
            reply=reply,
            reply_mask=mask,
            min_reply_length=least,
            max_reply_length=most,
        )

    def _misc(self, node: Node, levels: _Levels) -> Check | None:
        settings = levels.settings
        line = settings.get("misc_path")
        if line is None:
            phrase = "No script path has been specified for MISC_CHECKER - skipping"
            self._tell(node, "MISC_CHECK names no program", "add misc_path /path", phrase)
            return None
        pace = settle_pace("MISC_CHECK", levels.service, levels.server, levels.own)
        limit_ns = get(settings, "misc_timeout", 0) or pace.delay_loop_ns
        user = get(settings, "user", ())
        command = self.context.script(line, user=user, timeout_ns=limit_ns, domain="lvs", tracked=True)
        return None if command is None else MiscCheck(command=command, dynamic="misc_dynamic" in settings)

    def _file(self, node: Node, levels: _Levels) -> Check | None:
        name = get(levels.settings, "track_file", "")
        if not name:
            self._tell(node, "FILE_CHECK names no track_file", "add track_file NAME")
            return None
        file = self._file_named(name)
        if file is None:
            cure = f"define it: track_file {name} {{ file PATH }}"
            self._tell(node, f"there is no track_file {name}", cure, f"track_file {name} not found")
            return None
        self.files[name] = file
        weight, direction = get(levels.settings, "weight", (file.weight, None))
        reverse = file.reverse if direction is None else direction == "reverse"
        return FileCheck(track_file=name, weight=weight, reverse=reverse)

    def _bfd(self, node: Node, levels: _Levels) -> Check | None:
        name = get(levels.settings, "name", "")
        if not name:
            self._tell(node, "BFD_CHECK names no bfd_instance", "add name NAME")
            return None
        session = self._sessions.get(name)
        if session is None:
            cure = f"define it: bfd_instance {name} {{ neighbor_ip IP }}"
            self._tell(node, f"there is no bfd_instance {name}", cure, f"BFD_CHECK - BFD {name} not configured")
            return None
        if not session.for_checkers:
            self._tell(node, f"bfd_instance {name} is for VRRP only", "remove `vrrp` from it, or add `checker`")
            return None
        return BfdCheck(name=name)


_MAKERS: dict[str, Callable[[CheckTable, Node, _Levels], Check | None]] = {
    "TCP_CHECK": CheckTable._tcp,
    "PING_CHECK": CheckTable._ping,
    "HTTP_GET": CheckTable._http,
    "SSL_GET": CheckTable._http,
    "SMTP_CHECK": CheckTable._smtp,
    "DNS_CHECK": CheckTable._dns,
    "UDP_CHECK": CheckTable._udp,
    "MISC_CHECK": CheckTable._misc,
    "FILE_CHECK": CheckTable._file,
    "BFD_CHECK": CheckTable._bfd,
    "GRPC_CHECK": CheckTable._grpc,
}


def _shown(target: Target) -> str:
    """The Host header where no virtualhost is written: address and port."""
    shown = f"[{text(target.address)}]" if len(target.address) == 16 else text(target.address)
    return f"{shown}:{target.port}"


def _name_of(host: str, target: Target) -> str:
    """The name to tell in TLS for a Host header; an address is none (RFC 6066 §3)."""
    return "" if host == _shown(target) else host


def _targets(node: Node) -> list[dict[str, Node]]:
    """The `host` blocks of an old SMTP_CHECK, each a check of its own; else just the checker itself."""
    hosts = [last_values(one.children or []) for one in node.children or [] if one.name == "host"]
    return hosts if node.name == "SMTP_CHECK" and hosts else [{}]


def _pace_words(settings: dict[str, Node], *, flag: bool) -> PaceWords:
    """What one level says. `flag`: `alpha` has no argument there (virtual_server)."""
    alpha: Any = "alpha" in settings or None if flag else get(settings, "alpha", None)
    return PaceWords(
        delay_loop_ns=get(settings, "delay_loop", None),
        retry=get(settings, "retry", get(settings, "nb_get_retry", None)),
        delay_before_retry_ns=get(settings, "delay_before_retry", None),
        warmup_ns=get(settings, "warmup", None),
        connect_timeout_ns=get(settings, "connect_timeout", None),
        alpha=alpha,
        log_all_failures=get(settings, "log_all_failures", None),
    )


def _target_words(settings: dict[str, Node]) -> TargetWords:
    return TargetWords(
        connect_ip=get(settings, "connect_ip", None),
        connect_port=get(settings, "connect_port", None),
        bindto=get(settings, "bindto", None),
        bind_port=get(settings, "bind_port", 0),
        bind_if=get(settings, "bind_if", ""),
        fwmark=get(settings, "fwmark", 0),
    )


def _material(settings: dict[str, Node]) -> Tls:
    return Tls(
        ca=get(settings, "ca", ""),
        certificate=get(settings, "certificate", ""),
        key=get(settings, "key", ""),
        password=get(settings, "password", ""),
    )
