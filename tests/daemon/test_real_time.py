"""Real-time priority with a limit: a worker that has much to do at once is not ended for it."""

from holdfast.lab.daemons import holdfast_state, start_holdfast
from holdfast.lab.hosts import Lab, wait_until

COUNT = 120
TEXT = "global_defs {\n vrrp_rt_priority 50\n vrrp_rlimit_rttime 2\n}\n" + "".join(
    f"vrrp_instance v{number} {{\n interface eth0\n version 3\n advert_int 0.1\n virtual_router_id {number}\n"
    f" priority 100\n virtual_ipaddress {{\n 10.0.{number}.1/32\n 10.0.{number}.2/32\n }}\n}}\n"
    for number in range(1, COUNT + 1)
)


def test_a_worker_outlives_its_limit() -> None:
    with Lab() as lab:
        host = lab.host("one")
        daemon = start_holdfast(host, TEXT)
        wait_until(lambda: host.holds(f"10.0.{COUNT}.2"), 10, "it becomes master", step=0.05)
        assert holdfast_state(host) == "MASTER"
        assert "was ended by signal" not in daemon.text()
