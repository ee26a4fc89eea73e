"""The file that says when to reload."""

import time
from collections.abc import Iterator

import pytest

from holdfast.daemon.reload_time import BadTimeError, moment
from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Lab, wait_until

NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("line", "after_s"),
    [
        ("12:00:01Z", 1),
        ("12:00:00Z", 86400),  # today's has passed: tomorrow's
        ("13:00:05", 5),  # local time is an hour ahead
        ("12:59:59", 86399),
        ("26-01-01 12:00:10Z", 10),
        ("2026-01-02 13:00:00", 86400),
        ("2026-03-29 14:00:00", 87 * 86400),  # summer time has begun: two hours ahead
        ("2028-02-29 12:00:00Z", 789 * 86400),
    ],
)
def test_a_moment(line: str, after_s: float) -> None:
    assert moment(line, NOON) == NOON + after_s


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "is not a time"),
        ("12:00", "is not a time"),
        ("12:00:00 Z", "is not a time"),
        ("2026-01-02  12:00:00", "is not a time"),
        ("126-01-02 12:00:00", "is not a time"),
        ("24:00:00", "no time of a day"),
        ("12:60:00", "no time of a day"),
        ("2026-13-01 12:00:00", "is no date"),
        ("2026-02-29 12:00:00", "is no date"),
        ("2026-01-01 12:00:00Z", "has passed"),
    ],
)
def test_what_is_no_moment(line: str, said: str) -> None:
    with pytest.raises(BadTimeError, match=said):
        moment(line, NOON)


def test_the_hour_comes_and_the_file_goes() -> None:
    with Lab() as lab:
        host = lab.host("host")
        when = f"{host.directory}/when"
        save = f"{host.directory}/saved"
        text = f"""
global_defs {{
    reload_time_file {when}
    config_save_dir {save}
}}
$VIP=192.0.2.100
vrrp_instance web {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    virtual_ipaddress {{
        ${{VIP}}/24
    }}
}}
"""
        daemon = start_holdfast(host, text)
        wait_until(lambda: host.holds("192.0.2.100"), 10, "the instance is master")
        host.write("when", "12:00\n")
        wait_until(lambda: "'12:00' is not a time: write HH:MM:SS" in daemon.text(), 5, "a wrong time is told")
        host.write("when", time.strftime("%H:%M:%SZ\n", time.gmtime(time.time() + 3600)))
        wait_until(lambda: "a reload is set for" in daemon.text(), 5, "it is set")
        host.run("rm", when)
        wait_until(lambda: "no reload is set any more" in daemon.text(), 5, "it is cancelled")
        host.write("when", time.strftime("%H:%M:%SZ\n", time.gmtime(time.time() + 1.5)))
        wait_until(lambda: "Reloaded" in daemon.text(), 10, "the hour has come")
        assert host.run("ls", f"{host.directory}").count("when") == 0
        pid = daemon.process.pid
        wait_until(lambda: "post" in host.run("ls", save, check=False), 5, "the state afterwards is kept")
        names = {f"keepalived.conf.{pid}.{number}" for number in (0, 1)}
        names |= {f"keepalived_{part}.{pid}.1.{when}" for part in ("parent", "vrrp") for when in ("pre", "post")}
        wait_until(lambda: set(host.run("ls", save).split()) == names, 5, "all of it")
        assert "\n192.0.2.100/24\n" in host.run("cat", f"{save}/keepalived.conf.{pid}.1")
        assert " VRRP Instance = web" in host.run("cat", f"{save}/keepalived_vrrp.{pid}.1.pre")
        assert host.run("stat", "-c", "%a", save, f"{save}/keepalived.conf.{pid}.0").split() == ["700", "600"]
