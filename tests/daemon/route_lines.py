"""Lines of virtual_routes and virtual_rules, what the kernel then has, and how keepalived 2.2.7 dumps them.

Each row: the line, `ip -d route` (or `rule`) after it, the dump of keepalived, and what keepalived put into the kernel
where that is something else ("" for nothing, with the reason beside it).
"""

import msgspec

VIA = "via 192.0.2.9 dev eth0"
VIA6 = "via 2001:db8:1::9 dev eth0"


class Row(msgspec.Struct, frozen=True):
    """A line and what comes of it."""

    line: str
    kernel: str
    dump: str = ""
    keepalived: str | None = None  # None: the same


ROUTES = (
    Row(f"10.1.0.0/24 {VIA}", f"unicast 10.1.0.0/24 {VIA} table main scope global",
        "prepend 10.1.0.0/24 via inet 192.0.2.9 dev eth0 proto 18"),
    Row(f"10.2.0.0/24 {VIA} src 192.0.2.100 metric 10 table 100 tos 0x10 scope global mtu lock 1400 advmss 1000",
        f"unicast 10.2.0.0/24 tos 0x10 {VIA} table 100 scope global src 192.0.2.100 metric 10 mtu lock 1400"
        " advmss 1000",
        "prepend 10.2.0.0/24 src 192.0.2.100 tos 16 via inet 192.0.2.9 dev eth0 table 100 proto 18 scope 0 metric 10"
        " mtu lock 1400 advmss 1000"),
    Row("default table 101 dev eth0 scope link", "unicast default dev eth0 table 101 scope link",
        "prepend 0.0.0.0/0 dev eth0 table 101 proto 18 scope 253"),
    Row("blackhole 10.3.0.0/24", "blackhole 10.3.0.0/24 table main scope global",
        "add blackhole 10.3.0.0/24 proto 18 no_track"),
    Row("unreachable 10.3.1.0/24 table 100", "unreachable 10.3.1.0/24 table 100 scope global",
        "add unreachable 10.3.1.0/24 table 100 proto 18 no_track"),
    Row("prohibit 10.3.2.0/24", "prohibit 10.3.2.0/24 table main scope global",
        "add prohibit 10.3.2.0/24 proto 18 no_track"),
    Row("throw 10.3.3.0/24 table 100", "throw 10.3.3.0/24 table 100 scope global",
        "add throw 10.3.3.0/24 table 100 proto 18 no_track"),
    Row("10.4.0.0/24 nexthop via 192.0.2.7 dev eth0 weight 2 nexthop via 192.0.2.8 dev eth0 weight 1 onlink",
        "unicast 10.4.0.0/24 table main scope global nexthop via 192.0.2.7 dev eth0 weight 2"
        " nexthop via 192.0.2.8 dev eth0 weight 1 onlink",
        "prepend 10.4.0.0/24 proto 18 nexthop via inet 192.0.2.7 dev eth0 weight 2"
        " nexthop via inet 192.0.2.8 dev eth0 weight 1 onlink no_track"),
    Row(f"10.5.0.0/24 {VIA} rtt 300ms rttvar lock 400ms reordering 5 window 3000 cwnd lock 9 ssthresh 7 realms 3/4"
        " rto_min 250ms hoplimit 60 initcwnd 11 initrwnd 12 features ecn quickack 1 fastopen_no_cookie 1",
        f"unicast 10.5.0.0/24 {VIA} table main scope global realms 3/4 window 3000 rtt 300ms rttvar lock 400ms"
        " ssthresh 7 cwnd lock 9 reordering 5 hoplimit 60 initcwnd 11 features ecn rto_min 250ms initrwnd 12"
        " quickack 1 fastopen_no_cookie 1",
        "prepend 10.5.0.0/24 via inet 192.0.2.9 dev eth0 proto 18 realms 3/4 rtt 300ms rttvar lock 400ms"
        " rto_min 250ms features ecn window 3000 ssthresh 7 cwnd lock 9 reordering 5 hoplimit 60 initcwnd 11"
        " initrwnd 12 quickack 1 fastopen_no_cookie 1"),
    Row(f"10.5.1.0/24 {VIA} congctl lock reno rtt 50ms",
        f"unicast 10.5.1.0/24 {VIA} table main scope global rtt 200ms congctl lock reno"),
    Row("10.6.0.0/24 encap ip id 5 dst 192.0.2.8 src 192.0.2.200 tos 4 ttl 9 dev eth0 scope global",
        "unicast 10.6.0.0/24 encap ip id 5 src 192.0.2.200 dst 192.0.2.8 ttl 9 tos 4 dev eth0 table main scope global",
        "prepend 10.6.0.0/24 encap ip id 5 dst 192.0.2.8 src 192.0.2.200 tos 4 ttl 9 dev eth0 proto 18 scope 0"),
    Row("10.6.1.0/24 encap ip6 id 5 dst 2001:db8::8 src 2001:db8::2 tc 4 hoplimit 9 dev eth0 scope global",
        "unicast 10.6.1.0/24 encap ip6 id 5 src 2001:db8::2 dst 2001:db8::8 hoplimit 9 tc 4 dev eth0 table main"
        " scope global",
        "prepend 10.6.1.0/24 encap ip6 id 5 dst 2001:db8::8 src 2001:db8::2 tc 4 hoplimit 9 dev eth0 proto 18"
        " scope 0"),
    Row("10.8.0.0/24 via 203.0.113.9 dev eth0 onlink",
        "unicast 10.8.0.0/24 via 203.0.113.9 dev eth0 table main scope global onlink",
        "prepend 10.8.0.0/24 via inet 203.0.113.9 dev eth0 onlink proto 18"),
    Row("10.11.0.0/24 dev eth0 append scope link", "unicast 10.11.0.0/24 dev eth0 table main scope link",
        "append 10.11.0.0/24 dev eth0 proto 18 scope 253"),
    Row("src 192.0.2.100 10.12.0.0/24 via 192.0.2.7",
        "unicast 10.12.0.0/24 via 192.0.2.7 dev eth0 table main scope global src 192.0.2.100", keepalived=""),
    Row(f"to 2001:db8:11::/64 {VIA6} metric 77 pref high",
        f"unicast 2001:db8:11::/64 {VIA6} table main scope global metric 77 pref high",
        "prepend 2001:db8:11::/64 via inet6 2001:db8:1::9 dev eth0 proto 18 metric 77 pref high"),
    Row(f"2001:db8:12::/64 {VIA6} expires 600 mtu 1300",
        f"unicast 2001:db8:12::/64 {VIA6} table main scope global metric 1024 expires N mtu 1300 pref medium",
        "prepend 2001:db8:12::/64 via inet6 2001:db8:1::9 dev eth0 proto 18 expires 600sec mtu 1300"),
    Row("2001:db8:13::/64 nexthop via 2001:db8:1::7 dev eth0 nexthop via 2001:db8:1::8 dev eth0 weight 3",
        "unicast 2001:db8:13::/64 table main scope global metric 1024 pref medium"
        " nexthop via 2001:db8:1::7 dev eth0 weight 1 nexthop via 2001:db8:1::8 dev eth0 weight 3",
        "prepend 2001:db8:13::/64 proto 18 nexthop via inet6 2001:db8:1::7 dev eth0"
        " nexthop via inet6 2001:db8:1::8 dev eth0 weight 3 no_track"),
    Row(f"2001:db8:14::/64 from 2001:db8:44::/64 {VIA6}",
        f"unicast 2001:db8:14::/64 from 2001:db8:44::/64 {VIA6} table main scope global metric 1024 pref medium",
        "prepend 2001:db8:14::/64 from 2001:db8:44::/64 via inet6 2001:db8:1::9 dev eth0 proto 18"),
    Row("unreachable 2001:db8:15::/64",
        "unreachable 2001:db8:15::/64 dev lo table main scope global metric 1024 pref medium",
        "add unreachable 2001:db8:15::/64 proto 18 no_track"),
    # below: where keepalived does otherwise
    Row("10.10.0.0/24 dev eth0", "unicast 10.10.0.0/24 dev eth0 table main scope link",
        "prepend 10.10.0.0/24 dev eth0 proto 18", "unicast 10.10.0.0/24 dev eth0 table main scope global"),
    Row("10.7.0.0/24 via inet6 2001:db8:1::9 dev eth0",
        "unicast 10.7.0.0/24 via inet6 2001:db8:1::9 dev eth0 table main scope global", keepalived=""),
    Row("local 10.9.0.1 dev eth0", "local 10.9.0.1 dev eth0 table local scope host", "add local 10.9.0.1 dev eth0 proto 18", ""),
    Row("10.14/16 dev eth0 scope link", "unicast 10.14.0.0/16 dev eth0 table main scope link", keepalived=""),
    Row(f"inet6 default {VIA6} metric 5", f"unicast default {VIA6} table main scope global metric 5 pref medium",
        keepalived=""),
    Row("10.15.0.0/24 via 192.0.2.7 or 192.0.2.8",
        "unicast 10.15.0.0/24 table main scope global nexthop via 192.0.2.7 dev eth0 weight 1"
        " nexthop via 192.0.2.8 dev eth0 weight 1", keepalived=""),
)  # fmt: skip

