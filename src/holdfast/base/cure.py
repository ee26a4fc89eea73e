"""What an operator can do about a fault, wherever it is shown."""


def cure(fault: str) -> str:
    """What an operator can do about a fault, by its words; "" when the fault says it itself."""
    words = fault.split()
    if fault.startswith("interface ") and len(words) > 2:
        if fault.endswith("is down"):
            return f"see `ip link show {words[1]}`; bring it up with `ip link set {words[1]} up`, or look at its cable"
        if fault.endswith("does not exist"):
            return "see `ip link` for the names there are; put the right one in the configuration, or create it"
    if fault.startswith(("no IPv4", "no IPv6")) and " address on " in fault:
        return f"see `ip address show {words[-1]}`; adverts need an address of this host to come from"
    if fault.startswith("source address ") and " is not on " in fault:
        return f"add it with `ip address add {words[2]} dev {words[-1]}`, or correct unicast_src_ip / mcast_src_ip"
    if fault.startswith("file ") and " is " in fault:
        return "see its path below; write another number into it, or remove it (which counts as 0)"
    if fault.startswith("process ") and " is " in fault:
        return "start it, or stop what should not run; the line of this process below says how many run"
    if fault.startswith("static ") and len(words) > 3:
        return f"see `ip address show {words[3]}` and the log: the address can't be put there"
    if words and words[0] in ("script", "track_script", "vrrp_script") and len(words) > 1:
        return "run it by hand as the same user; the line of this script below says how it ended"
    return ""
