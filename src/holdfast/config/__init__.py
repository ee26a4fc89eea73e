"""The keepalived configuration language: text to plan, with every problem told."""
