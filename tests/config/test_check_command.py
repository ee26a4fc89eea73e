"""`holdfast check` as people and programs call it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli.check import command
from tests.config.reading import INSTANCE


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def written(folder: Path, text: str, name: str = "k.conf") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("inside", "plain", "strict"),
    [("", 0, 0), ("priority 7 remark", 0, 1), ("priority 300", 0, 1), ("priority", 1, 1), ("debug 1", 0, 0)],
)
def test_exit_status(tmp_path: Path, inside: str, plain: int, strict: int) -> None:
    path = written(tmp_path, INSTANCE.format(inside=inside))
    assert run(path).exit_code == plain
    assert run("--strict", path).exit_code == strict


def test_usage() -> None:
    assert run().exit_code == 2
    assert run("--nonsense", "x").exit_code == 2


def test_text_shows_the_line_a_caret_and_a_summary_last(tmp_path: Path) -> None:
    path = written(tmp_path, INSTANCE.format(inside="priority 300"))
    lines = run(path).output.splitlines()
    assert lines == [
        f"{path}:5:14: error: priority 300 is out of range: use 1 to 255; the default is kept",
        "        priority 300",
        "                 ^^^",
        f"{path}: can be used, without the faulty parts: 1 error; would run 1 instance",
    ]


def test_json_is_a_document_a_file(tmp_path: Path) -> None:
    good = written(tmp_path, INSTANCE.format(inside=""), "good.conf")
    bad = written(tmp_path, INSTANCE.format(inside="virtual_router_id 0").replace("virtual_router_id 51", ""), "bad.conf")
    result = run("--json", good, bad)
    first, second = (json.loads(line) for line in result.output.splitlines())
    assert result.exit_code == 1
    assert first == {
        "file": good,
        "verdict": "ok",
        "problems": [],
        "would_run": {
            "instances": [
                {"name": "VI", "protocol": "vrrp", "vrid": 51, "interface": "eth0", "family": "ipv4", "version": 2, "priority": 100,
                 "vips": ["192.0.2.1/24"]}
            ],
            "sync_groups": [], "trackers": [], "virtual_servers": [], "bfd": [],
        },
    }  # fmt: skip
    assert (second["verdict"], second["would_run"]["instances"]) == ("refused", [])
    assert set(second["problems"][0]) == {"file", "line", "column", "grade", "what", "cure", "meanwhile"}
