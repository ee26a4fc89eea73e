"""`holdfast who`: who has each virtual address now, and the evidence side by side."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.control.client import AskError, NoDaemonError, ask

if TYPE_CHECKING:
    from holdfast.who.judge import Verdict


@click.command("who", short_help="who has each virtual address now, with the evidence")
@click.argument("vip_or_instance", nargs=-1)
@click.option("-i", "--interface", metavar="IFACE", help="where to ask [default: the instance's, else by the routes]")
@click.option("--names", is_flag=True, help="look names up in the DNS too, not only in /etc/hosts")
@click.option("--wait", "wait_s", type=click.FloatRange(0.1), metavar="SECONDS", help="listen so long for adverts")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(
    vip_or_instance: tuple[str, ...],
    interface: str | None,
    names: bool,
    wait_s: float | None,
    as_json: bool,
    run_dir: str | None,
) -> None:
    """Who has each virtual address: what this node believes, what its kernel has, what the wire says.

    \b
    Examples:
      holdfast who                       every address of this node's instances
      holdfast who web                   those of one instance
      holdfast who 192.0.2.1             one address
      holdfast who -i eth0 192.0.2.1     on a host without a daemon
      holdfast who --json | jq -r '.vips[] | "\\(.vip) \\(.owner.address)"'

    Every answer to an ARP request or neighbour solicitation counts, not only the first. Ends with 0 when every address
    has exactly one owner, 3 when one has none, 4 when one has several.
    """
    from holdfast.who.look import UnusableError, look

    try:
        verdicts = look(vip_or_instance, interface, names, wait_s, lambda: _status(run_dir))
    except (AskError, UnusableError) as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    from holdfast.who.judge import exit_status

    if as_json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.encode({"vips": verdicts}) + b"\n")
        sys.stdout.buffer.flush()
    else:
        sheet = Sheet()
        draw(verdicts, sheet)
        sheet.flush()
    raise SystemExit(exit_status(verdicts))


def _status(run_dir: str | None) -> tuple[dict[str, Any] | None, str]:
    try:
        status = ask(run_dir, {"command": "status"})
    except NoDaemonError as reason:
        return None, str(reason)
    _join_network_of(int(status["pid"]))
    return status, ""


def _join_network_of(pid: int) -> None:
    """Look and ask where the daemon does: it may live in another network namespace."""
    from holdfast.kernel.errors import KernelRefused
    from holdfast.kernel.namespaces import join_network

    theirs = f"/proc/{pid}/ns/net"
    try:
        if not os.path.samefile(theirs, "/proc/self/ns/net"):
            join_network(theirs)
    except OSError:
        pass  # not ours to see: then only root can have started it where we are not
    except KernelRefused as refused:
        click.echo(f"holdfast: {refused}; what follows is seen from outside", err=True)


def draw(verdicts: list["Verdict"], sheet: Sheet) -> None:
    """For people: the owner first, then what says so."""
    if not verdicts:
        sheet.line("no virtual address is configured")
    for one in verdicts:
        head = f"{one.vip}" + (f"  ({one.instance})" if one.instance else "")
        if one.conflict:
            sheet.line(sheet.paint(f"{head}  {len(one.claimants)} OWNERS", "red"))
        elif one.owner is None:
            sheet.line(sheet.paint(f"{head}  NOBODY", "red"))
        else:
            since = f", since {one.since}" if one.since else ""
            sheet.line(f"{head}  {sheet.paint(_host(one.claimants[0]), 'green')}{since}")
        for claimant in one.claimants if one.conflict else ():
            sheet.line(f"  owner     {_host(claimant)}; by {', '.join(claimant.by)}")
        for evidence in one.evidence:
            sheet.wrapped(evidence.says, 14, f"  {evidence.source}")
        if one.conflict:
            cure = (
                "clients reach now the one, now the other: let the hosts hear each other's adverts "
                "(`holdfast doctor` on each looks for what keeps them apart)"
            )
            sheet.wrapped(cure, 14, "  cure", "red")
        elif one.owner is None:
            sheet.wrapped("see `holdfast status` on each host that should have it", 14, "  cure", "red")


def _host(claimant: Any) -> str:
    named = [word for word in (claimant.name, claimant.address, claimant.mac) if word]
    return f"{'this host, ' if claimant.here else ''}{' '.join(named) or 'unknown'}"
