"""What the supervisor and the web worker say to each other."""

import msgspec

USUAL_GARP_DELAY_S = 5.0


class WebPlan(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Where the web worker listens, whom it asks, and who may change something."""

    listen: str  # 127.0.0.1:9650, [::1]:9650
    token_file: str  # "": nobody may change anything
    run_dir: str  # of the daemon whose worker it is
    has_instances: bool = True  # a vrrp worker is expected to run
    garp_delays_s: dict[str, float] = {}  # of the instances whose is not USUAL_GARP_DELAY_S


class WebChanged(msgspec.Struct, frozen=True, tag=True):
    """Something happened: what is shown may be another now."""


class WebStop(msgspec.Struct, frozen=True, tag=True):
    """The daemon leaves, or the web worker is wanted no more."""


ToWeb = WebPlan | WebChanged | WebStop


class WebSaid(msgspec.Struct, frozen=True, tag=True):
    """How it stands with the web worker: it listens, or why not."""

    text: str
    fine: bool


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port of `127.0.0.1:9650` or `[::1]:9650`; raises ValueError, whose text says what is expected."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "%" in host:
        raise ValueError(f"{text!r} is no ADDRESS:PORT: write 127.0.0.1:9650, or [::1]:9650")
    return host, int(port)
