"""GRPC_CHECK against a real server of grpcio, and its framing."""

from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.time import SECOND
from holdfast.check.config import GrpcCheck, Tls
from holdfast.check.conversation import Outcome
from holdfast.check.grpc import GrpcConversation, health_status
from tests.check.asking import ask, feed, target
from tests.check.conftest import NAME, Nginx, Papers


@pytest.fixture(scope="module")
def served(papers: Papers) -> Iterator[tuple[int, int, int]]:
    """Ports: in the clear, in TLS, and of a server without the health service."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name, status in (("", "SERVING"), ("shop", "SERVING"), ("cart", "NOT_SERVING"), ("x" * 200, "SERVING")):
        servicer.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    with open(papers.server, "rb") as chain, open(papers.server_key, "rb") as key:
        credentials = grpc.ssl_server_credentials([(key.read(), chain.read())])
    plain, tls = server.add_insecure_port("127.0.0.1:0"), server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    bare = grpc.server(futures.ThreadPoolExecutor(1))
    without = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    yield plain, tls, without
    server.stop(0).wait()
    bare.stop(0).wait()


def check(port: int, service: str = "", tls: Tls | None = None) -> Outcome:
    return ask(GrpcCheck(target=target(port, timeout_ns=5 * SECOND), host=NAME, service=service, tls=tls))


@pytest.mark.parametrize(
    ("service", "outcome"),
    [
        ("", Outcome(True, "health: SERVING")),
        ("shop", Outcome(True, "health of 'shop': SERVING")),
        ("cart", Outcome(False, "health of 'cart': NOT_SERVING")),
        ("no", Outcome(False, "health of 'no': NOT_FOUND: the server knows no service of this name")),
        ("x" * 200, Outcome(True, f"health of '{'x' * 200}': SERVING")),
    ],
)
def test_services(served: tuple[int, int, int], service: str, outcome: Outcome) -> None:
    assert check(served[0], service) == outcome


def test_in_tls(served: tuple[int, int, int], papers: Papers) -> None:
    assert check(served[1], "shop", Tls(verify=True, ca=papers.ca, server_name=NAME)).ok
    assert not check(served[1], "shop", Tls(verify=True, ca=papers.other_ca, server_name=NAME)).ok


def test_a_server_without_the_health_service(served: tuple[int, int, int]) -> None:
    assert check(served[2]) == Outcome(
        False, "health: UNIMPLEMENTED: the server has no health service: register grpc.health.v1.Health"
    )


def test_a_server_that_speaks_http2_but_no_grpc(nginx: Nginx) -> None:
    assert check(nginx.tls, tls=Tls()).detail in ("health: HTTP status 405", "health: no gRPC: content-type 'text/plain'")


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"\0\0\0\0\2\x08\1", 1),
        (b"\0\0\0\0\2\x08\2", 2),
        (b"\0\0\0\0\0", 0),
        (b"\0\0\0\0\5\x12\1x\x08\1", 1),  # another field first
        (b"\0\0\0\0\3\x08\x81\1", 129),
    ],
)
def test_replies(octets: bytes, status: int) -> None:
    assert health_status(octets) == status


@pytest.mark.parametrize(
    "octets", [b"", b"\0\0\0\0", b"\1\0\0\0\2\x08\1", b"\0\0\0\0\3\x08\1", b"\0\0\0\0\1\x08", b"\0\0\0\0\2\x0a\xff",
               b"\0\0\0\0\2\x0b\1", b"\0\0\0\0\x0c\x08" + b"\xff" * 11],
)  # fmt: skip
def test_replies_that_cannot_be_read(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        health_status(octets)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_reply_is_read_or_refused(octets: bytes) -> None:
    try:
        assert health_status(b"\0" + len(octets).to_bytes(4, "big") + octets) >= 0
    except ValueError:
        pass  # refused


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5))
def test_whatever_comes_is_answered(pieces: list[bytes]) -> None:
    said = feed(GrpcConversation(NAME, "shop", "http", 5000), bytes(3) + b"\x04\0" + bytes(4), *pieces)
    assert isinstance(said, Outcome)
    assert not said.ok
