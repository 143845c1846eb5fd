"""Pure: whether a node may take pods."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from spo.api.node_status import NodeProfileState, ProfileState, StatusKey
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.profiles.withheld import withheld

DEFAULT_TIMEOUT_S: Final = 300.0
_SETTLED: Final = frozenset({ProfileState.INSTALLED, ProfileState.ERROR})
_PART: Final = re.compile(r"([0-9]+)(s|m|h)", re.ASCII)
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_S: Final = 7 * 24 * 3600.0

Entries = Mapping[str, NodeProfileState]
"""``<Kind>/<namespace>/<name>`` -> what the node says about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of the taint."""

    is_open: bool
    """It goes."""
    missing: tuple[str, ...] = ()
    """``<namespace>/<name>`` of the profiles that the node has neither installed nor refused, sorted."""
    has_reported: bool = True
    """The daemon of the node has said what is there."""


def decide(
    wanted: Mapping[str, int], reported: Entries | None, *, waited_s: float, timeout_s: float
) -> Verdict:
    """Look at one node.

    A profile that the node refuses is settled: it would not be there later either, and a broken profile must
    not keep every new node empty.

    Args:
        wanted: key of each profile -> its generation.
        reported: by the daemon of this very node; ``None``: nothing yet.
        waited_s: how long the node has been looked at.
        timeout_s: after this time it opens with whatever is missing.
    """
    missing = tuple(
        sorted(_name(key) for key, generation in wanted.items() if not _is_settled(reported, key, generation))
    )
    complete = reported is not None and not missing
    return Verdict(
        is_open=complete or waited_s >= timeout_s, missing=missing, has_reported=reported is not None
    )


def wanted_profiles(profiles: Iterable[SeccompProfile]) -> dict[str, int]:
    """Key -> generation of the profiles that should be on every node."""
    return {
        str(StatusKey(SECCOMP_PROFILES.kind, one.metadata.namespace or "", one.metadata.name)): (
            one.metadata.generation
        )
        for one in profiles
        if not one.metadata.deletion_timestamp and withheld(one) is None
    }


def timeout_of(spod: SecurityProfilesOperatorDaemon | None) -> float:
    """Seconds after which a node opens in any case; as the settings say."""
    text = spod.spec.node_gate.timeout if spod and spod.spec.node_gate else ""
    # The schema lets nothing else through than such parts.
    parts = _PART.findall(text)
    if not parts:
        return DEFAULT_TIMEOUT_S
    return min(_MAX_S, sum(float(number) * _UNITS_S[unit] for number, unit in parts))


def _is_settled(reported: Entries | None, key: str, generation: int) -> bool:
    entry = reported.get(key) if reported is not None else None
    return entry is not None and entry.generation == generation and entry.state in _SETTLED


def _name(key: str) -> str:
    return key.partition("/")[2]
