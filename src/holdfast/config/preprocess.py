"""Files to lines: includes, `@conditions`, definitions and iterations, with the place of each resulting line.

A line without any of `@ $ ~ include` passes untouched, and so does a whole file of such lines: comments, braces and
words are left to the tree.
"""

import posixpath
import re
from collections.abc import Callable

from holdfast.base.problem import Grade
from holdfast.config import lexer
from holdfast.config.definitions import DEFINITION, Definitions, iterations
from holdfast.config.disk import Disk, alternatives, unfit
from holdfast.config.findings import PLACE_BITS, Condition, Files, Findings, Trouble

LINE_LIMIT = 1023
"""Octets of a line, after which the reference reads the rest as another line."""

MOST_STEPS = 300_000
"""Lines one line may make by definitions and iterations, after which one of them is taken to contain itself."""

STEPS_AFTERWARDS = 10_000
"""The same for the rest of a file in which that happened: it is to be told soon."""

DEEPEST = 40

_NOTABLE = re.compile(r"[@$~]|include")
_INCLUDES = {
    "include": frozenset[str](),
    "includer": frozenset({"read"}),
    "includem": frozenset({"read", "match"}),
    "includew": frozenset({"read", "match", "wildcard_match"}),
    "includeb": frozenset({"read", "brace_match"}),
    "includea": frozenset({"read", "match", "wildcard_match", "brace_match"}),
}
_EVERY_CHECK = _INCLUDES["includea"]


