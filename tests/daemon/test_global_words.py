"""Words of `global_defs` that the daemon carries out: kernel switches, schedulers, iproute2's directories."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config.check import read_file
from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.config.golden import PlainDisk

INSTANCE = """
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.100/24
    }
    MORE
}
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("host")


def test_no_reports_for_link_local_groups_while_we_run(host: Host) -> None:
    setting = "/proc/sys/net/ipv4/igmp_link_local_mcast_reports"
    daemon = start_holdfast(host, "global_defs {\n    disable_local_igmp\n}\n" + INSTANCE.replace("MORE", ""))
    wait_until(lambda: host.holds("192.0.2.100"), 10, "the instance is master")
    assert host.run("cat", setting) == "0\n"
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert host.run("cat", setting) == "1\n"


def test_names_of_tables_are_looked_up_where_one_says(tmp_path: Path) -> None:
    for name, line in (("usr", "77 vendors"), ("etc", "78 hosts")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rt_tables").write_text(line + "\n")
    routes = "virtual_routes {\n 10.9.0.0/16 dev eth0 table vendors\n 10.8.0.0/16 dev eth0 table hosts\n }"
    path = tmp_path / "ha.conf"
    path.write_text(f"global_defs {{\n iproute_usr_dir {tmp_path}/usr\n iproute_etc_dir {tmp_path}/etc\n}}\n"
                    + INSTANCE.replace("MORE", routes))  # fmt: skip
    reading = read_file(str(path), disk=PlainDisk())
    shown = [route.text for route in reading.built.plan.instances[0].routes]
    assert len(shown) == 2, [one.trouble.what for one in reading.findings.all]
    assert "table 77" in shown[0] or "table vendors" in shown[0]


def test_the_checking_worker_s_scheduling_and_the_old_word_for_the_sync_daemon(tmp_path: Path) -> None:
    path = tmp_path / "lb.conf"
    path.write_text(
        "global_defs {\n checker_priority 5\n checker_no_swap\n checker_process_name lb\n"
        " lvs_netlink_monitor_rcv_bufs 100000\n}\n" + INSTANCE.replace("MORE", "lvs_sync_daemon_interface eth1")
    )
    balancer = read_file(str(path), disk=PlainDisk()).built.balancer
    assert (balancer.scheduling.nice, balancer.scheduling.no_swap, balancer.process_name) == (5, True, "lb")
    assert balancer.receive_bytes == 100000
    daemon = balancer.lvs.sync_daemon
    assert daemon is not None
    assert (daemon.interface, daemon.instance, daemon.sync_id) == ("eth1", "web", 51)
