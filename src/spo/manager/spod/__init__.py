"""From the spod object to the DaemonSet ``spod``: rendering, roll-out, state."""
