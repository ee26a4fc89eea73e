"""The only folder that waits: the loop, adverts, scripts, listeners."""
