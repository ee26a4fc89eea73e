"""Includes, conditions, definitions, iterations, and text that would trap a careless reader."""

from pathlib import Path

import pytest

from holdfast.config.disk import Disk, alternatives
from holdfast.config.findings import Findings
from holdfast.config.preprocess import Preprocessor
from tests.config.reading import INSTANCE, check, names, only, whats


class FixedDisk(Disk):
    def variables(self) -> dict[str, str]:
        return {"PRIO": "77"}

    def random(self, low: int, high: int) -> int:
        return high


def lines(folder: Path, text: str, config_id: str = "here") -> list[str]:
    """The lines that come out, blank ones left out."""
    path = folder / "a.conf"
    path.write_text(text)
    reader = Preprocessor(FixedDisk(), config_id, Findings())
    assert reader.read(str(path))
    return [line.strip() for line in reader.result.texts if line.strip()]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("@here a\n@there b\n@^there c\n@^here d\n@ e\n@^ f\n@here\n", ["a", "c", "f"]),
        ("@here $A=1\n@there $A=2\nx ${A}\n", ["x 1"]),
        ("a @here b", ["a @here b"]),
        ("$A=1\nx $A,$A)$A/24 $Ay \"$A\" ${A}0\n", ['x 1,1)$A/24 $Ay "$A" 10']),
        ("$A=$B\n$B=2\nx $A\n", ["x 2"]),
        ("$A=\nx ${A}y\n", ["x y"]),
        ("$A-B=3\n$1A=3\n", ["$A-B=3", "$1A=3"]),
        ("$A=a # remark\nx $A\n", ["x a"]),
        ("x ${_HASH}y ${_BANG}z\n", [r"x \#y \!z"]),
        ("x ${_INSTANCE} ${_ENV PRIO}${_ENV NONE} ${_RANDOM 5 9} ${_RANDOM}\n", ["x here 77 9 32767"]),
        ("~SEQ(N, 3) a ${N}\n", ["a 1", "a 2", "a 3"]),
        ("~SEQ(N, 2, 0) a ${N}\n", ["a 2", "a 1", "a 0"]),
        ("~SEQ(N, 010, 0x0a) a ${N}\n", ["a 8", "a 9", "a 10"]),
        ("~SEQx(N, 9, 2, 13) a ${N}\n", ["a 9", "a b", "a d"]),
        ("~SEQ(N, -2) a ${N}\n", ["a -1", "a -2"]),
        ("$E=2\n~SEQ(N, 1, ${E}) ~LST(V, a, b) x ${N}${V}\n", ["x 1a", "x 1b", "x 2a", "x 2b"]),
        ("~LST({A,B}, {1,2}, {3}) x ${A}-${B}\n", ["x 1-2", "x 3-"]),
        ("$M= \\\n a \\\n\n x ${M}\n", ["x a"]),
        ("$M= first \\\n second \\\n @here third \\\n @there fourth\np $M\n", ["p first", "second", "third"]),
        ("$M= \\\n a ${N} \\\n b ${N}\n~SEQ(N,1,2) $M\n", ["a 1", "b 1", "a 2", "b 2"]),
        ("$I= \\\n i \\\n j\n$M= \\\n $I \\\n k\n$M\n", ["i", "j", "k"]),
        ("$M= \\\n a \\\n b\n$M x\n", ["$M x"]),  # only as the last thing of a line
    ],
)
def test_lines_come_out_as_written_to(tmp_path: Path, text: str, result: list[str]) -> None:
    assert lines(tmp_path, text) == result


@pytest.mark.parametrize(
    "text",
    [
        "$A=$A\nx $A\n",
        "$A=$B\n$B=$A\nx $A\n",
        "$A=${A} ${A}\nx ${A}\n",
        "$M= \\\n $M \\\n $M\n$M\n",
        "$A= \\\n $B \\\n x\n$B= \\\n $A \\\n y\n$A\n",
        "~SEQ(N, 1, 99999999999999) $X=1\n",
        "~SEQ(N, 1, 99999999999999)\n",
        "~SEQ(A,1,9999) ~SEQ(B,1,9999) ~SEQ(C,1,9999) x\n",
    ],
)
def test_a_definition_that_contains_itself_is_told_and_does_not_hang(tmp_path: Path, text: str) -> None:
    checked = check(tmp_path, text)
    assert any("itself" in problem.what or "too many" in problem.what for problem in checked.problems)


@pytest.mark.parametrize("text", ["~SEQ(N, 1, 0, 5) x", "~SEQ(N, 1, -1, 5) x", "~SEQ(N) x", "~SEQ N x", "~LST(V) x",
                                  "~LST({A,B}, {1,2,3}) x", "~SEQx(N, -1, 3) x"])  # fmt: skip
