"""`holdfast run` for click: its help page and its usage errors (a plain start goes past click, see main.py)."""

import click

from holdfast.cli.parsing import Takes
from holdfast.cli.run import OPTIONS, settle, start

EXAMPLES = """\b
Examples:
  holdfast check keepalived.conf               read it first
  holdfast run -f keepalived.conf              in the foreground; Ctrl-C leaves cleanly
  holdfast run -f b.conf --run-dir /run/b      a second one, in its own directory
\b
Signals: TERM leaves cleanly, HUP reloads the configuration.
Ask it with: holdfast status
"""


def _run(**values: str | int | bool | None) -> None:
    by_name = {option.name: values[option.name.replace("-", "_")] for option in OPTIONS}
    raise SystemExit(start(settle(by_name)))


command = click.Command(
    "run",
    callback=_run,
    short_help="be the daemon, in the foreground",
    help="Be the daemon, in the foreground: run keepalived.conf as it is.\n\n" + EXAMPLES,
    params=[
        click.Option(
            [f"--{option.name}", *([f"-{option.letter}"] if option.letter else [])],
            metavar=option.metavar or None,
            help=option.meaning,
            is_flag=option.takes is Takes.NOTHING and option.name != "verbose",
            count=option.name == "verbose",
        )
        for option in OPTIONS
    ],
)
