"""Recordings on one node: which containers are recorded, and their profiles.

``pods`` knows the node's pods, ``link`` talks to the recorder, ``tracking`` holds what is being recorded,
``collector`` writes profiles, ``reconciler`` brings them together.
"""
