"""The figures on a page are those of bench/RESULTS.md: same row, same unit, same numbers."""

import re
from pathlib import Path

from tests.docs.pages import ROOT

RESULTS = ROOT / "bench/RESULTS.md"
PAGE = ROOT / "docs/explanation/why-python-is-fast-enough.md"


def rows(page: Path) -> dict[str, tuple[str, ...]]:
    """By what was measured: unit, holdfast, keepalived."""
    found = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 4 and cells[0] != "what" and not cells[0].startswith("-"):
            found[cells[0]] = tuple(cells[1:4])
    return found


def test_every_figure_is_the_one_that_was_measured() -> None:
    measured, shown = rows(RESULTS), rows(PAGE)
    assert len(shown) > 20
    wrong = {what: (figures, measured.get(what)) for what, figures in shown.items() if figures != measured.get(what)}
    assert not wrong, "copy the rows of bench/RESULTS.md"


def test_what_is_said_to_be_slower_is_and_the_rest_is_not() -> None:
    faster, _, slower = PAGE.read_text(encoding="utf-8").partition("## Where it is slower")
    for what, (unit, ours, theirs) in rows(PAGE).items():
        more_is_better = unit == "1/s"
        worse = float(ours) < float(theirs) if more_is_better else float(ours) > float(theirs)
        assert worse == (f"| {what} |" in slower), what
        assert (f"| {what} |" in faster) != worse, what


def test_everything_in_which_we_are_clearly_slower_is_told() -> None:
    told = set(rows(PAGE))
    for what, (unit, ours, theirs) in rows(RESULTS).items():
        if re.fullmatch(r"[\d.]+", ours) and re.fullmatch(r"[\d.]+", theirs) and unit != "1/s" and float(theirs) > 0:
            assert float(ours) < 2 * float(theirs) or what in told or "0.1 s: PSS" in what or "real servers: PSS" in what, what
