"""`holdfast plan`: what a reload would change, and the risk."""

import json
from typing import Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.control.client import AskError

SIGNS = {"start": ("+", "green"), "stop": ("-", "red"), "replace": ("!", "red"), "change": ("~", "yellow")}


@click.command("plan", short_help="what a reload would change, and the risk")
@click.argument("file", type=click.Path(), required=False)
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(file: str | None, as_json: bool, run_dir: str | None) -> None:
    """Show what the running daemon would do differently with FILE (default: the file it was started with).

    \b
    Examples:
      holdfast plan /etc/keepalived/keepalived.conf
      holdfast plan new.conf --json

    Nothing is changed. Ends with 0, or with 1 when FILE can't be used or no daemon answers.
    """
    from holdfast.control.planned import look

    try:
        looked = look(run_dir, file)
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if as_json:
        click.echo(json.dumps(looked))
    else:
        sheet = Sheet()
        draw(looked, sheet)
        sheet.flush()


def draw(looked: dict[str, Any], sheet: Sheet) -> None:
    """The changes, for people."""
    for change in looked["changes"]:
        sign, colour = SIGNS[change["action"]]
        sheet.wrapped(f"{change['subject']}: {change['what']}", 4, f"  {sheet.paint(sign, colour)} ")
        if change["risk"]:
            sheet.wrapped(f"risk: {change['risk']}", 6)
    if not looked["changes"]:
        sheet.line("nothing changes")
    if looked["verdict"] == "runs":
        sheet.line(f"parts of the file are faulty and left out: see `holdfast check {looked['file']}`", "yellow")
    if looked["too_much"]:
        sheet.line(f"{looked['too_much']}: `holdfast reload` asks for --yes", "red")
    if looked["on_trial"]:
        sheet.line("the running configuration waits to be confirmed: `holdfast reload --confirmed`", "yellow")
