"""What nftables cannot do for a virtual server, told where it is written (`lvs_backend nftables`)."""

from holdfast.base.address import text
from holdfast.base.ipvs import INET6, Method, ServiceFlags
from holdfast.base.problem import Grade
from holdfast.config.context import Context
from holdfast.config.findings import Condition, Trouble
from holdfast.config.tree import Node
from holdfast.lvs.config import RealServerConfig, SorryServerConfig, VirtualServerConfig
from holdfast.lvs.nftables import SCHEDULERS, SUBSTITUTES

ONLY_IPVS = {
    "lvs_sync_daemon": "connections are not synchronised",
    "lvs_timeouts": "connections have the time-outs of net.netfilter.nf_conntrack_…",
    "lvs_flush": "only our own table is emptied",
}
"""Lines of `global_defs` that concern IPVS alone, and what happens with nftables."""


def told_settings(context: Context, settings: dict[str, Node]) -> None:
    """Tell of the global lines that have no effect."""
    for name, meanwhile in ONLY_IPVS.items():
        if name in settings:
            _tell(context, settings[name], f"{name} is of IPVS, and lvs_backend is nftables", "leave it out", meanwhile)


def can_serve(context: Context, node: Node, config: VirtualServerConfig) -> bool:
    """Whether nftables can serve this virtual server; what it does otherwise than asked is told, too."""
    cure = "make it NAT and of one family, or say lvs_backend ipvs"
    servers: list[RealServerConfig | SorryServerConfig] = [*config.servers]
    for server in [*servers, config.sorry] if config.sorry is not None else servers:
        why = _why_not(server, config)
        if why:
            what = f"{text(server.address)} of virtual_server {config.name} {why}"
            _tell(context, node, what, cure, "the virtual server is left aside", Grade.ERROR)
            return False
    scheduler = config.service.scheduler
    if scheduler not in SCHEDULERS:
        what = f"nftables has no scheduler {scheduler}"
        _tell(context, node, what, "choose rr, wrr or sh", "the virtual server is left aside", Grade.ERROR)
        return False
    if scheduler in SUBSTITUTES:
        instead = SUBSTITUTES[scheduler]
        what = f"nftables cannot count connections: {scheduler} of {config.name} needs IPVS"
        if scheduler == "mh":
            what = f"nftables has no consistent hash: mh of {config.name} needs IPVS"
        _tell(context, node, what, f"write lvs_sched {instead}, or lvs_backend ipvs", f"{instead} is used")
    if config.service.flags & ServiceFlags.ONE_PACKET:
        _tell(context, node, f"ops of {config.name} needs IPVS", "leave it out", "packets of one client stay together")
    if any(one.upper_threshold or one.lower_threshold for one in config.servers):
        _tell(context, node, f"thresholds of {config.name} need IPVS", "leave them out", "they have no effect")
    return True


def _why_not(server: RealServerConfig | SorryServerConfig, config: VirtualServerConfig) -> str:
    if server.forwarding.method != Method.NAT:
        return f"is reached by {server.forwarding.name}, and nftables does only NAT"
    six = len(server.address) == 16
    if any((key.family == INET6) != six for key in config.keys):
        return "is of another family than the service"
    return ""


def _tell(
    context: Context, node: Node, what: str, cure: str, meanwhile: str, grade: Grade = Grade.WARNING
) -> None:
    context.tell(node, Trouble(what, cure, meanwhile, grade, condition=Condition.NONE), domain="lvs")
