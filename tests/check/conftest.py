"""Certificates, right and wrong, and an nginx with them."""

import datetime
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trustme

NAME = "www.example.org"


class Papers(msgspec.Struct, frozen=True):
    """Files of PEM: an authority, a server's chain and key, a client's; a server's whose time is nearly or quite over."""

    ca: str
    other_ca: str
    server: str
    server_key: str
    ending: str
    ending_key: str
    ended: str
    ended_key: str
    client: str
    client_key: str


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Made once: keys take their time."""
    folder: Path = tmp_path_factory.mktemp("papers")
    authority, other = trustme.CA(), trustme.CA()
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)

    def issued(name: str, days: int) -> tuple[str, str]:
        begin = now - datetime.timedelta(days=400)
        certificate = authority.issue_cert(NAME, not_before=begin, not_after=now + datetime.timedelta(days=days))
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())
        return str(chain), str(key)

    for name, written in (("ca", authority), ("other", other)):
        (folder / f"{name}.pem").write_bytes(written.cert_pem.bytes())
    return Papers(
        str(folder / "ca.pem"), str(folder / "other.pem"), *issued("server", 90), *issued("ending", 5),
        *issued("ended", -2), *issued("client", 90),
    )  # fmt: skip


class Nginx(msgspec.Struct, frozen=True):
    """Its ports: in the clear, TLS with HTTP/2, TLS that wants a client's certificate, TLS without HTTP/2."""

    plain: int
    tls: int
    strict: int
    old: int


_CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    ssl_certificate {papers.server}; ssl_certificate_key {papers.server_key};
    server {{
        listen 127.0.0.1:{ports.plain}; listen 127.0.0.1:{ports.tls} ssl http2; listen 127.0.0.1:{ports.old} ssl;
        location / {{ return 200 "$server_protocol $host $ssl_server_name\\n"; }}
        location /moved {{ return 301 http://elsewhere.example/; }}
        location /large {{ root {folder}; }}
        location /broken {{ return 503; }}
    }}
    server {{
        listen 127.0.0.1:{ports.strict} ssl; ssl_client_certificate {papers.ca}; ssl_verify_client on;
        location / {{ return 200 "known\\n"; }}
    }}
}}
"""


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[Nginx]:
    """A real server of HTTP/1, HTTP/2 and TLS."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "large").write_bytes(bytes(3_000_000))
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = Nginx(*(probe.getsockname()[1] for probe in probes))
    for probe in probes:
        probe.close()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIG.format(folder=folder, papers=papers, ports=ports))
    server = subprocess.Popen(["nginx", "-e", str(folder / "error.log"), "-c", str(configuration)])
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", ports.old)).close()
            break
        except ConnectionRefusedError:
            assert server.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
    yield ports
    server.terminate()
    server.wait(10)
