"""The node's view as a form: what readers need, without the engine that fills it."""

import msgspec

from holdfast.bfd.view import SessionView
from holdfast.track.view import TrackerView
from holdfast.vrrp.view import GroupView, InstanceView

COUNTERS = {
    "adverts_sent": "advert_sent",
    "adverts_received": "advert_rcvd",
    "became_master": "become_master",
    "released_master": "release_master",
    "priority_zero_received": "pri_zero_rcvd",
    "priority_zero_sent": "pri_zero_sent",
    "packet_length_errors": "packet_len_err",
    "advert_interval_errors": "advert_interval_err",
    "ttl_errors": "ip_ttl_err",
    "invalid_type_received": "invalid_type_rcvd",
    "address_list_errors": "addr_list_err",
    "invalid_auth_type": "invalid_authtype",
    "auth_type_mismatches": "authtype_mismatch",
    "auth_failures": "auth_failure",
}
"""The statistics every instance shows, under the name of the counter behind each."""


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """The vrrp worker's part of `holdfast status --json`."""

    instances: list[InstanceView]
    sync_groups: list[GroupView]
    trackers: list[TrackerView]
    bfd: list[SessionView] = []
