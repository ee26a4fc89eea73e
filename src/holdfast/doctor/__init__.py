"""What on this host stands in a virtual router's way: facts gathered in one place, judged by pure functions."""
