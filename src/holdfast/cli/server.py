"""`holdfast server`: real servers at run time: drain, disable, enable, weigh."""

import json
import sys
import time
from typing import Any

import click

from holdfast.cli.switch import seconds, who_asks
from holdfast.control.client import AskError, ask

ACTIONS = ("drain", "disable", "enable", "weight")
POLL_S = 0.5


@click.command("server", short_help="real servers at run time: drain, enable, disable, weigh")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("virtual_server")
@click.argument("real_server")
@click.argument("weight", type=click.IntRange(0, 2**31 - 1), required=False)
@click.option("--timeout", "timeout_s", callback=seconds, metavar="TIME", help="drain: wait no longer than 90s, 5m …")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(
    action: str,
    virtual_server: str,
    real_server: str,
    weight: int | None,
    timeout_s: float | None,
    as_json: bool,
    run_dir: str | None,
) -> None:
    """Give REAL_SERVER of VIRTUAL_SERVER another weight, until `enable` gives its own back.

    \b
    Examples:
      holdfast server drain 192.0.2.1:80 10.0.0.7:8080 --timeout 5m     for maintenance: wait for its connections
      holdfast server disable 192.0.2.1:80 10.0.0.7:8080                no new connections, and don't wait
      holdfast server weight 192.0.2.1:80 10.0.0.7:8080 3
      holdfast server enable 192.0.2.1:80 10.0.0.7:8080                 back to its own weight

    Names are those of `holdfast status`. What is held survives a reload and a restart. Ends with 1 when connections
    are left after --timeout (the server stays drained), or when there is no such server.
    """
    if (action == "weight") != (weight is not None):
        raise click.UsageError("`weight` wants a number" if action == "weight" else f"`{action}` takes no number")
    if timeout_s is not None and action != "drain":
        raise click.UsageError("--timeout goes with drain")
    wanted = None if action == "enable" else weight if action == "weight" else 0
    request = {
        "command": "server", "service": virtual_server, "server": real_server, "weight": wanted, "by": who_asks(),
    }  # fmt: skip
    try:
        answer = ask(run_dir, request)
        if not answer.get("error") and action == "drain":
            answer |= _drained(run_dir, answer, timeout_s)
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if as_json:
        click.echo(json.dumps(answer))
    elif not answer.get("error"):
        click.echo(_words(action, answer))
    if answer.get("error"):
        cure = f"; {answer['cure']}" if answer.get("cure") else ""
        click.echo(f"holdfast: {answer['error']}{cure}", err=True)
    sys.exit(1 if answer.get("error") or answer.get("drained") is False else 0)


def _drained(run_dir: str | None, answer: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
    """Wait until the server has no connection left."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = _connections(ask(run_dir, {"command": "status"}), answer["service"], answer["server"])
        if not left or (until is not None and time.monotonic() >= until):
            return {"drained": not left, "connections": left}
        if sys.stderr.isatty():
            click.echo(f"\r{left} connections left …  ", err=True, nl=False)
        time.sleep(POLL_S)


def _connections(status: dict[str, Any], service: str, label: str) -> int:
    """Those that still pass packets: of TCP the established ones, of UDP all the kernel remembers."""
    for one in status.get("virtual_servers") or []:
        if one["name"] == service:
            for server in one["real_servers"]:
                if server.get("label") == label:
                    counts = server.get("connections") or {}
                    idle = 0 if one["protocol"] == "TCP" else int(counts.get("inactive", 0))
                    return int(counts.get("active", 0)) + idle
    return 0


def _words(action: str, answer: dict[str, Any]) -> str:
    where = f"{answer['server']} of {answer['service']}"
    if action == "enable":
        return f"{where} has its own weight again"
    if action == "drain":
        left = answer.get("connections", 0)
        return f"{where} is drained" if not left else f"{where} still has {left} connections; it gets no new ones"
    return f"{where} has weight {answer['held']} until `holdfast server enable`"
