"""The node's view as a form: what readers need, without the engine that fills it."""

import msgspec

from holdfast.base.time import Nanoseconds
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


class Hint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the routine of an instance is counted, and how far the count was: a beat, or a filter's map and VRID."""

    beat: int | None = None
    strokes: int = 0
    port: str | None = None
    vrid: int = 0
    heard_at: Nanoseconds = 0
    count: int = 0


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """The hints of a view, and when it was made (of the monotonic clock); an instance without routine has none."""

    at: Nanoseconds
    by_name: dict[str, Hint]


class Routine(msgspec.Struct, frozen=True, kw_only=True):
    """What hints lead to: strokes by beat; by port two arrays of 64-bit words, by VRID: when heard last, how often."""

    at: Nanoseconds
    beats: dict[int, int]
    ports: dict[str, tuple[bytes, bytes]]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """The vrrp worker's part of `holdfast status --json`."""

    instances: list[InstanceView]
    sync_groups: list[GroupView]
    trackers: list[TrackerView]
    bfd: list[SessionView] = []
    routine: Hints | msgspec.UnsetType = msgspec.UNSET  # for who looks on
