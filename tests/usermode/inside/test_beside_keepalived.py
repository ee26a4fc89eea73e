"""Runs inside the user-mode kernel: the same file gives the same table."""

import re
from pathlib import Path

import pytest

from tests.usermode.inside.beside import by_keepalived, by_us, saved
from tests.usermode.inside.ipvs import fresh

FILES = sorted(Path(__file__).with_name("configurations").glob("*.conf"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_same_table(file: Path, tmp_path: Path) -> None:
    path = tmp_path / file.name
    text = re.sub(r"\b(delay_loop|warmup)\b.*", "", file.read_text())
    path.write_text(text.replace("TCP_CHECK {", "TCP_CHECK {\n delay_loop 3600"))  # no check runs while we look
    with fresh():
        theirs, log = by_keepalived(str(path), saved)
    ours, told = by_us(str(path), saved)
    assert ours == theirs, log
    assert len(ours) > 10
    assert told == []
