"""Virtual servers as they are written, and what they come to."""

from pathlib import Path

import pytest

from holdfast.base.address import parse, text
from holdfast.base.command import Command
from holdfast.base.ipvs import Forwarding, Method, ServiceFlags, Timeouts, TunnelFlags, TunnelType
from holdfast.config.check import Environment, check_file, read_file
from holdfast.lvs.config import LvsPlan, SyncDaemonConfig, VirtualServerConfig
from tests.config.golden import PlainDisk


def plan_of(folder: Path, configuration: str) -> LvsPlan:
    path = folder / "keepalived.conf"
    path.write_text(configuration)
    return read_file(str(path), Environment(config_id="here"), PlainDisk()).built.balancer.lvs


def one(folder: Path, inside: str, where: str = "10.0.0.1 80", before: str = "") -> VirtualServerConfig:
    [service] = plan_of(folder, f"{before}\nvirtual_server {where} {{\n{inside}\n}}\n").services
    return service


def told(folder: Path, inside: str, where: str = "10.0.0.1 80", before: str = "") -> list[str]:
    """What is wrong besides what isn't carried out yet and what has a default."""
    path = folder / "keepalived.conf"
    path.write_text(f"{before}\nvirtual_server {where} {{\n{inside}\n}}\n")
    problems = check_file(str(path), environment=Environment(config_id="here"), disk=PlainDisk()).problems
    return [
        f"{problem.what}: {problem.cure}; {problem.meanwhile}"
        for problem in problems
        if "not yet carried out" not in problem.what and " names no " not in problem.what
    ]


def argv(command: Command | None) -> tuple[str, ...]:
    return () if command is None else command.argv


def places(service: VirtualServerConfig) -> list[str]:
    return [f"{text(server.address)} {server.port}" for server in service.servers]


def test_everything_of_a_service(tmp_path: Path) -> None:
    service = one(
        tmp_path,
        """
        lvs_sched sh
        sh-port
        sh-fallback
        lvs_method DR
        protocol TCP
        persistence_timeout 50
        persistence_granularity 255.255.255.0
        persistence_engine sip
        quorum 3
        hysteresis 2
        omega
        alpha
        ha_suspend
        inhibit_on_failure
        weight 4
        virtualhost www
        smtp_alert
        quorum_up "/usr/bin/true up"
        quorum_down /usr/bin/false
        sorry_server 10.0.0.99 8080
        sorry_server_inhibit
        sorry_server_lvs_method NAT
        real_server 10.0.0.2 80 {
            weight 7
            uthreshold 100
            lthreshold 50
            inhibit_on_failure no
            notify_up /usr/bin/true
            notify_down "/usr/bin/false x"
            smtp_alert off
            virtualhost other
            TCP_CHECK { }
            TCP_CHECK { alpha off }
        }
        real_server 10.0.0.3 {
        }
        """,
    )
    assert (service.name, service.label) == ("10.0.0.1:80", "[10.0.0.1]:tcp:80")
    [key] = service.keys
    assert key.text() == "tcp 10.0.0.1:80"
    spec = service.service
    assert (spec.scheduler, spec.timeout_s, spec.netmask, spec.engine) == ("sh", 50, 0xFFFFFF00, "sip")
    assert spec.flags == ServiceFlags.PERSISTENT | ServiceFlags.SCHED1 | ServiceFlags.SCHED2
    assert (service.quorum, service.hysteresis, service.omega, service.ha_suspend, service.smtp_alert) == (3, 2, True, True, True)
    assert argv(service.quorum_up) == ("/usr/bin/true", "up")
    assert argv(service.quorum_down) == ("/usr/bin/false",)
    sorry = service.sorry
    assert sorry is not None
    assert (text(sorry.address), sorry.port, sorry.inhibit, sorry.forwarding.name) == ("10.0.0.99", 8080, True, "NAT")
    first, second = service.servers
    assert (first.weight, first.upper_threshold, first.lower_threshold, first.inhibit) == (7, 100, 50, False)
    assert (first.checks, first.alpha_checks, first.smtp_alert, first.virtualhost) == ((0, 1), (0,), False, "other")
    assert argv(first.notify_down) == ("/usr/bin/false", "x")
    assert first.forwarding.name == "DR"
    assert (second.weight, second.port, second.inhibit, second.smtp_alert, second.virtualhost) == (4, 80, True, None, "www")


