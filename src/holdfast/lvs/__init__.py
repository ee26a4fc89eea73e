"""The load balancer: services, their servers, and what the kernel is to know of them."""
