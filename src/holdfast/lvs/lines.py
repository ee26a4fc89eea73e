"""A service's changes as lines: for the FIFOs in keepalived's form, for the log in the words people search for."""

from holdfast.base.address import text
from holdfast.base.ipvs import PROTOCOL_NAMES
from holdfast.lvs.config import RealServerConfig, SorryServerConfig, VirtualServerConfig
from holdfast.lvs.machine import ServiceState
from holdfast.lvs.messages import Effect, QuorumGained, QuorumLost, ServerDown, ServerUp, WeightChanged


def server_label(service: VirtualServerConfig, server: RealServerConfig | SorryServerConfig) -> str:
    """`[10.0.0.2]:tcp:80`; `none` for the protocol of a marked service's server."""
    return f"[{text(server.address)}]:{PROTOCOL_NAMES.get(service.protocol, 'none')}:{server.port}"


def fifo_line(service: VirtualServerConfig, effect: Effect, *, init_notifies: bool = False) -> str | None:
    """The line for `lvs_notify_fifo` and `notify_fifo`, its NUL after the newline as in keepalived; None: none.

    Servers that begin up are told only with `init_notifies` (`rs_init_notifies`).
    """
    if isinstance(effect, QuorumGained | QuorumLost):
        return f"VS {service.label} {'UP' if isinstance(effect, QuorumGained) else 'DOWN'}\n\0"
    if isinstance(effect, ServerUp | ServerDown):
        up = isinstance(effect, ServerUp)
        if isinstance(effect, ServerUp) and effect.at_start and not init_notifies:
            return None
        server = server_label(service, service.servers[effect.server])
        return f"RS {server} {service.label} {'UP' if up else 'DOWN'}\n\0"
    return None


def log_lines(service: VirtualServerConfig, state: ServiceState, effect: Effect) -> tuple[str, ...]:
    """What the log says of `effect`, which led to `state`."""
    vs = f"VS {service.label}"
    match effect:
        case ServerUp(at_start=True):
            return ()
        case ServerUp(server=number):
            one = service.servers[number]
            name = server_label(service, one)
            return (f"Enabling service {name} of {vs}" if one.inhibit else f"Adding service {name} to {vs}",)
        case ServerDown(server=number, stopping=False):
            one = service.servers[number]
            name = server_label(service, one)
            return (f"Disabling service {name} of {vs}" if one.inhibit else f"Removing service {name} from {vs}",)
        case ServerDown(server=number):
            return (f"Shutting down service {server_label(service, service.servers[number])} from {vs}",)
        case WeightChanged(server=number, before=before, after=after):
            name = server_label(service, service.servers[number])
            active = "active" if state.servers[number].alive else "inactive"
            return (f"Changing weight from {before} to {after} for {active} service {name} of {vs}",)
        case QuorumGained(live=live):
            quorum, hysteresis = service.quorum, service.hysteresis
            gained = f"Gained quorum {quorum}+{hysteresis}={quorum + hysteresis} <= {live} for {vs}"
            return (gained, *_sorry_lines(service, serves=False))
        case QuorumLost(live=live, stopping=stopping):
            quorum, hysteresis = service.quorum, service.hysteresis
            lost = f"Lost quorum {quorum}-{hysteresis}={quorum - hysteresis} > {live} for {vs}"
            return (lost,) if stopping else (lost, *_sorry_lines(service, serves=True))
    return ()


def _sorry_lines(service: VirtualServerConfig, *, serves: bool) -> tuple[str, ...]:
    if service.sorry is None:
        return ()
    vs, name = f"VS {service.label}", server_label(service, service.sorry)
    if service.sorry.inhibit:
        first = f"{'Enabling' if serves else 'Disabling'} sorry server {name} of {vs}"
    else:
        first = f"Adding sorry server {name} to {vs}" if serves else f"Removing sorry server {name} from {vs}"
    pool = "Removing alive servers from the pool" if serves else "Adding alive servers to the pool"
    return first, f"{pool} for {vs}"
