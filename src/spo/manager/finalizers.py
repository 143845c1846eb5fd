"""Pure: which finalizers a profile should have."""

from spo.api.seccomp_profile import SeccompProfile
from spo.names import IN_USE_FINALIZER, INSTALLED_FINALIZER


def wanted_finalizers(profile: SeccompProfile, *, in_use: bool, on_nodes: bool, released: bool) -> list[str]:
    """Finalizers of others stay, in their order; ours come and go.

    Args:
        in_use: a pod references the profile.
        on_nodes: a living node lists the profile.
        released: no pod referenced it in a list taken after its deletion was seen.
    """
    present = profile.metadata.finalizers
    if profile.metadata.deletion_timestamp:
        # The API refuses a new finalizer here, so these only go.
        keep_in_use = in_use or (on_nodes and not released)
        gone = {
            name
            for name, kept in ((INSTALLED_FINALIZER, on_nodes), (IN_USE_FINALIZER, keep_in_use))
            if not kept
        }
        return [name for name in present if name not in gone]
    wanted = [name for name in present if in_use or name != IN_USE_FINALIZER]
    if INSTALLED_FINALIZER not in wanted:
        wanted.append(INSTALLED_FINALIZER)
    if in_use and IN_USE_FINALIZER not in wanted:
        wanted.append(IN_USE_FINALIZER)
    return wanted
