"""`holdfast drift`: what two nodes' files disagree on, and what that would do."""

import json

import click

from holdfast.cli.drawing import Sheet


@click.command("drift", short_help="what two nodes' files disagree on, and what that would do")
@click.argument("first", type=click.Path())
@click.argument("second", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="one JSON document, for programs")
def command(first: str, second: str, as_json: bool) -> None:
    """Compare the configurations of two nodes, FIRST and SECOND; no daemon is asked.

    \b
    Examples:
      holdfast drift ha01.conf ha02.conf
      holdfast drift ha01.conf ha02.conf --json

    Ends with 0 when all agrees that must, with 1 when something doesn't or a file can't be used.
    """
    import msgspec

    from holdfast.config.check import check_file
    from holdfast.config.drift import drift

    checked = [check_file(path) for path in (first, second)]
    refused = [one.file for one in checked if one.verdict == "refused"]
    if refused:
        click.echo(f"holdfast: {', '.join(refused)} can't be used: run `holdfast check` on it", err=True)
        raise SystemExit(1)
    found = drift(checked[0].plan, checked[1].plan)
    bad = [one for one in found if one.must_agree]
    if as_json:
        document = {"first": first, "second": second, "agree": not bad, "differences": msgspec.to_builtins(found)}
        click.echo(json.dumps(document))
    else:
        sheet = Sheet()
        for title, colour, rows in (
            ("must agree, and doesn't", "red", bad),
            ("may differ", "", [one for one in found if not one.must_agree]),
        ):
            if rows:
                sheet.line(f"{title}:", colour)
            for one in rows:
                sheet.wrapped(f"{one.instance}: {one.field}: {one.first} | {one.second}", 4, "  ")
                sheet.wrapped(one.effect, 6, "")
        sheet.line("all agrees that must" if not bad else f"{len(bad)} to put right", "green" if not bad else "red")
        sheet.flush()
    raise SystemExit(1 if bad else 0)
