"""The web worker: page, metrics and API, in a process of its own that nothing depends on."""
