"""`holdfast lab`: real hosts from configuration files, on this machine, with faults on command."""

import sys
from typing import TextIO

import click


@click.command("lab", short_help="real hosts from configuration files, with faults on command")
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE…")
@click.option("--on", "makes", multiple=True, metavar="HOST=MAKE", help="who plays it: holdfast, keepalived or ucarp")
@click.option("--script", type=click.File(encoding="utf-8"), metavar="FILE", help="do what stands there, and end")
@click.option("-c", "--command", "text", metavar="COMMANDS", help="do this, and end; `;` between commands")
@click.option("--real-scripts", is_flag=True, help="run the scripts the files name, not stand-ins for them")
@click.option("--json", "as_json", is_flag=True, help="a JSON document a line for what happens")
def command(
    files: tuple[str, ...],
    makes: tuple[str, ...],
    script: TextIO | None,
    text: str | None,
    real_scripts: bool,
    as_json: bool,
) -> None:
    """Make a host for each FILE in a network of its own, and try things: start, crash, cut, fail, switch, probe …

    \b
    Examples:
      holdfast lab a.conf b.conf
      holdfast lab a.conf b.conf --on b=keepalived -c 'start a b; wait a alone; probe; crash a; wait b alone; report'
      holdfast lab a.conf b.conf --script failover.lab --json

    Interfaces and addresses come from the files. `help` at the prompt lists the commands. The files' check scripts are
    played by stand-ins that `fail` and `mend` steer, their notify scripts are written down (`notes`). Everything is
    removed at the end. Ends with 0, or with 1 when something expected did not come.
    """
    from holdfast.cli.simulate import named
    from holdfast.lab.namespaces import NamespacesRefusedError, become_root_inside, check_allowed
    from holdfast.lab.script import LabError, from_input, opened, prompt, run_script
    from holdfast.lab.telling import JsonLines, Lines

    chosen = {}
    for word in makes:
        host, equals, make = word.partition("=")
        if not equals:
            raise click.UsageError(f"--on {word}: write HOST=MAKE, as in b=keepalived")
        chosen[host] = make
    try:
        check_allowed()
        become_root_inside()
    except NamespacesRefusedError as refusal:
        click.echo(f"holdfast: {refusal}", err=True)
        raise SystemExit(1) from None
    teller = JsonLines() if as_json else Lines()
    fine = True
    try:
        with opened(named(files), chosen, teller, real_scripts) as session:
            if script is not None:
                fine = run_script(session, script.read(), script.name, teller)
            elif text is not None:
                fine = run_script(session, text, "-c", teller)
            elif sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
                prompt(session, teller)
            else:
                fine = from_input(session, teller)
    except LabError as wrong:
        click.echo(f"holdfast: {wrong}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        click.echo("holdfast: interrupted; everything the lab made is gone", err=True)
        raise SystemExit(130) from None
    raise SystemExit(0 if fine else 1)
