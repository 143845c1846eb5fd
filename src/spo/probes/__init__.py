"""Privileged processes of a node: no API client, no AF_INET socket, as little memory as possible."""
