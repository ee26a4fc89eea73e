"""A small drawing of a lab: the hosts side by side on their network, who has the addresses, what a client notices."""

from typing import TYPE_CHECKING

from holdfast.base.address import text
from holdfast.base.time import span_text

if TYPE_CHECKING:
    from holdfast.lab.session import Session
    from holdfast.lab.site import Router

WIDEST = 34


def picture(session: "Session") -> list[str]:
    """The lines."""
    boxes = [_box(router) for router in session.site.routers.values()]
    height = max(len(box) for box in boxes)
    widths = [max(len(line) for line in box) for box in boxes]
    lines = [
        "  ".join("┌" + "─" * (width + 2) + "┐" for width in widths),
        *(
            "  ".join(
                f"│ {(box[row] if row < len(box) else ''):<{width}} │" for box, width in zip(boxes, widths, strict=True)
            )
            for row in range(height)
        ),
        "  ".join(
            "└" + "─" * ((width + 2) // 2) + "┬" + "─" * (width + 1 - (width + 2) // 2) + "┘" for width in widths
        ),
    ]
    wire = ""
    for router, width in zip(session.site.routers.values(), widths, strict=True):
        sign = "╳" if not router.powered else "┴"
        left = (width + 2) // 2 + 1
        wire += "─" * left + sign + "─" * (width + 5 - left)
    lines.append(wire)
    lines += _client(session)
    return lines


def _box(router: "Router") -> list[str]:
    lines = [f"{router.name} ({router.make})"]
    if not router.powered:
        return [*lines, "off"]
    if router.paused:
        lines.append("stands still")
    elif not router.running:
        lines.append("no daemon")
    states = router.states()
    for config in router.node.plan.instances[:8]:
        lines.append(f"{config.name} {states.get(config.name, '-')}"[:WIDEST])
    for vip in router.holds()[:8]:
        lines.append(f"• {text(vip)}")
    return lines


def _client(session: "Session") -> list[str]:
    lines = []
    for vip, owners in session.site.owners().items():
        line = f"  {text(vip)}: {' and '.join(owners) or 'NOBODY'}"
        probe = session.probes.get(vip)
        seen = probe.now() if probe is not None else None
        if seen is not None:
            line += f"; {seen.answered} answers, longest gap {span_text(seen.outage_ns)} ({seen.outage_lost} lost)"
        lines.append(line)
    return lines
