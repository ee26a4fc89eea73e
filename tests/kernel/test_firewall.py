"""The firewall table, as nft shows it and as packets meet it."""

import ctypes
import errno
import os
import socket
import subprocess

import pytest

from holdfast.base.address import parse
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.firewall import Firewall
from holdfast.lab.hosts import wait_until
from tests.kernel.namespaces import Namespace, index_of, ip

VIP_4, VIP_6 = parse("192.0.2.10"), parse("2001:db8::10")

EXPECTED = """\
table ip holdfast {
	comment "holdfast"
	set vips {
		type ipv4_addr
	}

	chain in {
		type filter hook input priority filter - 1; policy accept;
		ip daddr @vips drop
	}

	chain out {
		type filter hook output priority filter - 1; policy accept;
		ip saddr @vips drop
	}
}
table ip6 holdfast {
	comment "holdfast"
	set vips {
		type ipv6_addr
	}

	set vips_link_local {
		type ipv6_addr . iface_index
	}

	chain in {
		type filter hook input priority filter - 1; policy accept;
		icmpv6 type 135-136 accept
		ip6 daddr . iif @vips_link_local drop
		ip6 daddr @vips drop
	}

	chain out {
		type filter hook output priority filter - 1; policy accept;
		icmpv6 type 135-136 accept
		ip6 saddr . oif @vips_link_local drop
		ip6 saddr @vips drop
	}
}
"""


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def answers(place: Namespace, target: str) -> bool:
    """Whether a UDP datagram to `target` port 7000 is answered with "port unreachable", that is, let in and out."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with place.entered():
        asking = socket.socket(family, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(0.3)
        asking.connect(socket.getaddrinfo(target, 7000)[0][4])
        for _ in range(2):  # one may be lost while the neighbour is looked for
            try:
                asking.send(b"?")
                asking.recv(9)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                continue
            raise AssertionError("somebody answered")
    return False


def test_nft_reads_what_was_meant(alone: Namespace) -> None:
    firewall = Firewall()
    firewall.setup()
    assert nft("list", "ruleset") == EXPECTED
    firewall.teardown()
    assert nft("list", "ruleset") == ""
    firewall.teardown()  # nothing to do is well
    firewall.close()


def test_name_priority_and_counters(alone: Namespace) -> None:
    firewall = Firewall("keepalived", priority=-10, counters=True)
    firewall.setup([(VIP_4, 0), (VIP_6, 0)])
    shown = nft("list", "ruleset")
    assert "table ip6 keepalived" in shown
    assert "hook input priority filter - 10" in shown
    assert "ip daddr @vips counter packets 0 bytes 0 drop" in shown
    assert "elements = { 192.0.2.10 }" in shown
    assert "elements = { 2001:db8::10 }" in shown
    firewall.close()


def test_a_dead_runs_table_is_replaced_a_strangers_is_not(alone: Namespace) -> None:
    dead = Firewall()
    dead.setup([(VIP_4, 0)])
    dead.close()
    firewall = Firewall()
    firewall.setup()
    assert nft("list", "ruleset") == EXPECTED
    firewall.teardown()
    nft("add", "table", "ip6", "holdfast")
    with pytest.raises(KernelRefused, match="cannot make the firewall table on holdfast: file exists; delete it"):
        firewall.setup()
    firewall.teardown()
    assert nft("list", "ruleset") == "table ip6 holdfast {\n}\n"
    firewall.close()


def test_elements_come_and_go_with_their_errnos(alone: Namespace) -> None:
    firewall = Firewall()
    firewall.setup()
    add_4, delete_4 = firewall.element_messages(VIP_4, 0)
    add_6, delete_6 = firewall.element_messages(VIP_6, 0)
    assert firewall.request_batch([]) == []
    assert firewall.request_batch([add_4, add_6]) == [0, 0]
    assert firewall.request_batch([add_4]) == [0]  # twice is harmless
    assert "192.0.2.10" in nft("list", "set", "ip", "holdfast", "vips")
    assert firewall.request_batch([delete_4]) == [0]
    assert firewall.request_batch([delete_4, delete_6, delete_6]) == [errno.ENOENT, 0, errno.ENOENT]
    assert "elements" not in nft("list", "ruleset")
    firewall.teardown()
    assert firewall.request_batch([add_4]) == [errno.ENOENT]
    firewall.close()


def test_packets_to_the_addresses_are_dropped_while_they_are_in_the_set(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        ip("address", "add", "2001:db8::1/64", "dev", "va", "nodad")
    with other.entered():
        for address in ("192.0.2.10/32", "2001:db8::10/64", "2001:db8::2/64"):
            ip("address", "add", address, "dev", "vb", *(["nodad"] if ":" in address else []))
        firewall = Firewall()
        firewall.setup()
    targets = ("192.0.2.10", "2001:db8::10", "192.0.2.2", "2001:db8::2")
    wait_until(lambda: all(answers(one, target) for target in targets), 5, "answers, while nothing is dropped")
    messages = [firewall.element_messages(address, 0) for address in (VIP_4, VIP_6)]
    assert firewall.request_batch([add for add, _ in messages]) == [0, 0]
    assert [answers(one, target) for target in targets] == [False, False, True, True]
    with one.entered():  # neighbours must still find it
        ip("neighbour", "flush", "dev", "va")
    assert not answers(one, "2001:db8::10")
    with one.entered():
        assert "02:00:00:00:00:02" in ip("neighbour", "show", "2001:db8::10")
    assert firewall.request_batch([delete for _, delete in messages]) == [0, 0]
    assert [answers(one, target) for target in targets] == [True, True, True, True]
    firewall.close()


def test_packets_from_the_addresses_are_dropped(pair: tuple[Namespace, Namespace]) -> None:
    _, other = pair
    with other.entered():
        ip("address", "add", "192.0.2.10/32", "dev", "vb")
        firewall = Firewall()
        firewall.setup([(VIP_4, 0)])
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sending.bind(("192.0.2.10", 0))
        with pytest.raises(PermissionError):
            sending.sendto(b"?", ("192.0.2.1", 7000))
        sending.close()
    firewall.close()


def test_without_privilege_it_says_what_to_grant() -> None:
    child = os.fork()
    if child == 0:  # a child drops its privileges, ours stay
        status = 1
        try:
            ctypes.CDLL(None).setresuid(65534, 65534, 65534)
            Firewall("never_made").setup()
        except KernelRefused as refused:
            status = 0 if "grant CAP_NET_ADMIN" in str(refused) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_link_local_address_is_dropped_on_its_interface_only(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        scope = index_of("va")
    with other.entered():
        ip("address", "add", "fe80::10/64", "dev", "vb", "nodad")
        index = index_of("vb")
        firewall = Firewall()
        firewall.setup()
    target = f"fe80::10%{scope}"
    address = parse("fe80::10")
    wait_until(lambda: answers(one, target), 5, "an answer, while nothing is dropped")
    elsewhere, here = firewall.element_messages(address, 1), firewall.element_messages(address, index)
    assert firewall.request_batch([elsewhere[0]]) == [0]
    assert answers(one, target)
    assert firewall.request_batch([here[0]]) == [0]
    assert not answers(one, target)
    with other.entered():
        shown = nft("list", "set", "ip6", "holdfast", "vips_link_local")
    assert 'fe80::10 . "vb"' in shown
    assert 'fe80::10 . "lo"' in shown
    assert firewall.request_batch([here[1]]) == [0]
    assert answers(one, target)
    firewall.close()