class Preprocessed:
    """The lines to read, and for each its place."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.places: list[int] = []


class Preprocessor:
    """Reads a file and all it includes. `files` and `findings` are filled as it goes."""

    def __init__(self, disk: Disk, config_id: str, findings: Findings, *, all_checks: bool = False) -> None:
        self.disk = disk
        self.files = Files()
        self.findings = findings
        self.result = Preprocessed()
        self.definitions = Definitions(config_id, disk)
        self.checks = _EVERY_CHECK if all_checks else frozenset()
        self._steps = 0
        self._allowed = MOST_STEPS
        self._exhausted = False
        self._open: list[str] = []  # real paths of the files being read
        self._directory = "/"
        self._capture: tuple[str, list[str]] | None = None  # a definition of several lines, being read

    def read(self, path: str) -> bool:
        """Reads the main file (a pattern is allowed); False when there is none."""
        found = self.disk.match(path, "")
        for one in found:
            if len(found) > 1:
                self._tell_file(
                    Trouble(
                        f"{path} matches {len(found)} files",
                        "name one, and include the others",
                        "all are read",
                        Grade.WARNING,
                        condition=Condition.MULTIPLE_FILES,
                    ),
                    path,
                )
            self._read_file(one, main=True)
        return bool(found)

    def _tell_file(self, trouble: Trouble, path: str, *, refuses: bool = False) -> None:
        """A problem with a whole file."""
        number = self.files.add(path, [])
        self.findings.add(number << PLACE_BITS, trouble, refuses=refuses, domain="all")

    def _read_file(self, path: str, place: int = 0, *, main: bool = False, checked: bool = False) -> None:
        try:
            why = unfit(self.disk.mode(path))
            octets = b"" if why else self.disk.read(path)
        except OSError as error:
            why, octets = f"can't be read: {error.strerror}", b""
        if why:
            cure = "chmod a-x it" if why == "is executable" else "make it a readable file"
            refuses = main or checked
            meanwhile = "nothing is read" if main else "it is left out"
            condition = Condition.INCLUDE if checked else Condition.FILE_NOT_FOUND if main else Condition.NONE
            trouble = Trouble(f"{path} {why}", cure, meanwhile, condition=condition, token=path)
            if main:
                self._tell_file(trouble, path, refuses=True)
            else:
                self.findings.add(place, trouble, refuses=refuses, domain="all")
            return
        real = self.disk.real_path(path)
        if real in self._open or len(self._open) >= DEEPEST:
            what = f"{path} includes itself" if real in self._open else "includes are nested too deep"
            trouble = Trouble(what, "take the include out", "it is left out", condition=Condition.NONE)
            self.findings.add(place, trouble, domain="all")
            return
        self._open.append(real)
        before = self._directory, self.checks
        self._directory = posixpath.dirname(posixpath.join(self.disk.here(), path))
        self._read_lines(path, _decode(octets))
        self._directory, self.checks = before
        self._open.pop()

    def _read_lines(self, path: str, text: str) -> None:
        lines = text.split("\n")
        number = self.files.add(path, lines)
        first = (number << PLACE_BITS) + 1
        if "\0" in text or (len(text) > LINE_LIMIT and max(map(len, lines)) * 4 > LINE_LIMIT):
            lines = self._cut(lines, first)
        result = self.result
        if self._capture is None and not _NOTABLE.search(text):
            result.texts.extend(lines)
            result.places.extend(range(first, first + len(lines)))
            return
        for place, line in enumerate(lines, first):
            if self._capture is not None:
                self._capture_line(line, place)
            elif _NOTABLE.search(line):
                stripped, _open = lexer.strip_comment(line)
                if stripped:
                    self._steps = 0
                    self._line(stripped, place, 0, line)
                    if self._exhausted:
                        self._allowed = STEPS_AFTERWARDS
            else:
                result.texts.append(line)
                result.places.append(place)

    def _cut(self, lines: list[str], first: int) -> list[str]:
        """Lines as the reference's buffer sees them: of a long one only the rest, of one with a NUL nothing."""
        cut = []
        for place, line in enumerate(lines, first):
            if "\0" in line:
                trouble = Trouble("the line contains a NUL", "remove it", "the line is left aside", token="\0")
                self.findings.add(place, trouble, domain="all")
                line = ""
            octets = line.encode("utf-8", "surrogateescape")
            if len(octets.rstrip(b"\r")) > LINE_LIMIT:
                rest = octets
                while len(rest.rstrip(b"\r")) > LINE_LIMIT:
                    rest = rest[LINE_LIMIT:]
                trouble = Trouble(
                    f"the line has {len(octets)} octets",
                    f"keep lines below {LINE_LIMIT}",
                    f"all but the last {len(rest)} are dropped, as keepalived does",
                    token=line[:1],
                )
                self.findings.add(place, trouble, domain="all")
                line = rest.decode("utf-8", "replace")
            cut.append(line)
        return cut

    # -- one line ---------------------------------------------------------------------------------------------------

    def _line(self, text: str, place: int, depth: int, raw: str = "", *, plain: bool = False) -> None:
        """One logical line, comments gone: condition, definition, iteration, substitution, include.

        `plain`: the first line of a definition of several lines, where only substitution is done.
        """
        self._steps += 1
        if depth > DEEPEST or self._steps > self._allowed:
            if self._steps > self._allowed:
                self._exhausted = True
            what = "definitions are nested too deep, or make too many lines"
            trouble = Trouble(what, "look for one that contains itself", "the line is left aside")
            self.findings.add(place, trouble, domain="all")
            return
        if not plain:
            if text[0] == "@":
                kept = self._conditional(text)
                if kept:
                    self._line(kept, place, depth + 1)
                return
            if text[0] == "$" and (match := DEFINITION.match(text)):
                self._define(match[1], match[2].lstrip(" \t"))
                return
            if text[0] == "~" and text[:4] in ("~SEQ", "~LST"):
                self._iterate(text, place, depth)
                return
        if "$" in text:
            expanded, further = self.definitions.expand(text, self._directory, self._teller(place))
            if further:
                self._line(expanded, place, depth + 1, plain=True)
                for line in further:
                    self._line(line, place, depth + 1)
                return
            if expanded != text:
                text, _open = lexer.strip_comment(expanded)
                raw = ""
        if text:
            self._emit(text, place, raw)

    def _teller(self, place: int) -> Callable[[Trouble], None]:
        return lambda trouble: self.findings.add(place, trouble, domain="all")

    def _emit(self, text: str, place: int, raw: str) -> None:
        if text.startswith("include"):
            word = text.split(None, 1)[0]
            if word in _INCLUDES:
                self._include(_INCLUDES[word], text[len(word) :].strip(" \t"), place, word)
                return
            if word == "include_check":
                self._set_checks(text.split()[1:])
        self.result.texts.append(raw or _escape_comment(text))
        self.result.places.append(place)

    def _conditional(self, text: str) -> str:
        name, _, rest = text[1:].replace("\t", " ", 1).partition(" ")
        unless = name.startswith("^")
        holds = (name.removeprefix("^") == self.definitions.config_id) != unless
        return rest.strip(" \t") if holds else ""

    def _define(self, name: str, value: str) -> None:
        if value.endswith("\\"):
            self._capture = (name, [])
            first = value[:-1].strip(" \t")
            if first:
                self._capture[1].append(first)
            return
        self.definitions.values[name] = value

    def _capture_line(self, line: str, place: int) -> None:
        """A further line of a definition of several lines; one that does not end in a backslash is the last."""
        assert self._capture is not None
        name, kept = self._capture
        text, _open = lexer.strip_comment(line)
        if not text and line.strip("\r"):
            return  # blanks or a comment only
        more = text.endswith("\\")
        text = text.removesuffix("\\").strip(" \t")
        if text:
            kept.append(text)
        if not more:
            self.definitions.values[name] = kept if len(kept) > 1 else (kept[0] if kept else "")
            self._capture = None

    def _iterate(self, text: str, place: int, depth: int) -> None:
        tell = self._teller(place)
        spec = iterations(text, lambda inside: self.definitions.expand(inside, self._directory, tell)[0], tell)
        if spec is None:
            return
        passes, rest = spec
        for values in passes:
            self.definitions.values.update(values)
            if rest:
                self._line(rest, place, depth + 1)
            self._steps += 1
            if self._steps > self._allowed:
                self._line(text, place, depth)  # which tells
                return

    # -- includes ---------------------------------------------------------------------------------------------------

    def _set_checks(self, words: list[str]) -> None:
        if not words:
            self.checks = _EVERY_CHECK
        sign = "+"
        for word in words:
            if word[0] in "+-":
                sign, word = word[0], word[1:]
            name = "read" if word == "readable" else word
            if name in _EVERY_CHECK:
                self.checks = self.checks | {name} if sign == "+" else self.checks - {name}

    def _include(self, own: frozenset[str], pattern: str, place: int, word: str) -> None:
        checks = own | self.checks
        if not pattern:
            self._missing_include(place, word, True)
            return
        spelled = list(alternatives(pattern))
        found: list[str] = []
        failed = False
        for one in spelled:
            matches = [path for path in self.disk.match(one, self._directory) if not self.disk.is_directory(path)]
            if not matches:
                wild = any(character in one for character in "*?[")
                check = "brace_match" if len(spelled) > 1 else "wildcard_match" if wild else "match"
                failed |= check in checks
            found += matches
        if not found or failed:
            self._missing_include(place, pattern, failed)
        for path in found:
            self._read_file(path, place, checked="read" in checks)

    def _missing_include(self, place: int, pattern: str, refuses: bool) -> None:
        self.findings.add(
            place,
            Trouble(
                f"no file matches {pattern!r}",
                "make it, or remove the include",
                "the configuration can't be used" if refuses else "nothing is included",
                Grade.ERROR if refuses else Grade.WARNING,
                condition=Condition.INCLUDE if refuses else Condition.FILE_NOT_FOUND,
                phrase=f"Config files missing '{pattern}'.",
                token=pattern,
            ),
            refuses=refuses,
            domain="all",
        )


def _decode(octets: bytes) -> str:
    """UTF-8; else as if each octet were a character (old files in other encodings: only remarks suffer)."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _escape_comment(text: str) -> str:
    """`text`, whose comments are gone, so that stripping comments again leaves it as it is."""
    if "#" not in text and "!" not in text:
        return text
    kept = []
    quoted = False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "#!":
            kept.append("\\")
        kept.append(character)
    return "".join(kept)
