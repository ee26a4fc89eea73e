"""Rows of the keyword table: CARP, which keepalived does not speak."""

from holdfast.config.keywords import IF, IP, PATH, WORD, Block, k, seconds, uint, whole_seconds


def carp_block(notify: Block) -> Block:
    """The block `carp_instance`; notify scripts, trackers and addresses are those of `vrrp_instance`, taken from it."""
    rows = (
        k("interface", "needed", "where the instance runs", IF),
        k("vhid", "needed", "number of the virtual host on its network", uint(1, 255)),
        k("password", "needed, or key_file", "what all hosts of the vhid share, at most 19 characters", WORD),
        k("key_file", "none", "a file whose first line is the password", PATH),
        k("advbase", "1", "whole seconds between adverts, before the advskew", uint(1, 254)),
        k("advskew", "0", "1/256 s more; the host with the shortest interval is master", uint(0, 253)),
        k("demotion", "0", "added to the advskew, up to 240", uint(0, 240)),
        k("dead_ratio", "3", "a silent master is dead after so many advbase", uint(1, 255)),
        k("preempt", "off", "take over from a slower master"),
        k("nopreempt", "on", "leave a slower master in place"),
        k("preempt_delay", "0 s", "wait before taking over from a slower master", seconds(0, 1000)),
        k("anti_replay", "off", "refuse old adverts by their counter: only where every peer is holdfast"),
        k("neutral", "off", "no script at the start, when BACKUP is entered for the first time"),
        k("shutdown", "off", "the notify_backup script also when the daemon stops"),
        k("start_delay", "0 s", "stay in INIT this long after the start", seconds(0)),
        k("mcast_src_ip", "first of the interface", "source address of adverts", IP, checked="soft_ip"),
        k("unicast_src_ip", "first of the interface", "source address of adverts", IP, checked="soft_ip"),
        k("mcast_dst_ip", "global", "group of adverts of this instance", IP),
        k("unicast_peer", "none: multicast", "who gets adverts: IP", opens="unicast_peer"),
        k("broadcast", "off", "send adverts in broadcast frames (ucarp -M); they are heard in any case"),
        k("dont_track_primary", "off", "no FAULT when the instance's own interface is down"),
        k("promote_secondaries", "off", "set the kernel's flag of that name on the interface"),
        k("virtual_ipaddress", "", "the virtual addresses; they are under the HMAC", opens="virtual_ipaddress"),
        k("virtual_ipaddress_excluded", "", "more addresses, not under it", opens="virtual_ipaddress_excluded"),
        k("lower_prio_no_advert", "off", "do not answer a slower rival"),
        k("higher_prio_send_advert", "off", "one more advert before giving way (ucarp does)"),
        k("garp_master_delay", "global", "second burst of announcements; 0: none", whole_seconds()),
        k("garp_master_repeat", "global", "announcements in a burst", uint(zero=1)),
        k("garp_master_refresh", "global", "announce again at this interval", whole_seconds()),
        k("garp_master_refresh_repeat", "global", "announcements each time", uint(zero=1)),
        k("garp_lower_prio_delay", "global", "second burst after a slower rival", whole_seconds()),
        k("garp_lower_prio_repeat", "global", "announcements after a slower rival", uint()),
    )
    shared = [row for name, row in notify.keywords.items() if name.startswith(("notify", "track_")) or name in SHARED]
    shared = [row for row in shared if row.name not in NOT_SHARED]
    every = {row.name: row for row in (*rows, *shared)}
    return Block(name="carp_instance", title="One virtual host of CARP (ours)", keywords=every)


SHARED = ("smtp_alert", "virtual_routes", "virtual_rules")
NOT_SHARED = ("track_src_ip",)
