"""Who speaks VRRP, CARP and BFD on a network, and what is inconsistent about each: a pure machine fed with frames."""
