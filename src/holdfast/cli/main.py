"""`holdfast`: finds the command asked for and imports no other."""

import os
import sys
from typing import TYPE_CHECKING

from holdfast import __version__

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

COMPLETING = "_HOLDFAST_COMPLETE"
"""The variable by which a shell asks for completions."""

COMMANDS = {
    "run": ("holdfast.cli.run_help", "be the daemon, in the foreground"),
    "check": ("holdfast.cli.check", "every problem of a configuration: the place, the cure, what happens meanwhile"),
    "status": ("holdfast.cli.status", "who is master here, why, since when, and what is wrong"),
    "who": ("holdfast.cli.who", "who has each virtual address now, with the evidence"),
    "why": ("holdfast.cli.why", "why an instance is as it is, and what would change it"),
    "events": ("holdfast.cli.events", "what happened here, when and why"),
    "switch": ("holdfast.cli.switch", "hand the addresses over, without a gap, and hold it"),
    "release": ("holdfast.cli.release", "end a hand-over: the election is free again"),
    "server": ("holdfast.cli.server", "real servers at run time: drain, enable, disable, weigh"),
    "plan": ("holdfast.cli.plan", "what a reload would change, and the risk"),
    "reload": ("holdfast.cli.reload", "take the changed configuration over, with automatic return"),
    "drift": ("holdfast.cli.drift", "what two nodes' files disagree on, and what that would do"),
    "doctor": ("holdfast.cli.doctor", "this host's obstacles, each with its cure"),
    "simulate": ("holdfast.cli.simulate", "every fault of a cluster, its outcome and outage, from its hosts' files"),
    "lab": ("holdfast.cli.lab", "real hosts from configuration files, with faults on command"),
    "sniff": ("holdfast.cli.sniff", "every VRRP, CARP and BFD speaker heard; never transmits"),
    "decode": ("holdfast.cli.decode", "the packets of a capture file, a line each"),
    "dump": ("holdfast.cli.dump", "write what the daemon was told and decided; where its dumps go"),
    "replay": ("holdfast.cli.replay", "a recording, decided again; --explain says why each state changed"),
    "completion": ("holdfast.cli.completion", "the script that lets a shell complete commands, names and addresses"),
}
"""Each command's module, which holds `command`, and its line in the help: a new command is one line here."""

HELP = """Keep an address alive on two hosts, or more: holdfast runs an unmodified keepalived.conf
(VRRP high availability) and explains what it does.

\b
Examples:
  holdfast check keepalived.conf      what is wrong with it, and how to put it right
  holdfast run -f keepalived.conf     the daemon, in the foreground
  holdfast status                     who is master, why, since when; --json for programs
  holdfast who                        who has each address now, with the evidence
  holdfast switch web --here          hand the addresses over, without a gap
\b
A daemon is found by --run-dir DIR, else HOLDFAST_RUN_DIR, else in /run/holdfast or
/run/keepalived. Exit status: 0 done, 1 failed, 2 not understood.
"""


def group() -> "click.Group":
    """The command line as click knows it; a command's module is imported when that command is asked for."""
    import importlib

    import click

    if COMPLETING in os.environ:
        from holdfast.cli.shells import register

        register()

    class Commands(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            if name not in COMMANDS:
                return None
            command = importlib.import_module(COMMANDS[name][0]).command
            assert isinstance(command, click.Command)
            if COMPLETING in os.environ:
                from holdfast.cli.completing import teach

                teach(name, command)
            return command

        def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
            from click.shell_completion import CompletionItem

            found = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items()]
            options = click.Command.shell_complete(self, ctx, incomplete)
            return [item for item in found if item.value.startswith(incomplete)] + options

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            name = args[0]
            if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
                import difflib

                near = difflib.get_close_matches(name, COMMANDS, 1)
                cure = f"did you mean `{near[0]}`?" if near else f"commands are {', '.join(COMMANDS)}"
                raise click.UsageError(f"no command {name!r}: {cure}", ctx)
            return super().resolve_command(ctx, args)

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    commands = Commands("holdfast", help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
    return click.version_option(__version__, "-V", "--version", message="holdfast %(version)s")(commands)


def main() -> None:
    """The console script. A plain `holdfast run` goes straight to the daemon, past click."""
    words = sys.argv[1:]
    if words[:1] == ["run"]:
        from holdfast.cli.run import read, start

        options = read(words[1:])
        if options is not None:
            raise SystemExit(start(options))
    elif words in (["--version"], ["-V"]):
        print(f"holdfast {__version__}")
        return
    try:
        group()(prog_name="holdfast")
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        sys.stderr.close()
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
