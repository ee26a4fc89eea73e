"""Virtual servers in virtual time: when a dead server leaves, what the quorum survives, what flapping does."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.simulate import command
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.sim.reading import read_both
from holdfast.sim.servers import ServerTrial, try_service, try_services

HEAD = "virtual_server 192.0.2.1 {port} {{\n delay_loop 6\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n{more}\n"
SERVER = " real_server 10.0.0.{last} 80 {{\n weight {weight}\n {check}\n }}\n"
TCP = "TCP_CHECK {\n connect_timeout 3\n retry 2\n delay_before_retry 1\n }"
ONCE = "MISC_CHECK {\n misc_path /bin/true\n misc_timeout 2\n }"


def text(*servers: tuple[int, int, str], more: str = "", port: int = 80) -> str:
    made = (SERVER.format(last=last, weight=weight, check=check) for last, weight, check in servers)
    return HEAD.format(port=port, more=more) + "".join(made) + "}\n"


def plan(tmp_path: Path, words: str) -> BalancerPlan:
    path = tmp_path / "lb.conf"
    path.write_text(words)
    return read_both(str(path), "lb")[1]


def trials(tmp_path: Path, words: str) -> list[ServerTrial]:
    return list(try_service(plan(tmp_path, words), 0))


def test_a_silent_server_leaves_after_its_last_retry_and_returns_with_the_next_check(tmp_path: Path) -> None:
    first, second, *_ = trials(tmp_path, text((1, 1, TCP), (2, 1, ONCE)))
    # 6 s to the next check, 3 s without an answer, twice more 1 s of waiting and 3 s without an answer
    assert first.leaves_after_ns is not None
    assert round(first.leaves_after_ns / 1e9, 1) == 17.0
    assert first.returns_after_ns is not None
    assert round(first.returns_after_ns / 1e9, 1) == 6.0
    assert second.leaves_after_ns is not None  # 6 s, and the 2 s the program may take: it is not tried again
    assert round(second.leaves_after_ns / 1e9, 1) == 8.0
    assert first.text.startswith("leaves the pool within 17 s; is back within 6.001 s of its return")


@pytest.mark.parametrize(
    ("more", "dead", "kept", "sorry", "grade"),
    [
        ("quorum 1", 1, True, False, "good"),
        ("quorum 20", 1, True, False, "good"),
        ("quorum 21", 1, False, False, "odd"),
        ("quorum 21\n hysteresis 1", 1, True, False, "good"),
        ("quorum 21\n sorry_server 10.0.0.9 80", 1, False, True, "odd"),
    ],
)
def test_the_quorum(tmp_path: Path, more: str, dead: int, kept: bool, sorry: bool, grade: str) -> None:
    found = trials(tmp_path, text((1, 10, TCP), (2, 10, TCP), (3, 10, TCP), more=more))[dead]
    assert (found.quorum_kept, found.sorry_serves, found.grade, found.weight_left) == (kept, sorry, grade, 20)


def test_how_many_deaths_the_quorum_survives(tmp_path: Path) -> None:
    found = trials(tmp_path, text((1, 10, TCP), (2, 20, TCP), (3, 5, TCP), more="quorum 10"))[-1]
    assert (found.servers, found.weight_left, found.quorum_kept) == (("10.0.0.2:80", "10.0.0.1:80"), 5, False)
    assert found.text == "weight 5 is left, the quorum of 10 is lost; those that are left go on serving"
    last = trials(tmp_path, text((1, 10, TCP), (2, 20, TCP)))[-1]
    assert (last.servers, last.grade) == (("10.0.0.2:80", "10.0.0.1:80"), "none")
    assert last.text.endswith("nobody serves")


def test_a_server_without_a_check_is_never_missed(tmp_path: Path) -> None:
    found = trials(tmp_path, text((1, 1, ""), (2, 1, TCP)))
    assert (found[0].grade, found[0].leaves_after_ns) == ("bad", None)
    assert found[0].text == "its death is never noticed: it has no check that asks it"


def test_flapping_is_forgiven_with_a_retry(tmp_path: Path) -> None:
    found = [one for one in trials(tmp_path, text((1, 1, TCP), (2, 1, ONCE), (3, 1, TCP))) if one.fault == "flaps"]
    assert [(one.servers, one.departures, one.grade) for one in found] == [
        (("10.0.0.1:80",), 0, "good"),
        (("10.0.0.2:80",), 10, "odd"),
    ]


def test_services_that_are_alike_are_tried_once(tmp_path: Path) -> None:
    words = "".join(text((1, 1, TCP), (2, 1, TCP), port=port) for port in range(80, 90)) + text((1, 2, TCP), port=90)
    found, left_out = try_services(plan(tmp_path, words))
    assert [(one.service, len(one.alike)) for one in found] == [("192.0.2.1:80", 9), ("192.0.2.1:90", 0)]
    assert left_out == 0


def test_the_command_with_one_file(tmp_path: Path) -> None:
    path = tmp_path / "lb.conf"
    path.write_text(text((1, 1, TCP), (2, 1, "")))
    shown = CliRunner().invoke(command, [str(path)])
    assert shown.exit_code == 0
    assert shown.output.splitlines()[0] == "virtual server 192.0.2.1:80 of lb: quorum 1 of weight 2"
    assert "  x  10.0.0.2:80 dies" in shown.output
    rows = json.loads(CliRunner().invoke(command, [str(path), "--json"]).output)["virtual_servers"]
    assert [row["fault"] for row in rows[0]["faults"]] == ["dies", "dies", "flaps"]
    assert rows[0]["faults"][0]["leaves_after_s"] == pytest.approx(17.0, abs=0.01)
    path.write_text("global_defs {\n}\n")
    assert CliRunner().invoke(command, [str(path)]).exit_code == 1
