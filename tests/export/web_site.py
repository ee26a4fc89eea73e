"""Two hosts with holdfast, the second with a web worker, and a way to ask it."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from holdfast.lab.daemons import holdfast_command, holdfast_state, source_environment, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

PORT = 9650
TOKEN = "a-token-of-the-tests-0123456789"
TEXT = """\
vrrp_instance web {
    interface eth0
    version 3
    virtual_router_id 51
    priority %d
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.100/24
    }
}
vrrp_instance mail {
    interface eth0
    version 3
    virtual_router_id 52
    priority %d
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.110/24
    }
}
"""


class WebSite:
    """Host a is master of web, host b (asked by the web) of mail."""

    def __init__(self, lab: Lab, more: str = "") -> None:
        self.lab = lab
        self.a, self.b = lab.host("alpha"), lab.host("beta")
        self.first = start_holdfast(self.a, TEXT % (150, 100))
        self.token_file = self.b.write("token", f"{TOKEN}\n", 0o600)
        self.second = self.start(self.b, TEXT % (100, 150) + more)
        wait_until(lambda: self.a.holds("192.0.2.100") and self.b.holds("192.0.2.110"), 10, "each is master of one")
        wait_until(lambda: self.listens(), 10, "the web worker listens")

    def start(self, host: Host, text: str) -> Spawned:
        """A daemon with a web worker."""
        command = holdfast_command(
            "run", "-f", host.write("keepalived.conf", text), "--run-dir", "/run/holdfast",
            "--web", f"127.0.0.1:{PORT}", "--web-token-file", self.token_file,
        )  # fmt: skip
        return host.spawn(*command, environment=source_environment())

    def listens(self) -> bool:
        """Whether a connection is taken."""
        with self.b.inside(), socket.socket() as one:
            return one.connect_ex(("127.0.0.1", PORT)) == 0

    def connect(self) -> socket.socket:
        """A connection to the web worker."""
        with self.b.inside():
            one = socket.socket()
        one.settimeout(15)
        one.connect(("127.0.0.1", PORT))
        return one

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of an answer."""
        link = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
        link.sock = self.connect()
        try:
            link.request(method, path, body, headers)
            answer = link.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            link.close()

    def get(self, path: str) -> Any:
        """The document at a path."""
        status, _, octets = self.ask("GET", path)
        assert status == 200, octets
        return msgspec.json.decode(octets)

    def post(self, command: str, body: object, token: str = TOKEN) -> tuple[int, Any]:
        """Status and document of a command's answer."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        status, _, octets = self.ask("POST", f"/api/{command}", msgspec.json.encode(body), **headers)
        return status, msgspec.json.decode(octets)

    def states(self, host: Host) -> str:
        """The state of the first instance on a host."""
        return holdfast_state(host)


@contextmanager
def web_site(more: str = "") -> Iterator[WebSite]:
    """A site, as long as the block lasts."""
    with Lab() as lab:
        yield WebSite(lab, more)
