"""`bfd_instance` blocks: the sessions of a configuration, every default settled."""

from holdfast.base.address import Address, is_link_local, text
from holdfast.base.problem import Grade
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.bfd.config import ANY_TTL, SessionConfig
from holdfast.config.context import Context, get, last_values
from holdfast.config.findings import Condition, Trouble
from holdfast.config.tree import Node
from holdfast.config.values import INVALID

MOST_TTL = 255
DEFAULT_LEAST_TTL = {4: 255, 16: 64}
"""By length of address: from which TTL on packets are taken where no ttl is written, as in keepalived."""

SLOW, MANY = 10 * SECOND, 10


def read_sessions(context: Context, nodes: list[Node]) -> dict[str, SessionConfig]:
    """The sessions by name, in the order written; what is wrong with the others is told."""
    found: dict[str, SessionConfig] = {}
    partners: dict[tuple[Address, Address | None, bool], str] = {}
    for node in nodes:
        if node.name != "bfd_instance" or node.value is INVALID or node.children is None:
            continue
        if node.value in found:
            what = f"bfd_instance {node.value} stands here a second time"
            _tell(context, node, what, "rename it", phrase=f"BFD {node.value} already specified")
            continue
        session = _session(context, node)
        if session is None:
            continue
        twin = partners.setdefault(session.key, session.name)
        if twin != session.name:
            what = f"bfd_instance {session.name} has the same neighbor_ip and source_ip as {twin}"
            said = f"has duplicate neighbor address {text(session.neighbor)}, ignoring instance"
            _tell(context, node, what, "remove one of the two", phrase=_words(session.name, said))
            continue
        found[session.name] = session
    return found


def _session(context: Context, node: Node) -> SessionConfig | None:
    settings = last_values(node.children or [])
    line = settings.get("neighbor_ip") or settings.get("neighbour_ip")
    if line is None:
        said = _words(node.value, "has no neighbor address set, disabling instance")
        _tell(context, node, f"bfd_instance {node.value} has no neighbor_ip", "write one", phrase=said)
        return None
    neighbor: Address = line.line.value
    source: Address | None = get(settings, "source_ip", None)
    if source is not None and len(source) != len(neighbor):
        what = f"source_ip {text(source)} and neighbor_ip {text(neighbor)} are of two families"
        _tell(context, settings["source_ip"], what, "write both as IPv4 or both as IPv6", f"{node.value} is left aside")
        return None
    if source == neighbor:
        _remark(context, line, f"neighbor_ip {text(neighbor)} is our own address", "write the other host's")
    elif is_link_local(neighbor):
        what = f"neighbor_ip {text(neighbor)} is link-local, and no interface can be named: it can't be reached"
        _remark(context, line, what, "write a global address of the neighbour")
    _remarks(context, settings)
    written = get(settings, "ttl", None) or get(settings, "hoplimit", None)
    weight, direction = get(settings, "weight", (0, None))
    vrrp, checker = "vrrp" in settings, "checker" in settings
    return SessionConfig(
        name=node.value,
        neighbor=neighbor,
        source=source,
        multihop=get(settings, "multihop", False),
        min_rx_ns=get(settings, "min_rx", 10 * MILLISECOND),
        min_tx_ns=get(settings, "min_tx", 10 * MILLISECOND),
        idle_tx_ns=get(settings, "idle_tx", SECOND),
        multiplier=get(settings, "multiplier", 5),
        passive="passive" in settings,
        ttl=written or MOST_TTL,
        least_ttl=_least_ttl(context, node.value, settings, written or DEFAULT_LEAST_TTL[len(neighbor)]),
        weight=weight,
        reverse=direction == "reverse",
        for_vrrp=vrrp or not checker,
        for_checkers=checker or not vrrp,
    )


def _least_ttl(context: Context, name: str, settings: dict[str, Node], ttl: int) -> int:
    hops: int = get(settings, "max_hops", 0)
    if hops in (-1, MOST_TTL):
        return ANY_TTL
    if hops > ttl:
        what = f"max_hops {hops} is more than the ttl, {ttl}"
        said = f"BFD instance {name}: max_hops exceeds ttl/hoplimit - setting to ttl/hoplimit"
        _tell(context, settings["max_hops"], what, f"write at most {ttl}, or -1", f"{ttl} is taken", said)
        hops = ttl
    return ttl - hops


def _remarks(context: Context, settings: dict[str, Node]) -> None:
    """What works, and is hardly meant."""
    if get(settings, "min_rx", 0) > SLOW:
        what = f"min_rx {settings['min_rx'].line.words[1]} ms: a dead neighbour is noticed late"
        _remark(context, settings["min_rx"], what, "write milliseconds")
    if get(settings, "multiplier", 0) > MANY:
        what = f"multiplier {get(settings, 'multiplier', 0)}: a dead neighbour is noticed late"
        _remark(context, settings["multiplier"], what, f"write at most {MANY}")


def _remark(context: Context, node: Node, what: str, cure: str) -> None:
    """Something that keepalived takes without a word."""
    context.tell(node, Trouble(what, cure, "it is taken", Grade.WARNING, condition=Condition.NONE), domain="lvs")


def _words(name: str, said: str) -> str:
    return f"Configuration error: BFD instance {name} {said}"


def _tell(
    context: Context, node: Node, what: str, cure: str, meanwhile: str = "it is left aside", phrase: str = ""
) -> None:
    context.tell(node, Trouble(what, cure, meanwhile, phrase=phrase), domain="lvs")
