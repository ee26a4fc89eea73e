"""`holdfast switch`: a planned hand-over without a gap, looked at before, measured, and held."""

import getpass
import json
import os
import re
import sys
import time
from typing import Any

import click

from holdfast.base.time import span_text
from holdfast.cli.drawing import Sheet
from holdfast.control.client import AskError, ask

UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
POLL_S = 0.02


def seconds(_context: object, _parameter: object, value: str | None) -> float | None:
    """`90`, `90s`, `10m`, `2h`, `1d` in seconds; a usage error otherwise."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value)
    if not found or found[2] not in UNITS_S or float(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is no time: write 90s, 10m, 2h or 1d")
    return float(found[1]) * UNITS_S[found[2]]


def who_asks() -> str:
    """Who gives the command, for the log: the user behind sudo, if there is one."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


@click.command("switch", short_help="hand the addresses over, without a gap, and hold it")
@click.argument("instance")
@click.option("--here", "direction", flag_value="here", help="this node becomes master now")
@click.option("--away", "direction", flag_value="away", help="this node serves until another has taken over")
@click.option("--for", "for_s", callback=seconds, metavar="TIME", help="release by itself after 90s, 10m, 2h …")
@click.option("--force", is_flag=True, help="with --away: resign at once, whether or not somebody takes over")
@click.option("--dry-run", is_flag=True, help="only look whether it would work")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(
    instance: str,
    direction: str | None,
    for_s: float | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    run_dir: str | None,
) -> None:
    """Hand the addresses of INSTANCE (and of its sync group) over, and hold that against preemption.

    \b
    Examples:
      holdfast switch web --here              this node becomes master
      holdfast switch web --away --for 10m    maintenance here: away, and free again after 10 minutes
      holdfast switch web --away --dry-run    would it work?
      holdfast release web                    the election is free again
    """
    if direction is None:
        raise click.UsageError("say --here or --away")
    if force and direction == "here":
        raise click.UsageError("--force goes with --away")
    request = {
        "command": "switch",
        "instance": instance,
        "direction": direction,
        "for_s": for_s,
        "force": force,
        "dry_run": dry_run,
        "by": who_asks(),
    }
    begun = time.monotonic()
    try:
        answer = ask(run_dir, request)
        failed = bool(answer.get("error"))
        result = {} if failed or dry_run else _await(run_dir, answer, begun)
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    document = {**answer, **result}
    if as_json:
        click.echo(json.dumps(document))
    else:
        sheet = Sheet()
        draw(document, dry_run, sheet, for_s)
        sheet.flush()
        if failed:
            cure = f"; {answer['cure']}" if answer.get("cure") else ""
            click.echo(f"holdfast: {answer['error']}{cure}", err=True)
    raise SystemExit(1 if failed or result.get("switched") is False else 0)


def _await(run_dir: str | None, answer: dict[str, Any], begun: float) -> dict[str, Any]:
    """Wait until every member has changed over, or the hold was given up; what came of it."""
    looked = answer["precheck"]
    until = begun + looked["patience_s"] + 1
    here = answer["direction"] == "here"
    while True:
        shown = {view["name"]: view for view in ask(run_dir, {"command": "status"})["instances"]}
        members = [shown[name] for name in looked["members"] if name in shown]
        over = all((view["state"] == "MASTER") == here for view in members)
        took_s = time.monotonic() - begun
        if over or time.monotonic() > until or not all(view["held"] for view in members):
            masters = {view["name"]: view["master"] for view in members}
            return {"switched": over, "took_s": round(took_s, 3), "masters": masters}
        time.sleep(POLL_S)


def draw(document: dict[str, Any], dry_run: bool, sheet: Sheet, for_s: float | None = None) -> None:
    """The precheck and the result, for people; `for_s` as it was asked for."""
    held = "held until released" + ("" if for_s is None else f", for {span_text(int(for_s * 1e9))} at most")
    for check in (document.get("precheck") or {}).get("checks", []):
        mark, colour = ("ok", "green") if check["ok"] else ("NO", "red") if check["vital"] else ("--", "yellow")
        sheet.line(f"  {sheet.paint(mark, colour)}  {check['what']}: {check['text']}")
    if document.get("error"):
        return
    if dry_run:
        sheet.line("nothing was changed (--dry-run)")
    elif document["switched"] and document["direction"] == "here":
        took_ms = document["took_s"] * 1000
        sheet.line(f"{document['instance']} is master here after {took_ms:.0f} ms; {held}")
    elif document["switched"]:
        heirs = {view["address"] for view in document["masters"].values() if view}
        whom = f" to {', '.join(sorted(heirs))}" if heirs else ""
        sheet.line(f"{document['instance']} went{whom} after {document['took_s'] * 1000:.0f} ms; {held}")
    else:
        sheet.line(
            f"nobody took {document['instance']} over in {document['took_s']:.1f} s: no backup listens, or theirs says "
            f"nopreempt; it stays here. `--force` resigns all the same."
        )


@click.command("release", short_help="end a hand-over: the election is free again")
@click.argument("instance")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def release_command(instance: str, as_json: bool, run_dir: str | None) -> None:
    """End the hold that `holdfast switch` put on INSTANCE (and on its sync group).

    \b
    Example:
      holdfast release web
    """
    try:
        answer = ask(run_dir, {"command": "release", "instance": instance, "by": who_asks()})
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if as_json:
        click.echo(json.dumps(answer))
    elif answer.get("error"):
        cure = f"; {answer['cure']}" if answer.get("cure") else ""
        click.echo(f"holdfast: {answer['error']}{cure}", err=True)
    else:
        click.echo(f"{instance} is released: the election is free again")
    sys.exit(1 if answer.get("error") else 0)
