"""The only folder that knows Linux: netlink, addresses, frames, nftables, BPF."""
