"""The engine: work queue, controllers, leader election, process runner. Knows no kind of ours.

One event: an informer's listener enqueues a :class:`Request`, the work queue drops duplicates and waits
after failures, a :class:`Controller` hands the request to its :class:`Reconciler`.
"""

from spo.controller.controller import Controller
from spo.controller.leader_election import LeaderElection, LeadershipLostError
from spo.controller.reconciler import DONE, Reconciler, Request, Result
from spo.controller.runner import run_until_stopped
from spo.controller.work_queue import WorkQueue

__all__ = [
    "DONE",
    "Controller",
    "LeaderElection",
    "LeadershipLostError",
    "Reconciler",
    "Request",
    "Result",
    "WorkQueue",
    "run_until_stopped",
]
