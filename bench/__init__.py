"""Side by side with keepalived, on hosts in namespaces: `python -m bench`."""
