"""Runs inside the user-mode kernel: two daemons, one address; established connections survive the director's death."""

from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, wait_until
from tests.usermode.inside.farm import PORT, VIP, Farm
from tests.usermode.inside.ipvs import ipvsadm

TEXT = """
global_defs {{
    lvs_sync_daemon eth0 VI_1
}}
vrrp_instance VI_1 {{
    interface eth0
    virtual_router_id 51
    version 3
    priority {priority}
    advert_int 0.2
    virtual_ipaddress {{
        {vip}/24
    }}
}}
virtual_server {vip} {port} {{
    lb_algo rr
    lb_kind DR
    protocol TCP
{servers}}}
"""


def roles(host: Host) -> list[str]:
    with host.inside():
        return sorted(line.split()[0] for line in ipvsadm("-Ln", "--daemon"))


def test_established_connections_survive_the_death_of_a_director() -> None:
    with Farm() as farm, farm.answering("DR"):
        other = farm.lab.host("other")
        other.sysctl("net/ipv4/ip_forward", "1")
        farm.director.links.remove_address("eth0", VIP, 24)
        servers = "".join(f"    real_server {one.ip4} {PORT} {{\n    }}\n" for one in farm.servers)
        daemons = {}
        for host, priority in ((farm.director, 150), (other, 100)):
            host.sysctl("net/ipv4/vs/sync_threshold", "1 2")  # every packet of a connection is told
            text = TEXT.format(priority=priority, vip=VIP, port=PORT, servers=servers)
            daemons[host.name] = start_holdfast(host, text)
        wait_until(lambda: farm.director.holds(VIP), 15, "the director is master", step=0.1)
        wait_until(lambda: roles(farm.director) == ["master"], 10, "it tells its connections", step=0.1)
        wait_until(lambda: roles(other) == ["backup"], 10, "the other one listens", step=0.1)
        assert "syncid=51" in " ".join(_daemon_lines(other))
        held = [farm.connect() for _ in range(6)]

        def synchronised() -> bool:
            assert all(one.works() for one in held)
            with other.inside():
                return sum("ESTABLISHED" in line for line in ipvsadm("-Lnc")) == 6

        wait_until(synchronised, 20, "the other director knows the connections", step=0.2)
        farm.director.power_off()
        wait_until(lambda: other.holds(VIP), 15, "the other one has taken over", step=0.1)
        wait_until(lambda: roles(other) == ["master"], 10, "and tells its connections now", step=0.1)
        assert all(one.works() for one in held)
        assert sorted(one.name for one in held) == ["a", "a", "b", "b", "c", "c"]
        for one in held:
            one.close()


def _daemon_lines(host: Host) -> list[str]:
    with host.inside():
        return list(ipvsadm("-Ln", "--daemon"))
