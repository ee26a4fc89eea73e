"""Runs inside the user-mode kernel: established connections survive the change of director."""

from holdfast.base.ipvs import SyncRole, Timeouts
from holdfast.edge.connection_sync import ConnectionSync
from holdfast.edge.services import Memory, Services
from holdfast.kernel.ipvs import IpvsSocket
from holdfast.lab.hosts import wait_until
from holdfast.lvs import machine
from holdfast.lvs.config import SyncDaemonConfig
from tests.usermode.inside.farm import PORT, VIP, Farm
from tests.usermode.inside.ipvs import fresh, ipvsadm


def test_roles_follow_the_instance_and_all_is_put_back() -> None:
    tied = SyncDaemonConfig(interface="lo", instance="VI_1", ttl=3)
    with fresh() as ipvs:
        sync = ConnectionSync(ipvs)
        assert sync.configure(Timeouts(tcp_s=77), tied, vrid=51) == []
        assert list(ipvs.daemons()) == [SyncRole.BACKUP]
        assert ipvs.daemons()[SyncRole.BACKUP].sync_id == 51
        assert sync.role(True) == []
        assert list(ipvs.daemons()) == [SyncRole.MASTER]
        ipvs.calls()
        assert sync.configure(Timeouts(tcp_s=77), tied, vrid=51, master=True) == []
        assert ipvs.calls() < 8
        assert sync.configure(Timeouts(tcp_s=78), SyncDaemonConfig(interface="lo", sync_id=9), master=True) == []
        assert {role: one.sync_id for role, one in ipvs.daemons().items()} == {SyncRole.MASTER: 9, SyncRole.BACKUP: 9}
        assert ipvs.timeouts().tcp_s == 78
        assert sync.end() == []
        assert ipvs.daemons() == {}
        assert ipvs.timeouts() == Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=300)
        assert sync.configure(None, SyncDaemonConfig(interface="nowhere"))[0].startswith(
            "cannot start the master sync daemon on nowhere"
        )


def test_connections_survive_the_director() -> None:
    with Farm() as farm, farm.answering("DR"):
        other = farm.lab.host("other")
        other.sysctl("net/ipv4/ip_forward", "1")
        config = SyncDaemonConfig(interface="eth0", instance="VI_1")
        farm.configure("lb_algo rr\nlb_kind DR")
        with other.inside():
            kernel = IpvsSocket()
        assert Services(kernel, Memory("")).begin(machine.wanted_pools(farm.service, farm.state)) == []
        assert ConnectionSync(farm.ipvs).configure(None, config, vrid=51, master=True) == []
        assert ConnectionSync(kernel).configure(None, config, vrid=51, master=False) == []
        for host in (farm.director, other):  # every packet of a connection counts, not the third only
            host.sysctl("net/ipv4/vs/sync_threshold", "1 2")
        held = [farm.connect() for _ in range(6)]
        assert all(one.works() for one in held)

        def synchronised() -> bool:
            assert all(one.works() for one in held)
            with other.inside():
                return sum("ESTABLISHED" in line for line in ipvsadm("-Lnc")) == 6

        wait_until(synchronised, 15, "the other director knows the connections", step=0.2)
        farm.director.links.remove_address("eth0", VIP, 24)
        other.links.add_address("eth0", VIP, 24)
        farm.client.run("ip", "neigh", "replace", VIP, "lladdr", other.mac, "dev", "eth0")
        assert all(one.works() for one in held)
        assert sorted(one.name for one in held) == ["a", "a", "b", "b", "c", "c"]
        with other.inside():
            assert any(line.startswith("TCP") and f"{VIP}:{PORT}" in line for line in ipvsadm("-Lnc"))
        for one in held:
            one.close()
        for end in (farm.ipvs, kernel):
            ConnectionSync(end).role(False)
        kernel.close()
