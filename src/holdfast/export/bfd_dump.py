"""`keepalived_bfd.data`, as keepalived's BFD process lays it out.

Descriptors, threads and their times are that process's own: the lines are there, and say that there are none.
"""

from collections.abc import Iterator

from holdfast.base.address import text
from holdfast.base.time import MICROSECOND
from holdfast.bfd.config import SessionConfig
from holdfast.bfd.view import SessionView
from holdfast.config.plan import VrrpPlan
from holdfast.engine.node import NodeView
from holdfast.export.dumps import global_lines
from holdfast.export.words import moment_words, yes

ANSWER = ("Yes", "No")
NIL = "0x(nil)"
DISABLED = "[disabled]"
DIAGNOSTICS = {
    "": "No Diagnostic",
    "no diagnostic": "No Diagnostic",
    "control detection time expired": "Control Detection Time Expired",
    "echo function failed": "Echo Function Failed",
    "neighbour signalled session down": "Neighbor Signaled Session Down",
    "forwarding plane reset": "Forwarding Plane Reset",
    "path down": "Path Down",
    "concatenated path down": "Concatenated Path Down",
    "administratively down": "Administratively Down",
    "reverse concatenated path down": "Reverse Concatenated Path Down",
}
"""The words of RFC 5880 §4.1 for ours."""


def bfd_text(plan: VrrpPlan, view: NodeView) -> str:
    """The whole of `keepalived_bfd.data`."""
    lines = [*global_lines(plan.settings), "------< BFD Data >------", " fd_in = -1", f" thread_in = {NIL}"]
    lines.append("------< BFD Topology >------")
    by_name = {session.name: session for session in view.bfd}
    for config in plan.bfd:
        session = by_name.get(config.name)
        if session is not None:
            lines += _session_lines(config, session)
    return "".join(f"{line}\n" for line in lines)


def _session_lines(config: SessionConfig, view: SessionView) -> Iterator[str]:
    ipv6 = len(config.neighbor) == 16
    yield f" BFD Instance = {config.name}"
    yield f"   Neighbor IP = {text(config.neighbor)}"
    if config.source is not None:
        yield f"   Source IP = {text(config.source)}"
    yield f"   Required min RX interval = {config.min_rx_ns // MICROSECOND} us"
    yield f"   Desired min TX interval = {config.min_tx_ns // MICROSECOND} us"
    yield f"   Desired idle TX interval = {config.idle_tx_ns // MICROSECOND} us"
    yield f"   Detection multiplier = {config.multiplier}"
    yield f"   {'hoplimit' if ipv6 else 'TTL'} = {config.ttl}"
    yield f"   max_hops = {config.ttl - config.least_ttl if config.least_ttl else 255}"
    yield f"   passive = {yes(config.passive)}"
    yield f"   send event to VRRP process = {yes(config.for_vrrp, ANSWER)}"
    yield f"   send event to checker process = {yes(config.for_checkers, ANSWER)}"
    yield "   fd_out -1"
    for name in ("open_fd_out", "out"):
        yield f"   thread_{name} {NIL}"
    yield f"   sands_out = {DISABLED}"
    for name in ("exp", "rst"):
        yield f"   thread_{name} {NIL}"
        yield f"   sands_{name} = {DISABLED}"
    yield f"   send error = {yes(bool(view.trouble))}"
    yield from _state_lines(config, view)


def _state_lines(config: SessionConfig, view: SessionView) -> Iterator[str]:
    transmit_us = round(view.transmit_ms * 1000) or config.idle_tx_ns // MICROSECOND
    yield f"   local state = {view.state}"
    yield f"   remote state = {view.remote_state or 'Down'}"
    yield f"   local discriminator = 0x{view.discriminator:x}"
    yield f"   remote discriminator = 0x{view.remote_discriminator:x}"
    yield f"   local diag = {DIAGNOSTICS.get(view.diagnostic, view.diagnostic)}"
    yield f"   remote diag = {DIAGNOSTICS.get(view.remote_diagnostic, view.remote_diagnostic)}"
    yield f"   remote min tx intv = {round(view.remote_min_tx_ms * 1000)} us"
    yield f"   remote min rx intv = {round(view.remote_min_rx_ms * 1000)} us"
    yield "   local demand = 0"
    yield "   remote demand = 0"
    yield f"   remote detect multiplier = {view.remote_multiplier}"
    yield "   !poll, !final"
    yield f"   local tx intv = {transmit_us} us"
    yield f"   remote tx intv = {round(view.detection_ms * 1000) // (view.remote_multiplier or 1)} us"
    yield f"   local detection time = {round(view.detection_ms * 1000)} us"
    yield f"   remote detection time = {transmit_us * config.multiplier if view.remote_state else 0} us"
    if view.last_heard is None:
        yield "   last_seen = [never]"
    else:
        yield f"   last seen = {moment_words(view.last_heard)}"
