"""`holdfast reload`: take the changed configuration over, with automatic return."""

import json

import click

from holdfast.cli.drawing import Sheet
from holdfast.cli.plan import draw
from holdfast.cli.switch import seconds, who_asks
from holdfast.control.client import AskError, ask


@click.command("reload", short_help="take the changed configuration over, with automatic return")
@click.option("--confirm", "confirm_s", callback=seconds, metavar="TIME", help="return after TIME unless confirmed")
@click.option("--confirmed", is_flag=True, help="the reload on trial is good: keep it")
@click.option("--yes", is_flag=True, help="even if more than half of the instances or addresses go")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(confirm_s: float | None, confirmed: bool, yes: bool, as_json: bool, run_dir: str | None) -> None:
    """Let the daemon read its configuration again, and show what changes.

    \b
    Examples:
      holdfast reload
      holdfast reload --confirm 60s    the old configuration returns after a minute, unless
      holdfast reload --confirmed      says that all is well

    Ends with 0 when the new configuration runs, with 1 when it is refused, and the old one goes on.
    """
    if confirmed and (confirm_s is not None or yes):
        raise click.UsageError("--confirmed goes alone")
    from holdfast.control.planned import look

    try:
        if confirmed:
            ask(run_dir, {"command": "confirm", "by": who_asks()})
            click.echo(json.dumps({"confirmed": True}) if as_json else "confirmed: the new configuration stays")
            return
        looked = look(run_dir, None)
        if looked["too_much"] and not yes:
            cure = "nothing is done; look at `holdfast plan`, and add --yes if you mean it"
            raise AskError(f"{looked['too_much']}: {cure}")
        answer = ask(run_dir, {"command": "reload", "confirm_s": confirm_s, "by": who_asks()})
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if as_json:
        click.echo(json.dumps({**looked, **answer, "confirm_s": confirm_s}))
        return
    sheet = Sheet()
    draw({**looked, "too_much": None}, sheet)
    sheet.line("reloaded", "green")
    if confirm_s is not None and looked["changes"]:
        sheet.line(f"returns after {confirm_s:g} s unless `holdfast reload --confirmed` comes", "yellow")
    sheet.flush()
