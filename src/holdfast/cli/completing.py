"""What can stand at a place of a command line: names and addresses of the running daemon, or of the configuration.

One table says it for every argument and option that takes a value, so that commands need not know of it. A proposal
that isn't there within PATIENCE_S is given up: a shell that hangs is worse than a word typed by hand.
"""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from holdfast.control.client import AskError, NoDaemonError, ask
from holdfast.daemon.options import Options

PATIENCE_S = 0.4

Found = Iterator[tuple[str, str]]
"""Values, each with its meaning."""

Source = Callable[[click.Context], Found]
"""Who knows the values of a place; the context has what is on the line so far."""


class _TooLateError(BaseException):
    """PATIENCE_S is over."""


def status(context: click.Context) -> dict[str, Any]:
    """What the daemon answers to `status`; without one, names and addresses as the configuration has them."""
    run_dir = context.params.get("run_dir")
    try:
        return ask(run_dir, {"command": "status"}, timeout_s=PATIENCE_S)
    except NoDaemonError:
        return {} if run_dir else configured(Options().config_file)
    except AskError:
        return {}


def configured(path: str) -> dict[str, Any]:
    """The names in a configuration file, in the form of a status; empty when it can't be read."""
    from holdfast.base.address import text
    from holdfast.config.check import read_file

    if not os.access(path, os.R_OK):
        return {}
    reading = read_file(path)
    plan, others = reading.built.plan, reading.built.others
    trackers = [*(one.name for one in plan.scripts), *(one.name for one in plan.files)]
    trackers += [one.name for one in plan.processes]
    return {
        "instances": [
            {
                "name": one.name,
                "state": "",
                "vips": [text(vip.address) for vip in one.addresses],
                "interface": one.interface,
            }
            for one in plan.instances
        ],
        "sync_groups": [{"name": group.name} for group in plan.groups],
        "trackers": [{"name": name} for name in trackers],
        "virtual_servers": [
            {
                "name": server.name,
                "real_servers": [{"address": real.address, "port": real.port} for real in server.real_servers],
            }
            for server in others.virtual_servers
        ],
    }


def instances(context: click.Context) -> Found:
    """Instances and sync groups."""
    known = status(context)
    for view in known.get("instances") or ():
        yield view["name"], " ".join([view["state"] or view["interface"], *view["vips"][:3]])
    for group in known.get("sync_groups") or ():
        yield group["name"], "sync group"


def instances_and_addresses(context: click.Context) -> Found:
    """What `holdfast who` takes."""
    for view in status(context).get("instances") or ():
        yield view["name"], " ".join([view["state"] or view["interface"], *view["vips"][:3]])
        for vip in [*view["vips"], *view.get("excluded_vips", ())]:
            yield vip.partition("/")[0], f"of {view['name']}"


def everything_named(context: click.Context) -> Found:
    """What `holdfast events` takes: what has a name in the journal."""
    yield from instances(context)
    known = status(context)
    for view in known.get("trackers") or ():
        yield view["name"], "tracker"
    for server in known.get("virtual_servers") or ():
        yield server["name"], "virtual server"


def instances_and_services(context: click.Context) -> Found:
    """What `holdfast why` takes."""
    yield from instances(context)
    yield from virtual_servers(context)


def virtual_servers(context: click.Context) -> Found:
    """Virtual servers, as `holdfast status` names them."""
    for server in status(context).get("virtual_servers") or ():
        yield server["name"], "virtual server"


def real_servers(context: click.Context) -> Found:
    """The servers of the virtual server that stands before."""
    chosen = context.params.get("virtual_server") or context.params.get("instance")
    for server in status(context).get("virtual_servers") or ():
        if chosen in (None, server["name"]):
            for real in server["real_servers"]:
                host = f"[{real['address']}]" if ":" in real["address"] else real["address"]
                state = real.get("state") or "real server"
                yield f"{host}:{real['port']}", f"{state}, weight {real['weight']}" if "weight" in real else state


def interfaces(context: click.Context) -> Found:
    """The interfaces of this network namespace."""
    return ((name, "") for name in sorted(os.listdir("/sys/class/net")))


def namespaces(context: click.Context) -> Found:
    """Named network namespaces."""
    return ((name, "") for name in sorted(os.listdir("/run/netns"))) if os.path.isdir("/run/netns") else iter(())


def times(context: click.Context) -> Found:
    """A few times, to show how they are written."""
    return iter((("90s", ""), ("10m", ""), ("2h", ""), ("1d", "")))


def makes(context: click.Context) -> Found:
    """Who can play a host of the lab: the hosts are named a, b, c … unless the line says otherwise."""
    for host in ("a", "b"):
        for make in ("holdfast", "keepalived", "ucarp"):
            yield f"{host}={make}", ""


FILE, DIR, NOTHING = "file", "dir", "nothing"

BY_METAVAR: dict[str, Source | str] = {
    "FILE": FILE,
    "FILE.pcap": FILE,
    "[NAME=]FILE…": FILE,
    "DIR": DIR,
    "IFACE": interfaces,
    "TIME": times,
    "HOST=MAKE": makes,
    "SECONDS": NOTHING,
    "N": NOTHING,
    "ID": NOTHING,
    "SPEC": NOTHING,
    "COMMANDS": NOTHING,
    "ADDR:PORT": NOTHING,
}
"""What goes where an option's help says FILE, TIME and so on."""

BY_PLACE: dict[str, Source | str] = {
    "check config_id": NOTHING,
    "drift first": FILE,
    "drift second": FILE,
    "events instance": everything_named,
    "release instance": instances,
    "replay instance": instances,
    "replay since": NOTHING,
    "run namespace": namespaces,
    "server real_server": real_servers,
    "server virtual_server": virtual_servers,
    "server weight": NOTHING,
    "switch instance": instances,
    "who vip_or_instance": instances_and_addresses,
    "why instance": instances_and_services,
    "why real_server": real_servers,
}
"""What goes to a place of one command: its name and its parameter's."""


def known(command: str, parameter: click.Parameter) -> Source | str | None:
    """What stands at a place; None where click itself knows (choices, files) or nothing has a value (flags)."""
    if getattr(parameter, "is_flag", False) or getattr(parameter, "count", False):
        return None
    named = BY_PLACE.get(f"{command} {parameter.name}")
    if named is not None or isinstance(parameter.type, click.Choice | click.Path | click.File):
        return named
    return BY_METAVAR.get(parameter.metavar or "")


def teach(name: str, command: click.Command) -> None:
    """Give a command's arguments and options their values."""
    for parameter in command.params:
        source = known(name, parameter)
        if source is not None:
            parameter._custom_shell_complete = _completer(source)


def _completer(source: Source | str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
        if not callable(source):
            return [] if source == NOTHING else [CompletionItem(begun, type=source)]
        taken = context.params.get(parameter.name or "")
        before = taken if isinstance(taken, tuple) else ()
        return [
            CompletionItem(value, help=about)
            for value, about in in_time(lambda: source(context))
            if value.startswith(begun) and value not in before
        ]

    return complete


def in_time(source: Callable[[], Found]) -> list[tuple[str, str]]:
    """Everything a source knows, each value once; nothing when it takes too long or can't be asked."""

    def give_up(_signal: int, _frame: object) -> None:
        raise _TooLateError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        return list(dict(source()).items())
    except (_TooLateError, OSError):
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