def test_the_globals(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """global_defs {
        lvs_flush
        lvs_flush_on_stop VS
        lvs_timeouts tcp 100 udp 33
        lvs_sync_daemon eth0 inst VI_1 id 7 maxlen 1400 port 8850 ttl 3 group 224.0.0.83
        rs_init_notifies
        no_checker_emails
        smtp_alert_checker no
        }""",
    )
    assert (plan.flush, plan.flush_on_stop, plan.timeouts) == (True, "VS", Timeouts(tcp_s=100, udp_s=33))
    assert plan.sync_daemon == SyncDaemonConfig(
        interface="eth0", instance="VI_1", sync_id=7, max_bytes=1400, port=8850, ttl=3, group=parse("224.0.0.83")
    )
    assert (plan.init_notifies, plan.no_checker_emails, plan.smtp_alert) == (True, True, False)


@pytest.mark.parametrize(
    ("line", "daemon"),
    [
        ("eth0", SyncDaemonConfig(interface="eth0")),
        ("eth0 VI_1", SyncDaemonConfig(interface="eth0", instance="VI_1")),
        ("eth0 VI_1 20", SyncDaemonConfig(interface="eth0", instance="VI_1", sync_id=20)),
        ("eth0 id 300 ttl 9", SyncDaemonConfig(interface="eth0", ttl=9)),
        ("eth0 VI_1 id 4", SyncDaemonConfig(interface="eth0", instance="VI_1", sync_id=4)),
    ],
)
def test_sync_daemon(tmp_path: Path, line: str, daemon: SyncDaemonConfig) -> None:
    assert plan_of(tmp_path, f"global_defs {{\nlvs_sync_daemon {line}\n}}").sync_daemon == daemon


def test_a_sync_daemon_without_words(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "global_defs {\nlvs_sync_daemon\n}").sync_daemon is None


@pytest.mark.parametrize(
    ("method", "forwarding"),
    [
        ("NAT", Forwarding()),
        ("DR", Forwarding(method=Method.DR)),
        ("TUN", Forwarding(method=Method.TUN)),
        ("TUN type ipip", Forwarding(method=Method.TUN)),
        ("TUN type gre csum", Forwarding(method=Method.TUN, tunnel_type=TunnelType.GRE, tunnel_flags=TunnelFlags.CSUM)),
        ("TUN remcsum type gue port 6080",
         Forwarding(method=Method.TUN, tunnel_type=TunnelType.GUE, tunnel_port=6080, tunnel_flags=TunnelFlags.REMCSUM)),
        ("TUN type gue", Forwarding(method=Method.TUN)),
        ("TUN type gre remcsum", Forwarding(method=Method.TUN)),
    ],
)  # fmt: skip
def test_forwarding(tmp_path: Path, method: str, forwarding: Forwarding) -> None:
    service = one(tmp_path, f"lb_kind {method}\nreal_server 10.0.0.9 80 {{\n}}")
    assert service.servers[0].forwarding == forwarding == service.forwarding


def test_a_server_takes_the_forwarding_written_before_it_or_else_the_last(tmp_path: Path) -> None:
    service = one(
        tmp_path,
        "real_server 10.0.0.2 80 {\n}\nlb_kind DR\nreal_server 10.0.0.3 80 {\n}\nlb_kind TUN\nreal_server 10.0.0.4 80 {\n}",
    )
    assert [server.forwarding.name for server in service.servers] == ["TUN", "DR", "TUN"]


@pytest.mark.parametrize(
    ("lines", "flags"),
    [
        ("flag-1\nlb_algo sh", ServiceFlags.SCHED1),
        ("lb_algo sh\nsh-port\nlb_algo mh", ServiceFlags.SCHED2),
        ("lb_algo mh\nmh-fallback\nmh-port", ServiceFlags.SCHED1 | ServiceFlags.SCHED2),
        ("lb_algo rr\nflag-3\nlb_algo sh\nsh-fallback", ServiceFlags.SCHED1 | ServiceFlags.SCHED3),
        ("sh-port\nlb_algo sh\nhashed", 0),
    ],
)
def test_flags_of_the_scheduler(tmp_path: Path, lines: str, flags: int) -> None:
    service = one(tmp_path, f"{lines}\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.0.9 80 {{\n}}")
    assert service.service.flags == flags


GROUP = """virtual_server_group G {
    10.0.1.250-252 80
    10.0.2.0/31 81
    10.0.3.1-10.0.3.2
    fd00::fe-100 80
    fwmark 7 inet
    fwmark 8 inet6
}"""


