"""Which SeccompProfile object owns which file: ``foo`` and ``foo.json`` share ``foo.json``."""

from collections.abc import Iterable

from spo.api.seccomp_profile import SeccompProfile
from spo.profiles.paths import SUFFIX


def file_stem(name: str) -> str:
    """Name of the profile's file without ``.json``: what all objects with this file have in common."""
    return name.removesuffix(SUFFIX)


def names_of_file(stem: str) -> tuple[str, ...]:
    """Names of the objects whose file is ``<stem>.json``."""
    if stem.endswith(SUFFIX):
        return (stem + SUFFIX,)  # an object named like the stem has the file without the second suffix
    return stem, stem + SUFFIX


def oldest_first(profiles: Iterable[SeccompProfile]) -> list[SeccompProfile]:
    """Objects of one file in the order of their claims: the first owns it."""
    return sorted(profiles, key=lambda one: (one.metadata.creation_timestamp or "", one.metadata.name))
