"""Where dumps go, and putting them there safely: the directory is usually /tmp, where anybody may lay a trap."""

import os
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from holdfast.config.plan import Settings, VrrpPlan
from holdfast.engine.node import NodeView
from holdfast.export.dumps import data_text, parent_text, stats_text
from holdfast.export.json_dump import json_bytes

KINDS = ("data", "stats", "json")
"""What a signal may ask for: SIGUSR1, SIGUSR2, SIGRTMIN+2."""

DEFAULT_UMASK = 0o177


def directory(environment: Mapping[str, str]) -> str:
    """TMPDIR when it is the absolute path of a directory, else /tmp."""
    chosen = environment.get("TMPDIR", "")
    return chosen if chosen.startswith("/") and os.path.isdir(chosen) else "/tmp"


def data_path(settings: Settings, process: str, environment: Mapping[str, str]) -> str:
    """The `.data` file of a process ("": VRRP, "_parent"), after `state_dump_file` and `data_use_instance`."""
    asked = settings.state_dump_file
    if not asked:
        place, name = directory(environment), "keepalived.data"
    elif asked.endswith("/"):
        place, name = asked, "keepalived.data"
    else:
        place, name = os.path.split(asked)
        place = place or directory(environment)
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    stem += process
    if settings.dump_with_instance:
        own = "_".join(part for part in (settings.net_namespace, settings.instance_name) if part)
        stem += f".{own}" if own else ""
    return os.path.join(place, stem + dot + extension)


class Overrides(Protocol):
    """What the command line said that goes before the configuration (daemon/options.py)."""

    @property
    def umask(self) -> int | None:
        """`-u`."""

    @property
    def net_namespace(self) -> str:
        """`-s`."""


def places(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Where each dump is written."""
    return {
        "data": data_path(settings, "", environment),
        "parent": data_path(settings, "_parent", environment),
        "stats": os.path.join(directory(environment), "keepalived.stats"),
        "json": os.path.join(directory(environment), "keepalived.json"),
    }


class Balanced(NamedTuple):
    """The balancer's plan as MessagePack, and its virtual servers as JSON."""

    plan: bytes
    rows: bytes = b"[]"


def write_dump(
    kind: str, plan: bytes, view: bytes | None, options: Overrides, environment: Mapping[str, str] = os.environ,
    balanced: Balanced | None = None,
) -> list[str]:  # fmt: skip
    """Write what `kind` (see KINDS) asks for; the paths written. Raises OSError with the path.

    `plan` is a VrrpPlan as MessagePack, `view` a NodeView as JSON: the forms in which the supervisor has them. `view`
    None: no vrrp worker runs, and there are no files of it.
    """
    decoded = msgspec.msgpack.decode(plan, type=VrrpPlan) if plan else VrrpPlan()
    settings = decoded.settings
    if options.umask is not None:
        settings = msgspec.structs.replace(settings, umask=options.umask)
    if options.net_namespace:
        settings = msgspec.structs.replace(settings, net_namespace=options.net_namespace)
    whole = msgspec.structs.replace(decoded, settings=settings)
    seen = None if view is None else msgspec.json.decode(view, type=NodeView)
    return write(kind, whole, seen, environment, balanced)


def write(
    kind: str, plan: VrrpPlan, view: NodeView | None, environment: Mapping[str, str], balanced: Balanced | None = None
) -> list[str]:
    """`write_dump` of what is already decoded."""
    settings = plan.settings
    mode = 0o666 & ~(DEFAULT_UMASK if settings.umask is None else settings.umask)
    place = places(settings, environment)
    if kind == "data":
        files = {place["parent"]: parent_text(plan).encode()}
        if view is not None:
            files[place["data"]] = data_text(plan, view).encode()
        if plan.bfd and view is not None:
            from holdfast.export.bfd_dump import bfd_text

            files[data_path(settings, "_bfd", environment)] = bfd_text(plan, view).encode()
        if balanced is not None:
            files[data_path(settings, "_check", environment)] = _check_octets(settings, balanced)
    elif view is None:
        files = {}
    elif kind == "stats":
        files = {place["stats"]: stats_text(view).encode()}
    else:
        assert kind == "json", kind
        files = {place["json"]: json_bytes(plan, view)}
    for path, octets in files.items():
        replace(path, octets, mode)
    return list(files)


def _check_octets(settings: Settings, balanced: Balanced) -> bytes:
    from holdfast.config.balancer_plan import BalancerPlan
    from holdfast.export.check_dump import check_text

    rows = msgspec.json.decode(balanced.rows)
    return check_text(settings, msgspec.msgpack.decode(balanced.plan, type=BalancerPlan), rows).encode()


def replace(path: str, octets: bytes, mode: int = 0o600) -> None:
    """Put a file at `path` at once, whole, with that mode; a link or a stranger's file there is replaced, not followed.

    It is written under a name nobody can have taken (O_EXCL) and moved. Raises OSError with the path.
    """
    beside = f"{path}.{os.urandom(8).hex()}"
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            remaining = memoryview(octets)
            while remaining:
                remaining = remaining[os.write(fd, remaining) :]
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except OSError as failed:
        try:
            os.unlink(beside)
        except OSError:
            pass
        raise OSError(failed.errno, failed.strerror, path) from None
