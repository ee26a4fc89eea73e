"""What every command has: an example in its help, JSON, a page that shows it, and quiet ends in a pipe."""

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.main import COMMANDS

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
PAGES = Path(__file__).parents[2] / "docs" / "how-to"
SPEAKS_FOR_ITSELF = {"run", "completion"}
"""The daemon: its log is its output; and what is meant for a shell."""


def helped(name: str) -> str:
    done = subprocess.run([HOLDFAST, name, "--help"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_teaches(name: str) -> None:
    text = helped(name)
    assert "Example" in text or "xamples" in text, text
    assert f"holdfast {name}" in text
    assert "\x1b" not in text
    if name not in SPEAKS_FOR_ITSELF:
        assert "--json" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_shows_it(name: str) -> None:
    shown = [page.name for page in PAGES.glob("*.md") if f"holdfast {name}" in page.read_text(encoding="utf-8")]
    assert shown, f"no page in docs/how-to/ shows `holdfast {name}`"


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - SPEAKS_FOR_ITSELF))
def test_a_word_too_many_is_refused_and_a_reader_that_leaves_is_no_failure(name: str) -> None:
    wrong = subprocess.run(
        [HOLDFAST, name, "--no-such-option"], capture_output=True, text=True, timeout=20, check=False
    )
    assert wrong.returncode == 2
    assert "--no-such-option" in wrong.stderr
    piped = subprocess.run(
        f"{HOLDFAST} {name} --help | head -1", shell=True, capture_output=True, text=True, timeout=20, check=False
    )
    assert "Traceback" not in piped.stderr
