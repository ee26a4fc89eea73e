"""The mail settings of `global_defs`: who gets mail, from whom, over which relay, and what about."""

from holdfast.base.time import SECOND
from holdfast.config import values
from holdfast.config.context import Context, entries, get
from holdfast.config.plan import MailConfig
from holdfast.config.tree import Node

PORT = 25
TIMEOUT_NS = 30 * SECOND


def read_mail(context: Context, nodes: list[Node], settings: dict[str, Node]) -> MailConfig | None:
    """None without a relay or without anybody to write to: then nothing is sent, as in keepalived."""
    recipients: list[str] = []
    for node in nodes:
        lines = node.children or [] if node.name == "global_defs" else [node]
        for line in lines:
            if line.name == "notification_email":
                recipients += [word for entry in entries(line) for word in entry.line.words]
    server = settings.get("smtp_server")
    if server is None or server.value is values.INVALID or not recipients:
        return None
    host, port = server.value
    node_name = context.disk.host_name()
    return MailConfig(
        server=host,
        port=port or PORT,
        sender=get(settings, "notification_email_from", "") or f"root@{node_name}",
        recipients=tuple(dict.fromkeys(recipients)),
        helo=get(settings, "smtp_helo_name", "") or node_name,
        timeout_ns=get(settings, "smtp_connect_timeout", TIMEOUT_NS),
        router_id=get(settings, "router_id", "") or node_name,
        faults="no_email_faults" not in settings,
    )


def alert_default(settings: dict[str, Node]) -> bool:
    """Whether VRRP is written about where the instance or group doesn't say."""
    return bool(get(settings, "smtp_alert_vrrp", get(settings, "smtp_alert", False)))
