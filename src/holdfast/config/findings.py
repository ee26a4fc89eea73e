"""Problems while they are being found: with a place in the files, and what keepalived's test mode would make of them.

A *place* is one integer, `file << PLACE_BITS | line`: lines are many and problems few, so everything readable about
a place (the file's name, the line as written, the column of a word) is worked out only when it is shown.
"""

import re
from enum import IntEnum

import msgspec

from holdfast.base.problem import Grade, Problem

PLACE_BITS = 28
PLACE_MASK = (1 << PLACE_BITS) - 1


class Condition(IntEnum):
    """What the reference's test mode remembers; the highest that occurred decides its exit status."""

    NONE = 0
    FILE_NOT_FOUND = 1
    BAD_INTERFACE = 2
    FATAL = 3
    MULTIPLE_FILES = 4
    UNKNOWN = 5
    BRACE = 6
    QUOTE = 7
    MISSING = 8
    NUMBER = 9
    GENERAL = 10
    WARNING = 11
    DEPRECATED = 12
    SECURITY = 13
    INCLUDE = 14


class Trouble(msgspec.Struct, frozen=True):
    """A problem with one line, before it has a place: `word` is the number of the word meant (0: the keyword)."""

    what: str
    cure: str = ""
    meanwhile: str = ""
    grade: Grade = Grade.ERROR
    word: int = 0
    condition: Condition = Condition.GENERAL
    phrase: str = ""
    token: str = ""  # the word itself, where no number can tell it


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem with its place."""

    place: int
    trouble: Trouble
    token: str = ""  # the text to underline, "" for the first word of the line
    occurrence: int = 0  # how many earlier words of the line are the same
    refuses: bool = False  # the reason why nothing can run
    domain: str = "vrrp"  # vrrp, lvs or all: whose reading of the file met it


_SECRET = re.compile(r"""^(\s*(?:key(?:\s+\d+)?|auth_hmac\b.*?\bkey\s+\d+)\s+)(?!["']?(?:/|file:))\S.*$""")


def without_secrets(source: str) -> str:
    """A line as it may be shown: a key of `auth_hmac` in it is covered."""
    return _SECRET.sub(r"\1********", source)


class Files:
    """The files read, by number, with their lines: what turns a place into words for people."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lines: list[list[str]] = []

    def add(self, name: str, lines: list[str]) -> int:
        """Remembers a file and returns its number; places in it begin at `number << PLACE_BITS`."""
        self.names.append(name)
        self.lines.append(lines)
        return len(self.names) - 1

    def name(self, place: int) -> str:
        """The file a place lies in."""
        return self.names[place >> PLACE_BITS]

    def source(self, place: int) -> str:
        """The line as written, without line end."""
        lines = self.lines[place >> PLACE_BITS]
        number = place & PLACE_MASK
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""

    def problem(self, finding: Finding) -> Problem:
        """`finding` for people: file, line, column, the line itself."""
        place, trouble = finding.place, finding.trouble
        source = without_secrets(self.source(place))
        line = place & PLACE_MASK
        column, width = _underline(source, finding.token, finding.occurrence) if line else (0, 1)
        return Problem(
            file=self.name(place) if self.names else "",
            line=line,
            column=column,
            grade=trouble.grade,
            what=trouble.what,
            cure=trouble.cure,
            meanwhile=trouble.meanwhile,
            source=source,
            width=width,
        )


def _underline(source: str, token: str, occurrence: int) -> tuple[int, int]:
    """Column (from 1) and width of `token` in `source`; the first word when it is not there (substituted text)."""
    start = len(source) - len(source.lstrip(" \t"))
    if token:
        at = start
        for _ in range(occurrence + 1):
            found = source.find(token, at)
            if found < 0:
                break
            at = found + len(token)
        else:
            return found + 1, len(token)
        found = source.find(token)
        if found >= 0:
            return found + 1, len(token)
    words = source.split(None, 1)
    return start + 1, len(words[0]) if words else 1


class Findings:
    """Collects findings in the order met; the same finding of two readings of a file is kept once."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self._seen: set[tuple[int, str]] = set()

    def add(
        self,
        place: int,
        trouble: Trouble,
        words: tuple[str, ...] = (),
        *,
        refuses: bool = False,
        domain: str = "vrrp",
    ) -> None:
        """Adds `trouble` at `place`; `words` are those of the line, to find the one meant."""
        key = (place, trouble.what)
        if key in self._seen:
            return
        self._seen.add(key)
        token, occurrence = trouble.token, 0
        if not token and trouble.word < len(words):
            token = words[trouble.word]
            occurrence = sum(earlier.count(token) for earlier in words[: trouble.word])
        self.all.append(
            Finding(
                place=place, trouble=trouble, token=token, occurrence=occurrence, refuses=refuses, domain=domain
            )
        )

    def take(self, others: "Findings") -> None:
        """Adds what another collection found."""
        for finding in others.all:
            key = (finding.place, finding.trouble.what)
            if key not in self._seen:
                self._seen.add(key)
                self.all.append(finding)

    @property
    def refused(self) -> bool:
        """Whether something found makes the whole configuration unusable."""
        return any(finding.refuses for finding in self.all)
