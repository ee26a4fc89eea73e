"""The manual pages, made from the program's own tables and a little prose: `make man`."""
