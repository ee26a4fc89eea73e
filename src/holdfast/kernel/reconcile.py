"""Wanted addresses against those that are there: what to add and what to delete. Pure; nothing when they agree."""

from collections.abc import Iterable, Mapping

import msgspec

from holdfast.base.address import Address
from holdfast.kernel.netlink import address_messages, delete_message, patch_ifindex
from holdfast.kernel.ports import AddressBytes, AddressLike, AddressSeen

Key = tuple[int, Address, int]
"""What makes an address the same one: interface index, address, prefix length."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One message to be sent, and which address it is about."""

    add: bool
    index: int
    address: Address
    prefix_length: int
    message: bytes


def key_of(seen: AddressSeen) -> Key:
    """The key of an address the kernel shows."""
    return seen.index, seen.address, seen.prefix_length


def difference(
    wanted: Mapping[Key, AddressBytes], present: Iterable[AddressSeen], unwanted: Iterable[Key] = ()
) -> list[Step]:
    """The steps that turn `present` into `wanted`: additions first, in order, then deletions in reverse order.

    Deleted is what carries our tag and isn't wanted, and what `unwanted` names (for kernels before 5.18, which keep no
    tags, and for addresses a stranger put in our place); other addresses are nobody's business. Additions come first,
    so that an address moving between interfaces is never nowhere; the deletions go backwards, so that an IPv4
    secondary goes before the primary that would take it along. An address that failed duplicate detection is deleted
    and added again: the kernel would never use it.
    """
    there = {key_of(seen): seen for seen in present}
    refused = {key for key, seen in there.items() if seen.dadfailed and key in wanted}
    named = set(unwanted)
    surplus = [seen for key, seen in there.items() if key not in wanted and (seen.ours or key in named)]
    afresh = [_deletion(there[key]) for key in refused]
    additions = [_addition(key, ready) for key, ready in wanted.items() if key not in there or key in refused]
    return afresh + additions + [_deletion(seen) for seen in reversed(surplus)]


def wanted_on(index: int, addresses: Iterable[AddressLike]) -> dict[Key, AddressBytes]:
    """`addresses` as wanted on the interface `index`, their messages made."""
    return {(index, one.address, one.prefix_length): address_messages(one) for one in addresses}


def _addition(key: Key, ready: AddressBytes) -> Step:
    index, address, prefix_length = key
    message = patch_ifindex(ready.add, index)
    return Step(add=True, index=index, address=address, prefix_length=prefix_length, message=message)


def _deletion(seen: AddressSeen) -> Step:
    return Step(
        add=False,
        index=seen.index,
        address=seen.address,
        prefix_length=seen.prefix_length,
        message=delete_message(seen),
    )
