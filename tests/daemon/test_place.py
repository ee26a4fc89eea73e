"""Network namespaces, instances and pid files: where a daemon lives, and where its files are found."""

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.config.plan import Settings
from holdfast.daemon.options import Options
from holdfast.daemon.place import ipvs_network, log_suffix
from holdfast.lab.daemons import holdfast_command, source_environment
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

TEXT = """
vrrp_instance web {
    interface inner
    virtual_router_id 51
    version 3
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.100/24
    }
    notify_master "/bin/sh SCRIPT"
}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def host(lab: Lab) -> Host:
    """A host with a namespace `blue`, in which there is an interface `inner`; it is not in the host's own."""
    host = lab.host("host")
    host.run("ip", "netns", "add", "blue")
    host.run("ip", "link", "add", "outer", "up", "type", "veth", "peer", "name", "inner", "netns", "blue")
    for line in ("link set inner up", "link set lo up", "addr add 192.0.2.7/24 dev inner"):
        host.run("ip", "-n", "blue", *line.split())
    return host


def compatible(host: Host, text: str, *words: str) -> Spawned:
    script = host.write("seen.sh", "ls /run/keepalived > /run/seen\n")
    path = host.write("keepalived.conf", text.replace("SCRIPT", script))
    python = holdfast_command("")[0].rpartition("/")[0]
    return host.spawn(f"{python}/holdfast-keepalived", "-n", "-l", "-G", "-f", path, *words,
                      environment=source_environment())  # fmt: skip


def serves(host: Host) -> bool:
    return "192.0.2.100" in host.run("ip", "-n", "blue", "addr", "show", "inner")


def test_a_daemon_lives_in_the_namespace_its_file_names(host: Host) -> None:
    path = host.write("keepalived.conf", "net_namespace blue\n" + TEXT.replace("SCRIPT", "/dev/null"))
    daemon = host.spawn(*holdfast_command("run", "-f", path), environment=source_environment())
    wait_until(lambda: serves(host), 10, "the instance is master in blue")
    found = msgspec.json.decode(host.run(*holdfast_command("who", "--json", "--run-dir", "/run/holdfast/blue")))
    assert [(one["vip"], one["here"]) for one in found["vips"]] == [("192.0.2.100", True)]
    asked = host.run("sh", "-c", f"{holdfast_command('status')[0]} status 2>&1", check=False)
    assert "--run-dir /run/holdfast/blue" in asked  # nobody answers in the default place: it says where somebody does
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert not serves(host)


def test_the_command_line_goes_before_and_keepalived_s_directory_is_the_namespace_s_own(host: Host) -> None:
    daemon = compatible(host, "net_namespace green\ninstance east\n" + TEXT, "-s", "blue")
    wait_until(lambda: serves(host), 10, "the instance is master in blue")
    inside = host.run("ls", "/run/keepalived/blue").split()
    assert {"keepalived_east.pid", "vrrp_east.pid", "control.sock"} <= set(inside)
    assert "web MASTER" in host.run("cat", "/run/keepalived/blue/state").replace("INSTANCE ", "")
    wait_until(lambda: "keepalived_east.pid" in Path(f"/proc/{daemon.process.pid}/root/run/seen").read_text(), 5,
               "the script saw the namespace's files as its own")  # fmt: skip


def test_a_namespace_that_is_not_there_ends_the_start_with_the_cure(host: Host) -> None:
    daemon = compatible(host, TEXT, "-s", "green")
    assert daemon.wait(10) == 1
    assert "ip netns add green" in daemon.text()


def test_pid_files_of_instances_and_use_pid_dir(host: Host) -> None:
    for line, expected in (("use_pid_dir", "keepalived.pid"), ("instance west", "keepalived_west.pid")):
        daemon = compatible(host, f"{line}\nglobal_defs {{ dynamic_interfaces }}\n" + TEXT)
        wait_until(lambda name=expected: name in host.run("ls", "/run/keepalived", check=False), 5, expected)  # type: ignore[misc]
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 0


def test_keepalived_s_names_in_the_log_tell_namespace_and_instance() -> None:
    options = Options(compatible=True, net_namespace="blue")
    assert log_suffix(options, Settings(instance_name="east")) == "_blue_east"
    assert log_suffix(options, Settings()) == "_blue"
    assert log_suffix(Options(net_namespace="blue"), Settings(instance_name="east")) == ""


@pytest.mark.parametrize(
    ("asked", "elsewhere", "path"),
    [
        (None, True, ""),
        ("", False, ""),
        ("", True, "/proc/1/ns/net"),
        ("red", True, "/run/netns/red"),
        ("red", False, "/run/netns/red"),
    ],
)
def test_where_the_ipvs_table_is(asked: str | None, elsewhere: bool, path: str) -> None:
    assert ipvs_network(Settings(net_namespace_ipvs=asked), elsewhere) == path