def test_a_group(tmp_path: Path) -> None:
    service = one(tmp_path, "lb_kind TUN\nprotocol TCP\nreal_server 10.0.0.9 80 {\n}", "group G", GROUP)
    assert [key.text() for key in service.keys] == [
        "tcp 10.0.1.250:80", "tcp 10.0.1.251:80", "tcp 10.0.1.252:80", "tcp 10.0.2.0:81", "tcp 10.0.2.1:81",
        "tcp 10.0.3.1:0", "tcp 10.0.3.2:0", "tcp [fd00::fe]:80", "tcp [fd00::ff]:80", "tcp [fd00::100]:80",
        "fwmark 7 inet", "fwmark 8 inet6",
    ]  # fmt: skip
    assert service.service.timeout_s == 360  # an address without port
    assert (service.name, service.label) == ("group G", "[G]:0")


@pytest.mark.parametrize(
    ("inside", "family"),
    [
        ("lb_kind NAT\nreal_server fd00::9 80 {\n}", 10),
        ("lb_kind NAT\nreal_server 10.0.0.9 80 {\n}", 2),
        ("lb_kind TUN\nreal_server fd00::9 80 {\n}", 10),
        ("lb_kind TUN\nreal_server fd00::9 80 {\n}\nreal_server 10.0.0.9 80 {\n}", 2),
        ("lb_kind TUN\nip_family inet6\nreal_server 10.0.0.9 80 {\n}", 10),
        ("lb_kind TUN\nreal_server fd00::9 80 {\n}\nreal_server fd00::8 80 {\nlvs_method DR\n}", 10),
    ],
)
def test_the_family_of_a_mark(tmp_path: Path, inside: str, family: int) -> None:
    [key] = one(tmp_path, inside, "fwmark 5").keys
    assert (key.family, key.fwmark) == (family, 5)


@pytest.mark.parametrize(
    ("kind", "ports"),
    [("NAT", ["10.0.0.2 80", "10.0.0.3 81"]), ("DR", ["10.0.0.2 80", "10.0.0.3 80"]), ("TUN", ["10.0.0.2 80", "10.0.0.3 80"])],
)
def test_ports(tmp_path: Path, kind: str, ports: list[str]) -> None:
    inside = f"lb_kind {kind}\nprotocol TCP\nreal_server 10.0.0.2 {{\n}}\nreal_server 10.0.0.3 81 {{\n}}"
    assert places(one(tmp_path, inside)) == ports


