"""`holdfast dump`: write the daemon's recording, or say where the dumps go that signals ask for."""

import json
import os

import click

from holdfast.cli.drawing import Sheet
from holdfast.control.client import AskError, ask


@click.command("dump", short_help="write what the daemon was told and decided; where its dumps go")
@click.argument("file", required=False, type=click.Path())
@click.option("--record", is_flag=True, help="write the recording: to FILE, else into the daemon's directory")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(file: str | None, record: bool, as_json: bool, run_dir: str | None) -> None:
    """Write the daemon's recording of the last minutes to hours: every event, and what was decided.

    \b
    Examples:
      holdfast dump --record                 into the daemon's directory, as holdfast.rec
      holdfast dump --record before.rec      to a file of yours
      holdfast dump                          where the dumps go that signals ask for

    `holdfast replay` reads it. Passwords are not in it; the file is for its owner's eyes all the same.
    """
    if file is not None and not record:
        raise click.UsageError(f"nothing is written to {file} without --record")
    try:
        answer = ask(run_dir, {"command": "dump", "record": record, "inline": file is not None})
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None
    if file is not None:
        _write(file, answer.pop("recording"))
        answer["record"] = os.path.abspath(file)
    if as_json:
        click.echo(json.dumps(answer))
        return
    sheet = Sheet()
    if record:
        sheet.line(f"{answer['record']}: {answer['bytes']} bytes; see `holdfast replay {answer['record']} --explain`")
    else:
        signals = {"data": "USR1", "parent": "USR1", "stats": "USR2", "json": "RTMIN+2"}
        for kind, path in answer["dumps"].items():
            sheet.line(f"{signals[kind]:<9}{path}")
        sheet.line(f"{'USR1':<9}{answer['record']}")
    sheet.flush()


def _write(file: str, encoded: str) -> None:
    import base64

    fresh = f"{file}.{os.getpid()}.new"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as out:
            out.write(base64.b64decode(encoded))
        os.replace(fresh, file)
    except OSError as refused:
        click.echo(f"holdfast: {file} can't be written: {refused.strerror}; name another file", err=True)
        raise SystemExit(1) from None
