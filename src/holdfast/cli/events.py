"""`holdfast events`: what happened, when and why; of this run of the daemon and of those before."""

import difflib
import json
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.cli.status import point
from holdfast.cli.switch import seconds
from holdfast.control.client import AskError

if TYPE_CHECKING:
    from holdfast.control.journal import Follower

DEFAULT_COUNT = 100
NAME_WIDE = 12
STATE_COLOURS = {"MASTER": "green", "BACKUP": "cyan", "FAULT": "red", "STOP": "yellow", "DELETED": "yellow"}
KIND_WIDE = 8
KINDS = ("state", "tracker", "incident", "reload", "command", "daemon", "priority", "service", "kernel")


@click.command("events", short_help="what happened here, when and why")
@click.argument("instance", required=False)
@click.option("-f", "--follow", is_flag=True, help="go on with what happens from now on, until interrupted")
@click.option("-n", "count", type=click.IntRange(min=0), metavar="N", help="the last N [default: 100, or all since]")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="only such; may be repeated")
@click.option("--since", "since_s", callback=seconds, metavar="TIME", help="only of the last 90s, 10m, 2h, 1d …")
@click.option("--json", "as_json", is_flag=True, help="one JSON document a line, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(
    instance: str | None,
    follow: bool,
    count: int | None,
    kinds: tuple[str, ...],
    since_s: float | None,
    as_json: bool,
    run_dir: str | None,
) -> None:
    """Every transition, tracker, incident, reload and operator's command, each with its cause; the oldest first.

    With INSTANCE (or the name of a sync group or a tracker) only what concerns it. Works while no daemon runs, too.

    \b
    Examples:
      holdfast events
      holdfast events web --since 10m
      holdfast events --kind state --kind incident
      holdfast events --follow --json
    """
    from holdfast.control import journal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        path = journal.find(run_dir)
        follower = journal.Follower(path) if follow else None
        rows = journal.read(path)
        if instance is not None and instance not in (known := journal.names(rows)) and follower is None:
            near = difflib.get_close_matches(instance, known, 3) or sorted(known)[:10]
            raise AskError(f"no event names {instance}: {'there are ' + ', '.join(near) if near else 'there is none'}")
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if since_s is not None:
        start = datetime.now(UTC) - timedelta(seconds=since_s)
        rows = [row for row in rows if (at := point(row["time"])) is not None and at >= start]
    rows = [row for row in rows if _asked_for(row, instance, kinds)]
    if count is None and since_s is None:
        count = DEFAULT_COUNT
    if count is not None:
        rows = rows[len(rows) - min(count, len(rows)) :]
    _show(rows, as_json)
    if follower is not None:
        _go_on(follower, {json.dumps(row) for row in rows}, lambda row: _asked_for(row, instance, kinds), as_json)


def _asked_for(row: dict[str, Any], instance: str | None, kinds: tuple[str, ...]) -> bool:
    from holdfast.control.journal import concerns

    return (not kinds or row["kind"] in kinds) and (instance is None or concerns(row, instance))


def _go_on(follower: "Follower", shown: set[str], asked_for: Callable[[dict[str, Any]], bool], as_json: bool) -> None:
    try:
        for row in follower.follow():
            if shown and json.dumps(row) in shown:
                continue  # written between the two readings
            if asked_for(row):
                _show([row], as_json)
    except KeyboardInterrupt:
        return
    finally:
        follower.close()


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        sys.stdout.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        sys.stdout.flush()
        return
    sheet = Sheet()
    name_wide = max([NAME_WIDE, *(len(str(row["name"])) for row in rows)])
    for row in rows:
        draw(row, sheet, name_wide)
    sheet.flush()


def draw(row: dict[str, Any], sheet: Sheet, name_wide: int = NAME_WIDE, margin: str = "") -> None:
    """One entry: its line, and what belongs to it below."""
    at = point(row["time"])
    when = at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if at else _plain(row["time"])
    lead = f"{margin}{when}  {_plain(row['kind']):<{KIND_WIDE}}  {_plain(row['name']) or '-':<{name_wide}}  "
    what, cause = _plain(row["what"]), _plain(row.get("cause") or "")
    if left_out := row.get("left_out"):
        cause += f" ({left_out} like this before it are left out)"
    indent = len(lead)
    text = f"{what}: {cause}" if cause else what
    sheet.wrapped(text, indent, lead, colour(row))
    if row.get("cure"):
        sheet.wrapped(_plain(row["cure"]), indent, " " * (indent - 6) + "cure: ")
    for change in row.get("changes") or ():
        sheet.wrapped(_plain(change), indent + 2, " " * indent + "- ")


def colour(row: dict[str, Any]) -> str:
    """What an entry is shown in."""
    kind, what = row["kind"], str(row["what"])
    if kind == "state":
        return STATE_COLOURS.get(str(row.get("state")), "")
    if kind in ("tracker", "service"):
        return "" if row.get("up") else "red"
    if kind == "incident":
        return "red" if row.get("opened") else "green"
    bad = ("refused" in what, "failed" in what, what.startswith("vrrp worker ended"), "lost" in what, "stuck" in what)
    return "red" if any(bad) else ""


def _plain(text: object) -> str:
    """Text that a script or a peer may have had a hand in, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()