def test_a_bad_iterator_is_told_and_its_line_dropped(tmp_path: Path, text: str) -> None:
    assert "can't be read" in only(check(tmp_path, text)).what


def test_env_without_a_name_is_told(tmp_path: Path) -> None:
    assert "1: _ENV wants one name" in whats(check(tmp_path, "x ${_ENV}"))


def test_a_place_survives_includes_and_definitions(tmp_path: Path) -> None:
    (tmp_path / "part.conf").write_text("\n\n  vrrp_strikt\n")
    checked = check(tmp_path, "$B= \\\n global_defs { \\\n vrrp_stricd \\\n }\n\n$B\nglobal_defs {\ninclude part.conf\n}\n")
    found = [(Path(p.file).name, p.line, p.column, p.what.split()[0]) for p in checked.problems]
    assert ("keepalived.conf", 6, 1, "'vrrp_stricd'") in found
    assert ("part.conf", 3, 3, "'vrrp_strikt'") in found


def test_includes_are_sorted_nested_and_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "b.conf").write_text("b\n")
    (tmp_path / "d" / "a.conf").write_text("include deep/*.conf\na\n")
    (tmp_path / "d" / "deep" / "x.conf").write_text("x ${_PWD}\n")
    (tmp_path / "d" / "directory.conf").mkdir()
    assert lines(tmp_path, "include d/*.conf\nend\n") == [f"x {tmp_path}/d/deep", "a", "b", "end"]


def test_a_block_may_begin_in_one_file_and_end_in_another(tmp_path: Path) -> None:
    (tmp_path / "head").write_text("vrrp_instance VI {\n interface eth0\n")
    checked = check(tmp_path, "include head\nvirtual_router_id 7\nvirtual_ipaddress { 192.0.2.1 }\n}\n")
    assert names(checked) == ["VI"]
    assert checked.verdict == "ok"


def test_a_file_that_includes_itself_is_told(tmp_path: Path) -> None:
    checked = check(tmp_path, INSTANCE.format(inside="") + "include keepalived.conf\n")
    assert "includes itself" in only(checked).what
    assert names(checked) == ["VI"]


def test_an_executable_include_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("nonsense\n")
    (tmp_path / "part").chmod(0o755)
    problem = only(check(tmp_path, "include part\n"))
    assert problem.what.endswith("is executable")
    assert problem.cure == "chmod a-x it"


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("include none.conf", "ok"),
        ("include none*.conf", "ok"),
        ("includer none.conf", "ok"),
        ("includem none.conf", "refused"),
        ("includem none*.conf", "ok"),
        ("includew none*.conf", "refused"),
        ("includeb none.conf", "ok"),
        ("includeb {some,none}.conf", "refused"),
        ("includeb some.conf", "ok"),
        ("includea none.conf", "refused"),
        ("global_defs { include_check match }\ninclude none.conf", "ok"),  # not the first word of its line
        ("global_defs {\ninclude_check match\n}\ninclude none.conf", "refused"),
        ("global_defs {\ninclude_check\ninclude_check -match\n}\ninclude none.conf", "ok"),
        ("includefoo some.conf", "runs"),
    ],
)
def test_include_checks(tmp_path: Path, line: str, verdict: str) -> None:
    (tmp_path / "some.conf").write_text("")
    assert check(tmp_path, line + "\n").verdict == verdict


def test_alternatives_of_braces() -> None:
    assert list(alternatives("{a,b{1,2}}/x{,y}")) == ["a/x", "a/xy", "b1/x", "b1/xy", "b2/x", "b2/xy"]
    assert list(alternatives("plain")) == ["plain"]
    assert list(alternatives("open{a,b")) == ["open{a,b"]


def test_of_a_long_line_the_rest_is_read_as_the_reference_does(tmp_path: Path) -> None:
    # 1023 octets are dropped; what follows is a line of its own
    text = "x" * 1023 + "vrrp_instance VI {\n" + INSTANCE.format(inside="").split("{", 1)[1]
    checked = check(tmp_path, text)
    assert names(checked) == ["VI"]
    assert "has 1041 octets" in only(checked).what


def test_a_line_with_a_nul_is_dropped(tmp_path: Path) -> None:
    checked = check(tmp_path, b"bad\0line\n" + INSTANCE.format(inside="").encode())
    assert only(checked).what == "the line contains a NUL"
    assert names(checked) == ["VI"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "gbk"])
def test_remarks_may_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    remark = "# 主机 \n".encode("gbk") if encoding == "gbk" else "# é\r\n".encode(encoding)
    assert names(check(tmp_path, remark + INSTANCE.format(inside="").encode())) == ["VI"]


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    from holdfast.config.check import check_file

    checked = check_file(str(tmp_path / "none"))
    assert (checked.verdict, checked.problems[0].line) == ("refused", 0)