RULES = (
    Row("from 10.1.0.0/24 table 100 priority 500", "500: from 10.1.0.0/24 lookup 100 proto keepalived",
        "from 10.1.0.0/24 priority 500 tos 0x0 protocol 18 lookup 100"),
    Row("to 10.2.0.0/24 lookup 101 priority 501 tos 0x10",
        "501: from all to 10.2.0.0/24 tos 0x10 lookup 101 proto keepalived",
        "from all to 10.2.0.0/24 priority 501 tos 0x10 protocol 18 lookup 101"),
    Row("fwmark 5/0xff table main preference 502", "502: from all fwmark 0x5/0xff lookup main proto keepalived",
        "from all priority 502 tos 0x0 fwmark 0x5/0xff protocol 18 lookup 254"),
    Row("not from 10.3.0.0/24 iif eth0 oif eth0 table 100 priority 503",
        "503: not from 10.3.0.0/24 iif eth0 oif eth0 lookup 100 proto keepalived",
        "not from 10.3.0.0/24 priority 503 tos 0x0 iif eth0 oif eth0 protocol 18 lookup 100"),
    Row("from 10.4.0.0/24 goto 600 priority 504", "504: from 10.4.0.0/24 goto 600 proto keepalived",
        "from 10.4.0.0/24 priority 504 tos 0x0 protocol 18 goto 600"),
    Row("from 10.5.0.0/24 blackhole priority 505", "505: from 10.5.0.0/24 blackhole proto keepalived",
        "from 10.5.0.0/24 priority 505 tos 0x0 protocol 18 type blackhole"),
    Row("from 10.6.0.0/24 unreachable priority 506", "506: from 10.6.0.0/24 unreachable proto keepalived",
        "from 10.6.0.0/24 priority 506 tos 0x0 protocol 18 type unreachable"),
    Row("from 10.7.0.0/24 type prohibit priority 507", "507: from 10.7.0.0/24 prohibit proto keepalived",
        "from 10.7.0.0/24 priority 507 tos 0x0 protocol 18 type prohibit"),
    Row("from 10.8.0.0/24 nop priority 508", "508: from 10.8.0.0/24 nop proto keepalived",
        "from 10.8.0.0/24 priority 508 tos 0x0 protocol 18 nop"),
    Row("from 10.9.0.0/24 table 100 suppress_prefixlength 8 suppress_ifgroup default priority 509 realms 3/4",
        "509: from 10.9.0.0/24 lookup 100 suppress_prefixlength 8 suppress_ifgroup default realms 3/4"
        " proto keepalived",
        "from 10.9.0.0/24 priority 509 tos 0x0 suppress_prefixlen 8 suppress_ifgroup 0 protocol 18 realms 3/4"
        " lookup 100"),
    Row("uidrange 100-200 table 100 priority 510", "510: from all uidrange 100-200 lookup 100 proto keepalived",
        "from all priority 510 tos 0x0 uidrange 100-200 protocol 18 lookup 100"),
    Row("ipproto tcp sport 80-90 dport 443-443 table 100 priority 511",
        "511: from all ipproto tcp sport 80-90 dport 443 lookup 100 proto keepalived",
        "from all priority 511 tos 0x0 protocol 18 ipproto 6 sport 80-90 dport 443-443 lookup 100"),
    Row("tunnel-id 77 table 100 priority 512", "512: from all tun_id 77 lookup 100 proto keepalived",
        "from all priority 512 tos 0x0 tunnel-id 77 protocol 18 lookup 100"),
    Row("l3mdev priority 513", "513: from all lookup [l3mdev-table] proto keepalived",
        "from all priority 513 tos 0x0 l3mdev protocol 18 lookup 0"),
    Row("from 2001:db8:11::/48 table 100 priority 514", "514: from 2001:db8:11::/48 lookup 100 proto keepalived"),
    Row("fwmark 7 table 102 priority 600", "600: from all fwmark 0x7 lookup 102 proto keepalived",
        "from all priority 600 tos 0x0 fwmark 0x7 protocol 18 lookup 102"),
    Row("from 10.11.0.0/24 table 100", "16384: from 10.11.0.0/24 lookup 100 proto keepalived",
        "from 10.11.0.0/24 priority 16384 tos 0x0 protocol 18 lookup 100"),
    Row("iif eth0 ipproto 17 dport 53 table 103 priority 601",
        "601: from all iif eth0 ipproto udp dport 53 lookup 103 proto keepalived", keepalived=""),
)  # fmt: skip
