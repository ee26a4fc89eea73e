"""Files, processes, links and static addresses from a configuration; and what is wrong with them."""

from pathlib import Path

import pytest

from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.check import Environment, check_file
from holdfast.config.plan import VrrpPlan
from holdfast.track.config import FileConfig, LinkConfig, Match, ProcessConfig
from holdfast.vrrp.config import TrackedUse
from tests.config.reading import INSTANCE, check, whats

USES = "track_file {\n load weight 3 reverse\n more\n }\n track_process {\n web\n odd weight -5\n }"


def plan(folder: Path, text: str, inside: str = "") -> VrrpPlan:
    checked = check(folder, text + INSTANCE.format(inside=inside))
    assert not whats(checked), whats(checked)
    return checked.plan


def test_files_and_processes(tmp_path: Path) -> None:
    text = f"""
track_file load {{
    file {tmp_path}/load
    init_file 5 overwrite
}}
vrrp_track_file more {{
    file {tmp_path}/more
    weight -2 reverse
}}
track_file unused {{
    file {tmp_path}/unused
}}
vrrp_track_process web {{
    process nginx
    quorum 2
    quorum_max 9
    delay 0.5
    terminate_delay 2
}}
vrrp_track_process odd {{
    process "/a b" one "two three"
    param_match initial
    full_command
    quorum_max 0
    weight 7 reverse
}}
"""
    made = plan(tmp_path, text, USES)
    assert made.files == (
        FileConfig(name="load", path=f"{tmp_path}/load", init_value=5, init_overwrite=True),
        FileConfig(name="more", path=f"{tmp_path}/more", weight=-2, reverse=True),
    )
    assert made.processes == (
        ProcessConfig(name="web", command="nginx", quorum=2, quorum_max=9, fork_delay_ns=500 * MILLISECOND,
                      terminate_delay_ns=2 * SECOND),
        ProcessConfig(name="odd", command="/a b", parameters=("one", "two three"), match=Match.INITIAL,
                      full_command=True, quorum=0, quorum_max=0, weight=7, reverse=True),
    )  # fmt: skip
    assert made.instances[0].trackers == (
        TrackedUse(kind="file", name="load", weight=3, reverse=True),
        TrackedUse(kind="file", name="more", weight=-2, reverse=True),
        TrackedUse(kind="process", name="web"),
        TrackedUse(kind="process", name="odd", weight=-5, reverse=True),
    )


def test_links_and_static_addresses(tmp_path: Path) -> None:
    text = """
global_defs {
    default_interface eth7
}
interface_up_down_delays {
    eth0 1.5 2
    eth8 3
}
linkbeat_interfaces {
    eth0 MII
}
track_group all {
    group {
        VI
    }
}
static_ipaddress {
    198.51.100.1/24 dev eth0 track_group all
    198.51.100.2/24
}
"""
    made = plan(tmp_path, text)
    assert made.links == (LinkConfig(name="eth0", down_ns=1_500 * MILLISECOND, up_ns=2 * SECOND, polled="MII"),)
    assert [(one.name, one.tracked) for one in made.statics] == [
        ("198.51.100.1/24 dev eth0", True), ("198.51.100.2/24 dev eth7", False),
    ]  # fmt: skip
    assert made.instances[0].trackers == (TrackedUse(kind="static", name="198.51.100.1/24 dev eth0"),)


@pytest.mark.parametrize(
    ("text", "inside", "what"),
    [
        ("track_file f {\n weight 2\n}", "track_file {\n f\n }", "track_file f names no file"),
        ("track_file f {\n file /proc/uptime\n}", "track_file {\n f\n }",
         "/proc/uptime is on proc, which does not tell of changes"),
        ("track_file f {\n file /nowhere/f\n}", "track_file {\n f\n }", "there is no directory /nowhere"),
        ("", "track_file {\n f\n }", "there is no track_file 'f'"),
        ("vrrp_track_process p {\n quorum 2\n}", "track_process {\n p\n }", "vrrp_track_process p names no process"),
        ("vrrp_track_process p {\n process /usr/bin/p\n}", "track_process {\n p\n }",
         "/usr/bin/p has a path, and names of processes don't"),
        ("vrrp_track_process p {\n process p\n quorum 3\n quorum_max 2\n}", "track_process {\n p\n }",
         "quorum_max 2 is less than quorum 3"),
        ("static_ipaddress {\n 198.51.100.1/24 dev eth0 track_group g\n}", "", "there is no track_group g"),
        ("track_group g {\n group {\n VX\n }\n}", "", "there is no vrrp_instance VX"),
        ("interface_up_down_delays {\n eth0\n}", "", "eth0 has no delay"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(tmp_path: Path, text: str, inside: str, what: str) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(text + INSTANCE.format(inside=inside))
    checked = check_file(str(path), environment=Environment(config_id="here"))
    assert [problem.what for problem in checked.problems if problem.what == what] == [what], whats(checked)
