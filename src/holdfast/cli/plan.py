"""`holdfast plan`: what a reload would change, and the risk."""

import json
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.control.client import AskError, ask

if TYPE_CHECKING:
    from holdfast.config.changes import Change

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


def look(run_dir: str | None, file: str | None) -> dict[str, Any]:
    """The document of `plan --json`; raises AskError when there is no daemon or the file can't be used."""
    import base64

    import msgspec

    from holdfast.config.changes import changes, too_much
    from holdfast.config.check import Environment, check_file
    from holdfast.config.plan import VrrpPlan, covered

    answer = ask(run_dir, {"command": "plan"})
    path = file or answer["file"]
    try:
        running = msgspec.msgpack.decode(base64.b64decode(answer["plan"]), type=VrrpPlan)
    except msgspec.DecodeError as wrong:
        raise AskError(f"the daemon's plan is not understood ({wrong}): are both of the same version?") from None
    environment = Environment(config_id=answer["config_id"], all_include_checks=answer["all_includes_checked"])
    checked = check_file(path, environment=environment)
    if checked.verdict == "refused":
        raise AskError(f"{path} can't be used, and a reload would be refused: see `holdfast check {path}`")
    found: tuple[Change, ...] = changes(running, covered(checked.plan, bytes.fromhex(answer["salt"])))
    return {
        "file": path,
        "verdict": checked.verdict,
        "changes": msgspec.to_builtins(found),
        "too_much": too_much(running, checked.plan) or None,
        "on_trial": answer["on_trial"],
    }


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