PLAIN = "protocol TCP\nlb_algo rr\nlb_kind NAT\nreal_server 10.0.0.9 80 {\n}\n"


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        ("quorum 5", "quorum 5 is more than all weights of 10.0.0.1:80 together: use at most 1; 1 is taken"),
        ("hysteresis 1", "hysteresis 1 is not below quorum 1: use at most 0; 0 is taken"),
        ("ops", "ops is for UDP only: remove it, or write protocol UDP; the line is left aside"),
        ("mh-port", "mh-port belongs to the scheduler mh: write it after lvs_sched mh; the line is left aside"),
        ("persistence_engine foo", "there is no persistence engine 'foo': use sip; the line is left aside"),
        ("persistence_granularity 24",
         "persistence_granularity 24 is taken by keepalived as the mask 0.0.0.24: write 255.255.255.0; 255.255.255.0 is taken"),
        ("persistence_granularity x", "'x' is no netmask: write one as 255.255.255.0; each client counts for itself"),
        ("real_server fd00::9 80 {\n}",
         "real_server fd00::9 is not of the family of virtual_server 10.0.0.1:80: use an IPv4 address, or lvs_method TUN; "
         "it is left aside"),
        ("sorry_server fd00::9",
         "sorry_server fd00::9 is not of the family of virtual_server 10.0.0.1:80: use an IPv4 address, or lvs_method TUN; "
         "it is left aside"),
        ("real_server 10.0.0.9 {\n}", "real_server 10.0.0.9 stands here twice: keep one; the second is left aside"),
        ("real_server 10.0.0.8 81 {\nlvs_method DR\n}",
         "real_server 10.0.0.8 81: with lvs_method DR packets keep their port: write 80, or use NAT; the service's port is taken"),
        ("real_server 10.0.0.8 80 {\nlthreshold 5\n}",
         "lthreshold 5 is above uthreshold (off): write a uthreshold above it; lthreshold is left aside"),
        ("quorum_up /usr/bin/true\nquorum_up /usr/bin/false",
         "quorum_up stands here a second time: call both from one script; the first is run"),
        ("quorum_down /bin/nowhere", "/bin/nowhere is not there: correct the path; it is not run"),
        ("lb_kind TUN type gue", "a gue tunnel needs a port: write port N after it; type ipip is taken"),
        ("lb_kind TUN type foo", "TUN has no option 'type': use type ipip, gue or gre, port 1 to 65535, nocsum, csum or remcsum"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_cure(tmp_path: Path, inside: str, problem: str) -> None:
    said = told(tmp_path, PLAIN + inside)
    if "nowhere" in inside:
        assert any("/bin/nowhere" in line for line in said)
    else:
        assert any(line.startswith(problem) for line in said), said


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("10.0.0.9-3 80", "10.0.0.9-3 ends before it begins: write the lower address first"),
        ("10.0.0.1-300 80", "300 is no last part of an address: use at most 255"),
        ("10.0.0.1/24 80", "10.0.0.1/24 is a host in its network: write 10.0.0.0/24"),
        ("10.0.0.0/8 80", "10.0.0.0/8 are 16,777,216 addresses, each a service of its own"),
        ("10.0.0.1 99999", "'99999' is not a port: use 1 to 65535"),
        ("10.0.0.1-fd00::1", "10.0.0.1-fd00::1 begins and ends in different families"),
        ("fd00::1/129", "'129' is no prefix length: use 0 to 128"),
        ("fwmark 0", "'0' is not a fwmark: use 1 to 4294967295"),
        ("fwmark 4294967296", "'4294967296' is not a fwmark"),
        ("fwmark 5 ipv4", "'ipv4' is no family: use inet or inet6"),
        ("fwmark", "'nothing' is not a fwmark"),
        ("web 80", "'web' is no address, range or fwmark"),
    ],
)
def test_what_is_wrong_in_a_group_is_told(tmp_path: Path, entry: str, problem: str) -> None:
    group = f"virtual_server_group G {{\n10.9.9.9 80\n{entry}\n}}"
    [line] = told(tmp_path, PLAIN, "group G", group)
    assert line.startswith(problem)
    assert line.endswith("the line is left aside")


def test_a_group_that_cannot_be(tmp_path: Path) -> None:
    mixed = "virtual_server_group G {\n10.9.9.9 80\nfd00::1 80\nfwmark 3\n}"
    assert told(tmp_path, PLAIN, "group G", mixed) == [
        "virtual_server_group G has addresses of both families and a fwmark of neither: write inet or inet6 after the "
        "fwmark; it is left aside"
    ]
    assert told(tmp_path, PLAIN, "group H", mixed)[-1].startswith("there is no virtual_server_group H")


def test_a_service_that_another_has_taken(tmp_path: Path) -> None:
    first = f"virtual_server 10.0.0.1 80 {{\n{PLAIN}\n}}"
    assert told(tmp_path, PLAIN, before=first) == [
        "tcp 10.0.0.1:80 is already balanced by virtual_server 10.0.0.1:80: keep one of them; this one is left aside"
    ]
    group = f"virtual_server_group G {{\n10.0.0.1 80\n10.0.0.2 80\n}}\n{first}"
    service = plan_of(tmp_path, f"{group}\nvirtual_server group G {{\n{PLAIN}\n}}").services[1]
    assert [key.text() for key in service.keys] == ["tcp 10.0.0.2:80"]


def test_a_quorum_that_can_never_be(tmp_path: Path) -> None:
    said = told(tmp_path, PLAIN + "real_server 10.0.0.8 80 {\n}\nquorum 2\nhysteresis 1")
    assert said == [
        "the quorum of 10.0.0.1:80 can never be gained: that takes quorum + hysteresis = 3, and all weights together "
        "are 2: lower one of them; it stays lost until the weights allow it"
    ]


def test_the_kernel_synchronises_no_mixed_service(tmp_path: Path) -> None:
    daemon = "global_defs {\nlvs_sync_daemon eth0\n}"
    inside = "protocol TCP\nlb_algo rr\nlb_kind TUN\nreal_server fd00::9 80 {\n}"
    assert told(tmp_path, inside, before=daemon)[-1].startswith(
        "lvs_sync_daemon doesn't go with virtual_server 10.0.0.1:80, which has servers of the other family"
    )
