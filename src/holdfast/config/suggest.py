"""What somebody may have meant by a word the table does not have."""

from holdfast.config.findings import Condition, Trouble
from holdfast.config.keywords import Block, all_blocks

_MOST = 40  # distinct unknown words looked up: beyond that the file is no configuration

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


class Suggestions:
    """The problems of unknown words; one for each reading, so that a file of nonsense is told soon."""

    def __init__(self) -> None:
        self._cures: dict[tuple[str, str], str] = {}
        self._left = _MOST

    def unknown(self, word: str, block: Block) -> Trouble:
        """The problem of a word that is no keyword of `block`."""
        key = (word, block.name)
        if key not in self._cures:
            self._cures[key] = self._cure(word, block.name)
        where = "outside any block" if block.name == "root" else f"in {block.name}"
        return Trouble(
            f"{word!r} is no keyword {where}",
            self._cures[key],
            "the line is left aside",
            condition=Condition.UNKNOWN,
            phrase=f"Unknown keyword '{word}'",
        )

    def _cure(self, word: str, block_name: str) -> str:
        if _GONE.get(word):
            return f"use {_GONE[word]}"
        blocks = all_blocks()
        homes = [block.name for block in blocks.values() if word in block.keywords]
        if homes:
            outside = "root" in homes
            return "end the block before it with '}'" if outside else f"it belongs in {' or '.join(homes[:3])}"
        if self._left > 0 and len(word) <= 40:
            self._left -= 1
            from difflib import get_close_matches

            near = get_close_matches(word, blocks[block_name].keywords, 1, 0.75)
            if near:
                return f"did you mean {near[0]}?"
        return "remove the line, or put # before it"
