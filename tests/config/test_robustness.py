"""Any text gives problems or a plan, and soon."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.config.keywords import all_blocks
from tests.config import golden
from tests.config.reading import check

WORDS = sorted({word for block in all_blocks().values() for word in block.keywords})
PIECES = ["{", "}", "\n", "\n", " ", '"', "'", "\\", "#", "!", "$A", "$A=", "${A}", "${_ENV}", "${_RANDOM 9 1}", "@here ",
          "@^", "~SEQ(", "~SEQ(A,1,3) ", "~LST({A,B},{1,2}) ", "include ", "include keepalived.conf\n", "1", "-1", "0.5",
          "99999999999999999999", "192.0.2.1", "2001:db8::1/64", "/usr/bin/true", "weight", "reverse", "\0", "\t", "é",
          "\u3000", "\ufeff", "\r\n", "vrrp_instance x {\n", "virtual_server 1.2.3.4 80 {\n", "fwmark", "group"]  # fmt: skip
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(WORDS).map(lambda word: word + " "), max_size=60))
def test_words_in_any_order(tmp_path: Path, pieces: list[str]) -> None:
    for problem in check(tmp_path, "".join(pieces).encode("utf-8", "surrogatepass")).problems:
        assert problem.text()


@RELAXED
@given(st.binary(max_size=400))
def test_any_bytes(tmp_path: Path, octets: bytes) -> None:
    check(tmp_path, octets)


@pytest.mark.parametrize("name", golden.names())
def test_damaged_configurations(tmp_path: Path, name: str) -> None:
    source = Path(golden.HERE, f"{name}.conf").read_text()
    chance = random.Random(name)
    for _ in range(40):
        text = source
        for _ in range(chance.randint(1, 6)):
            at, until = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
            match chance.randint(0, 3):
                case 0:
                    text = text[:at] + chance.choice(PIECES) + text[at:]
                case 1:
                    text = text[:at] + text[min(until, at + 30) :]
                case 2:
                    text = text[:at] + text[at : at + 60] * 2 + text[at + 60 :]
                case _:
                    text = text[:at] + chance.choice(WORDS) + text[at:]
        check(tmp_path, text)


@pytest.mark.parametrize("text", ["{" * 20_000, "}" * 20_000, "a {\n" * 20_000, '"' * 5_000, "vrrp_instance a {\n" * 5_000,
                                  "include x\n" * 2_000, "~SEQ(A,1,2) " * 60 + "x", "$A=b\n" + "$A " * 300])  # fmt: skip
def test_repeated_without_end(tmp_path: Path, text: str) -> None:
    began = time.monotonic()
    check(tmp_path, text)
    assert time.monotonic() - began < 20


def test_a_large_file_is_read_at_once(tmp_path: Path) -> None:
    """A bound far above what is measured (0.2 s): it fails when reading stops being linear."""
    server = "    real_server 10.0.{0}.{1} 80 {{\n        weight 1\n        TCP_CHECK {{\n            connect_timeout 3\n        }}\n    }}\n"
    text = "".join(
        f"virtual_server 10.1.{i // 250}.{i % 250} 80 {{\n    protocol TCP\n    lb_algo rr\n    lb_kind NAT\n"
        + "".join(server.format(i % 250, j) for j in range(5))
        + "}\n"
        for i in range(1000)
    )
    began = time.monotonic()
    checked = check(tmp_path, text)
    assert time.monotonic() - began < 5
    assert len(checked.would_run["virtual_servers"]) == 1000
