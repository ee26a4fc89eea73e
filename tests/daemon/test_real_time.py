"""Real-time priority with a limit: a worker that has much to do at once is not ended for it."""

from holdfast.lab.daemons import holdfast_state, start_holdfast
from holdfast.lab.hosts import Lab, wait_until

TEXT = """\
global_defs {
    vrrp_rt_priority 50
    vrrp_rlimit_rttime 2
}
vrrp_instance web {
    interface eth0
    version 3
    advert_int 0.1
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        192.0.2.100/24
    }
}
"""


def test_a_worker_outlives_its_limit() -> None:
    with Lab() as lab:
        host = lab.host("one")
        daemon = start_holdfast(host, TEXT)
        wait_until(lambda: host.holds("192.0.2.100"), 10, "it becomes master", step=0.05)
        assert holdfast_state(host) == "MASTER"
        assert "was ended by signal" not in daemon.text()
