"""Pages that say on which host a command is given are walked through, command by command, on hosts of a lab."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT
from tests.docs.walk import Command, alike, steps, walk

WALKED = [page for page in PAGES if any(isinstance(step, Command) for step in steps(page.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("page", WALKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shows_what_the_page_shows(page: Path) -> None:
    walk(page)


def test_the_tutorial_is_walked() -> None:
    assert ROOT / "docs/tutorial/two-hosts-in-ten-minutes.md" in WALKED


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        (["a  b", "since 3 s"], ["a b", "", "since 1 min 2 s"], True),
        (["a", "…"], ["a", "b", "c"], True),
        (["a", "…", "d"], ["a", "d"], True),
        (["a", "…", "d"], ["a", "b"], False),
        (["x … z"], ["x y z"], True),
        (["x … z"], ["x y", "z"], False),
        (["priority 100"], ["priority 150"], False),
        (["a"], ["a", "b"], False),
        ([], ["error"], False),
        (["2026-11-23 03:10:11.512  state"], ["2027-01-02 11:12:13.999  state"], True),
    ],
)
def test_what_counts_as_the_same(shown: list[str], came: list[str], same: bool) -> None:
    assert alike(shown, came) is same


@pytest.mark.parametrize("page", WALKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_kills_by_name(page: Path) -> None:
    """Hosts of a lab see every process of the machine."""
    assert not re.search(r"\b(pkill|killall|pidof|pgrep)\b", page.read_text(encoding="utf-8"))
