"""Mutating admission: pods in, JSON patches out. Nothing here writes to the API."""
