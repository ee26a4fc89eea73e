"""`web_listen`: read, refused, moved and ended by a reload."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config.check import check_file
from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until

TEXT = """\
global_defs {
    %s
}
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        192.0.2.100/24
    }
}
"""


@pytest.mark.parametrize("place", ["9650", "localhost:9650", "127.0.0.1:0", "127.0.0.1:99999", "::1"])
def test_what_is_no_place(place: str, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(TEXT % f"web_listen {place}")
    [problem] = [one for one in check_file(str(tmp_path / "a.conf")).problems if "ADDRESS:PORT" in one.what]
    assert problem.cure == "write 127.0.0.1:9650, or [::1]:9650"
    assert problem.line == 2


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("host")


def test_a_reload_moves_it_and_ends_it(host: Host) -> None:
    def listens(address: str, port: int) -> bool:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host.inside(), socket.socket(family) as one:
            return one.connect_ex((address, port)) == 0

    daemon = start_holdfast(host, TEXT % "web_listen 127.0.0.1:9650")
    wait_until(lambda: listens("127.0.0.1", 9650), 10, "it listens")
    host.write("keepalived.conf", TEXT % "web_listen [::1]:9651")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: listens("::1", 9651) and not listens("127.0.0.1", 9650), 10, "it listens elsewhere")
    with host.inside():
        other = socket.create_server(("127.0.0.1", 9652))
    host.write("keepalived.conf", TEXT % "web_listen 127.0.0.1:9652")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "cannot listen at 127.0.0.1:9652: Address already in use" in daemon.text(), 10, "it says why")
    other.close()
    host.write("keepalived.conf", TEXT % "")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.text().count("Reloaded: ") == 3, 10, "it has reloaded")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(5) == 0
