"""`holdfast why`: why an instance, a virtual server or a real server is as it is, and what would change that."""

import difflib
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.cli.events import draw as draw_event
from holdfast.cli.status import SERVER_COLOURS, STATE_COLOURS, point, since_text
from holdfast.control.client import AskError, ask

if TYPE_CHECKING:
    from holdfast.engine.why import Explanation, Reason

INDENT = 2
COLOURS = STATE_COLOURS | {state.upper(): colour for state, colour in SERVER_COLOURS.items()}
REMEMBERED = 4000
"""So many events are looked through for what led here."""


@click.command("why", short_help="why an instance or a server is as it is, and what would change it")
@click.argument("instance", metavar="INSTANCE|VIRTUAL_SERVER")
@click.argument("real_server", required=False)
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(instance: str, real_server: str | None, as_json: bool, run_dir: str | None) -> None:
    """Why INSTANCE (or each member of a sync group) is MASTER, BACKUP or in FAULT, why it does not take over, and what
    would change that. Or why VIRTUAL_SERVER has its quorum, and REAL_SERVER its connections, or not.

    \b
    Examples:
      holdfast why web
      holdfast why 192.0.2.1:80                  a virtual server
      holdfast why 192.0.2.1:80 10.0.0.7:8080    one of its servers
      holdfast why web --json | jq -r '.against[].slug'
    """
    try:
        status = ask(run_dir, {"command": "status"})
        service = service_named(status, instance)
        if service is None and real_server is None:
            found, group = explanations(status, instance, events(run_dir))
        else:
            found, group = [of_service(status, service, instance, real_server, events(run_dir))], False
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if as_json:
        import msgspec

        documents = [msgspec.to_builtins(one) for one in found]
        whole = {"name": instance, "kind": "group", "members": documents} if group else documents[0]
        sys.stdout.write(json.dumps(whole, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    sheet = Sheet()
    for number, one in enumerate(found):
        if number:
            sheet.line()
        draw(one, str(status.get("time")), sheet)
    sheet.flush()


def events(run_dir: str | None) -> list[dict[str, Any]]:
    """What the journal remembers; nothing when there is none."""
    from holdfast.control import journal

    try:
        return journal.read(journal.find(run_dir))[-REMEMBERED:]
    except AskError:
        return []


def explanations(
    status: dict[str, Any], name: str, rows: list[dict[str, Any]]
) -> tuple[list["Explanation"], bool]:
    """The explanations of the instance `name`, or (True) of the members of that sync group. Raises AskError."""
    import msgspec

    from holdfast.engine.node import NodeView
    from holdfast.engine.why import explain

    try:
        node = msgspec.convert(status, NodeView)
    except msgspec.ValidationError as wrong:
        raise AskError(f"the daemon's answer is of another form ({wrong}): restart it, or use its version") from None
    members = next((group.members for group in node.sync_groups if group.name == name), None)
    instances = [one.name for one in node.instances]
    wanted = [name] if name in instances else members
    if wanted is None:
        known = [*instances, *(group.name for group in node.sync_groups)]
        known += [str(one["name"]) for one in status.get("virtual_servers") or ()]
        raise AskError(f"there is no instance {name}: {_nearest(name, known)}")
    incidents = status.get("incidents") or []
    found = [one for one in (explain(node, member, rows, incidents) for member in wanted) if one is not None]
    return found, name not in instances


def service_named(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The virtual server of that name, if there is one; an instance of the same name goes before."""
    from holdfast.engine.why_services import names_of

    if any(one["name"] == name for one in (*status.get("instances", ()), *status.get("sync_groups", ()))):
        return None
    return next((one for one in status.get("virtual_servers") or () if name in names_of(one)), None)


def of_service(
    status: dict[str, Any], service: dict[str, Any] | None, name: str, real_server: str | None,
    rows: list[dict[str, Any]],
) -> "Explanation":  # fmt: skip
    """The explanation of a virtual server, or of one of its servers. Raises AskError."""
    from holdfast.engine.why_services import explain_server, explain_service, server_names

    if service is None:
        known = [str(one["name"]) for one in status.get("virtual_servers") or ()]
        raise AskError(f"there is no virtual server {name}: {_nearest(name, known)}")
    if real_server is None:
        return explain_service(service, rows)
    server = next((one for one in service["real_servers"] if real_server in server_names(one)), None)
    if server is None:
        known = [server_names(one)[1] for one in service["real_servers"]]
        raise AskError(f"{service['name']} has no real server {real_server}: {_nearest(real_server, known)}")
    return explain_server(service, server, rows)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known[:10]) or 'none'}"


def draw(one: "Explanation", now: str, sheet: Sheet) -> None:
    """One explanation, for people."""
    state = sheet.paint(one.state, COLOURS.get(one.state, ""))
    since = f", since {since_text(one.since, point(now)).removesuffix(' ago')}" if one.since else ""
    sheet.line(f"{one.name} is {state}{since}")
    titles = (
        ("why it is", one.reasons),
        ("why it does not take over", one.against),
        ("what would change it", one.changes),
    )
    shown: set[str] = set()
    for title, reasons in titles:
        if reasons:
            sheet.line()
            sheet.line(title, "bold")
            _tree(reasons, INDENT, sheet, shown)
    if one.warnings:
        sheet.line()
        sheet.line("worth knowing", "bold")
        _tree(one.warnings, INDENT, sheet, shown, "yellow")
    if one.history:
        sheet.line()
        sheet.line("what led here", "bold")
        wide = max(len(str(row.get("name"))) for row in one.history)
        for row in one.history:
            draw_event(dict(row), sheet, wide, " " * INDENT)


def _tree(reasons: tuple["Reason", ...], indent: int, sheet: Sheet, shown: set[str], colour: str = "") -> None:
    """The reasons, each with those behind it that were not told before."""
    for reason in reasons:
        sheet.wrapped(reason.text, indent + 2, " " * indent + "- ", colour)
        fresh = tuple(behind for behind in reason.because if behind.text not in shown)
        shown.add(reason.text)
        _tree(fresh, indent + 2, sheet, shown, colour)
