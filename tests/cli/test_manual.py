"""The manual pages: made from the program's tables, complete, and clean in the eyes of those who draw them."""

import subprocess
from itertools import pairwise
from pathlib import Path

import click
import pytest

from holdfast.cli.keepalived import OPTIONS
from holdfast.cli.main import COMMANDS, group
from holdfast.config.keywords import Style, all_blocks
from tools.manual.pages import ROOT, pages
from tools.manual.roff import from_markdown

PAGES = sorted((ROOT / "packaging" / "man").iterdir())


def drawn(page: Path) -> str:
    """A page as `man -l` shows it, wide, without fonts."""
    environment = {"MANWIDTH": "300", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(["man", "-l", str(page)], capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == ""
    return " ".join(ran.stdout.split())


def test_the_pages_are_what_the_tables_say() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    made = pages()
    assert written.keys() == made.keys() == {"holdfast.1", "holdfast-keepalived.1", "holdfast.conf.5"}
    assert [name for name in made if made[name] != written[name]] == [], "make man"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_and_groff_have_nothing_to_say(page: Path) -> None:
    for command in (["mandoc", "-Tlint", str(page)], ["groff", "-ww", "-man", "-Tutf8", "-z", str(page)]):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", ""), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_draws_it_with_everything_a_page_has(page: Path) -> None:
    text = drawn(page)
    expected = {
        "holdfast.1": "NAME SYNOPSIS DESCRIPTION EXAMPLES COMMANDS EXIT|STATUS SIGNALS FILES ENVIRONMENT SEE|ALSO",
        "holdfast-keepalived.1": "NAME SYNOPSIS DESCRIPTION OPTIONS EXAMPLES EXIT|STATUS SIGNALS FILES SEE|ALSO",
        "holdfast.conf.5": "NAME SYNOPSIS DESCRIPTION SYNTAX ARGUMENTS KEYWORDS FILES SEE|ALSO",
    }[page.name]
    position = 0
    for name in expected.split():
        position = text.index(f" {name.replace('|', ' ')} ", position)


def test_every_command_and_option_is_there() -> None:
    text = drawn(ROOT / "packaging" / "man" / "holdfast.1")
    commands = group()
    for name in COMMANDS:
        assert f"holdfast {name}" in text
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        begun = text.index(f"holdfast {name} holdfast {name}")
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in text[begun:], (name, parameter.opts)
    text = drawn(ROOT / "packaging" / "man" / "holdfast-keepalived.1")
    assert [option.name for option in OPTIONS if f"--{option.name}" not in text] == []


def test_every_keyword_is_there_in_its_block() -> None:
    lines = (ROOT / "packaging" / "man" / "holdfast.conf.5").read_text().split("\n")
    blocks = {name: block for name, block in all_blocks().items() if block.style is Style.KEYWORDS and name != "root"}
    assert len(blocks) > 20
    for name, block in blocks.items():
        start = lines.index(f".SS {name.replace('-', chr(92) + '-')}")
        own = lines[start + 1 :]
        own = own[: next(number for number, line in enumerate(own) if line.startswith((".SS", ".SH")))]
        terms = [line for before, line in pairwise(own) if before == ".TP"]
        words = [term.split("\\fR")[0].removeprefix("\\fB").replace("\\-", "-") for term in terms]
        assert words == list(block.keywords), name


def test_apropos_and_whatis_understand_the_names() -> None:
    for page in PAGES:
        ran = subprocess.run(["lexgrog", str(page)], capture_output=True, text=True, check=True)
        assert f'"{page.stem} - ' in ran.stdout


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("# Name\n\nA `b-c` *d*.", [".SH NAME", r"A \fBb\-c\fR \fId\fR."]),
        ("one\n\n.two 'x'", [".PP", "one", ".PP", r"\&.two \(aqx\(aq"]),
        ("`a`\n: b\n\n    .c \\", [".TP", r"\fBa\fR", "b", ".PP", ".RS 4", ".nf", r"\&.c \e", ".fi", ".RE"]),
        ("well-kept -x ~ é [l](m.md)", [".PP", r"well-kept \-x \(ti \[u00E9] l"]),
    ],
)
def test_roff(text: str, roff: list[str]) -> None:
    assert from_markdown(text) == roff
