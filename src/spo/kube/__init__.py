"""The only code that talks to the API server: client, informers, events. Knows no kind of ours.

Start at :mod:`spo.kube.client` for requests, :mod:`spo.kube.informer` for a local copy of many objects.
"""
