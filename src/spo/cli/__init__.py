"""``spoc``, the command for people: one module per command; parse arguments, call, print."""
