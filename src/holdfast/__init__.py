"""holdfast: high availability and load balancing for Linux."""

__version__ = "0.1.0"
