"""`keepalived.json`: the keys, their order and their types as keepalived writes them (json_version 1 and 2)."""

from typing import Any

import msgspec

from holdfast.base.time import SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine.node import COUNTERS, NodeView
from holdfast.export.dumps import MASKED
from holdfast.export.words import address_words, command_words, moment, plain
from holdfast.track.config import ScriptConfig
from holdfast.vrrp.config import AuthType, InstanceConfig
from holdfast.vrrp.view import InstanceView

STATE_NUMBERS = {"INIT": 0, "BACKUP": 1, "MASTER": 2, "FAULT": 3}

STATS = (
    "advert_rcvd",
    "advert_sent",
    "become_master",
    "release_master",
    "packet_len_err",
    "advert_interval_err",
    "ip_ttl_err",
    "invalid_type_rcvd",
    "addr_list_err",
    "invalid_authtype",
    "authtype_mismatch",
    "auth_failure",
    "auth_ext_missing",
    "auth_ext_malformed",
    "auth_ext_unknown_key",
    "auth_ext_invalid_hmac",
    "auth_ext_stale",
    "auth_ext_replay",
    "pri_zero_rcvd",
    "pri_zero_sent",
)
"""The keys of `stats`, in order."""

_PUBLIC = {counter: public for public, counter in COUNTERS.items()}


def json_bytes(plan: VrrpPlan, view: NodeView) -> bytes:
    """The whole file; slashes are escaped, as keepalived's library does."""
    by_name = {config.name: config for config in plan.instances}
    scripts = {script.name: script for script in plan.scripts}
    instances = [
        {"data": instance_data(by_name[instance.name], instance, scripts), "stats": instance_stats(instance)}
        for instance in view.instances
        if instance.name in by_name
    ]
    whole = instances if plan.settings.json_version == 1 else {"vrrp": instances, "track_process": []}
    return msgspec.json.encode(whole).replace(b"/", b"\\/") + b"\n"


def instance_stats(view: InstanceView) -> dict[str, int]:
    """`stats` of one instance."""
    return {key: view.statistics.get(_PUBLIC.get(key, key), 0) for key in STATS}


def instance_data(config: InstanceConfig, view: InstanceView, scripts: dict[str, ScriptConfig]) -> dict[str, Any]:
    """`data` of one instance."""
    announce = config.announce
    state = STATE_NUMBERS.get(view.state, 0)
    shown: dict[str, Any] = {
        "iname": config.name,
        "dont_track_primary": int(config.dont_track_primary),
        "skip_check_adv_addr": int(config.skip_check_adv_addr),
        "strict_mode": int(config.strict),
        "vmac_ifname": config.interface if config.base else "",
        "ifp_ifname": config.interface,
        "master_priority": view.master.priority if view.master is not None and view.state == "BACKUP" else 0,
        "last_transition": msgspec.Raw(moment(view.since).epoch_s.encode()),
        "garp_delay": announce.master_delay_ns // SECOND,
        "garp_refresh": announce.master_refresh_ns // SECOND,
        "garp_rep": announce.master_repeat,
        "garp_refresh_rep": announce.master_refresh_repeat,
        "garp_lower_prio_delay": announce.lower_prio_delay_ns // SECOND,
        "garp_lower_prio_rep": announce.lower_prio_repeat,
        "lower_prio_no_advert": int(config.lower_prio_no_advert),
        "higher_prio_send_advert": int(config.higher_prio_send_advert),
        "vrid": config.vrid,
        "base_priority": config.priority,
        "effective_priority": view.effective_priority,
        "vipset": view.state == "MASTER",
        "promote_secondaries": config.promote_secondaries,
        "adver_int": plain(config.adver_interval_ns / SECOND),
        "master_adver_int": plain(view.master_advert_interval_s),
        "accept": int(config.accept),
        "nopreempt": not config.preempt,
        "preempt_delay": plain(config.preempt_delay_ns / SECOND),
        "state": state,
        "wantstate": state,
        "version": config.version,
        "smtp_alert": config.notify.smtp_alert,
        "notify_deleted": config.notify.notify_deleted,
    }
    shown.update(_scripts(config))
    shown.update(_arrays(config, view.state == "MASTER", scripts))
    shown["auth_type"] = int(config.auth_type)
    if config.auth_type is not AuthType.NONE:
        shown["auth_data"] = MASKED
    return shown


def _scripts(config: InstanceConfig) -> dict[str, str]:
    notify = config.notify
    commands = {
        "script_backup": notify.backup,
        "script_master": notify.master,
        "script_fault": notify.fault,
        "script_stop": notify.stop,
        "script_deleted": notify.deleted,
        "script": notify.any,
        "script_master_rx_lower_pri": notify.master_rx_lower_pri,
    }
    return {key: command_words(command) for key, command in commands.items() if command is not None}


def _arrays(config: InstanceConfig, is_set: bool, scripts: dict[str, ScriptConfig]) -> dict[str, list[str]]:
    arrays = {
        "vips": [address_words(address, config.interface, is_set) for address in config.addresses],
        "evips": [address_words(address, config.interface, is_set) for address in config.excluded],
        "vroutes": [route.text for route in config.routes],
        "vrules": [rule.text for rule in config.rules],
        "track_ifp": [use.name for use in config.trackers if use.kind == "interface"],
        "track_script": [
            command_words(scripts[use.name].command)
            for use in config.trackers
            if use.kind == "script" and use.name in scripts
        ],
    }
    return {key: array for key, array in arrays.items() if array}
