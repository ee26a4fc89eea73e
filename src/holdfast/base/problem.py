"""A problem in what an operator wrote: where, what, the cure, and what happens meanwhile."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Grade(StrEnum):
    """How much a problem matters."""

    ERROR = "error"  # something asked for will not be done
    WARNING = "warning"  # done, though perhaps not as meant; or known and not yet carried out
    ADVICE = "advice"  # works; could be better


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem of a configuration. `line` and `column` count from 1; 0 when there is no such place."""

    file: str
    line: int
    column: int
    grade: Grade
    what: str
    cure: str = ""
    meanwhile: str = ""
    source: str = ""  # the line as written, for showing with a caret
    width: int = 1  # how many characters the caret underlines

    def text(self) -> str:
        """`file:line:column: grade: what: cure; meanwhile`, then the line and a caret under the word."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        cure = f": {self.cure}" if self.cure else ""
        sentence = self.what + cure + (f"; {self.meanwhile}" if self.meanwhile else "")
        shown = f"{place}: {self.grade}: {sentence}"
        if not self.source:
            return shown
        before = "".join(c if c == "\t" else " " for c in self.source[: max(self.column - 1, 0)])
        return f"{shown}\n    {self.source}\n    {before}{'^' * max(self.width, 1)}"


def problem_rows(problems: Iterable[Problem]) -> list[dict[str, str | int]]:
    """Problems as `holdfast check --json` shows them."""
    return [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "grade": str(problem.grade),
            "what": problem.what,
            "cure": problem.cure,
            "meanwhile": problem.meanwhile,
        }
        for problem in problems
    ]
