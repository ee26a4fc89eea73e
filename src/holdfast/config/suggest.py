"""What somebody may have meant by a word the table does not have."""

from functools import lru_cache

from holdfast.config.findings import Condition, Trouble
from holdfast.config.keywords import Block, all_blocks

_MOST = 40  # distinct unknown words looked up: beyond that the file is no configuration
_looked_up: set[str] = set()

_GONE = {
    "lvs_id": "router_id",
    "mcast_group": "mcast_dst_ip",
    "nat_mask": "",
    "notify_master_backup": "notify",
    "auth_password": "auth_pass",
    "vrrp_skip_check": "vrrp_skip_check_adv_addr",
    "vrrp_iface": "interface",
    "garp_master": "garp_master_delay",
}


def unknown_keyword(word: str, block: Block) -> Trouble:
    """The problem of a word that is no keyword of `block`."""
    where = "outside any block" if block.name == "root" else f"in {block.name}"
    return Trouble(
        f"{word!r} is no keyword {where}",
        _cure(word, block.name),
        "the line is left aside",
        condition=Condition.UNKNOWN,
        phrase=f"Unknown keyword '{word}'",
    )


@lru_cache(maxsize=1024)
def _cure(word: str, block_name: str) -> str:
    if _GONE.get(word):
        return f"use {_GONE[word]}"
    blocks = all_blocks()
    homes = [block.name for block in blocks.values() if word in block.keywords]
    near = nearest(word, tuple(blocks[block_name].keywords))
    if homes:
        return f"it belongs in {' or '.join(homes[:3])}" if "root" not in homes else "end the block before it with '}'"
    if near:
        return f"did you mean {near}?"
    return "remove the line, or put # before it"


def nearest(word: str, known: tuple[str, ...]) -> str:
    """The known word most like `word`, "" when none is like it."""
    if len(_looked_up) > _MOST or len(word) > 40:
        return ""
    _looked_up.add(word)
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1, 0.75)
    return close[0] if close else ""
