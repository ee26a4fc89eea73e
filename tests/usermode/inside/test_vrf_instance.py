"""Runs inside the user-mode kernel: unicast instances without an interface, in a routing domain of their own."""

from holdfast.lab.daemons import holdfast_state, start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until

TEXT = """
vrrp_instance web {{
    vrf red
    virtual_router_id 51
    version 3
    priority {priority}
    advert_int 0.2
    unicast_src_ip {here}
    unicast_peer {{
        {there}
    }}
    virtual_ipaddress {{
        192.0.2.100/24 dev eth0
    }}
}}
"""


def test_two_hosts_elect_within_a_vrf() -> None:
    with Lab() as lab:
        hosts = lab.host("a"), lab.host("b")
        for host in hosts:
            host.run("ip", "link", "add", "red", "up", "type", "vrf", "table", "10")
            host.run("ip", "link", "set", "eth0", "master", "red")
        for host, other, priority in ((hosts[0], hosts[1], 150), (hosts[1], hosts[0], 100)):
            start_holdfast(host, TEXT.format(priority=priority, here=host.ip4, there=other.ip4))

        def is_so(host: Host, state: str) -> bool:
            return holdfast_state(host) == state

        wait_until(lambda: is_so(hosts[0], "MASTER") and is_so(hosts[1], "BACKUP"), 20, "they elect", step=0.2)
        assert hosts[0].holds("192.0.2.100")
        hosts[0].power_off()
        wait_until(lambda: hosts[1].holds("192.0.2.100"), 15, "the other takes over", step=0.1)
