"""Admission webhooks: their configurations, which requests they get, and the calls."""
