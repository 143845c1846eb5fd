"""Nodes that carry a taint until their profiles are there."""
