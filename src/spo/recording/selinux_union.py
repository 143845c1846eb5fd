"""Merge SELinux policies of several recordings: what any of them allows."""

from collections.abc import Sequence

import msgspec

from spo.api.selinux_profile import SelinuxProfile


def selinux_union(profiles: Sequence[SelinuxProfile]) -> SelinuxProfile:
    """One policy that allows what any of the given ones does, sorted; all else is the first one's."""
    allow: dict[str, dict[str, set[str]]] = {}
    for profile in profiles:
        for label, classes in profile.spec.allow.items():
            for object_class, permissions in classes.items():
                allow.setdefault(label, {}).setdefault(object_class, set()).update(permissions)
    inherit = {(policy.kind, policy.name): policy for one in profiles for policy in one.spec.inherit}
    spec = msgspec.structs.replace(
        profiles[0].spec,
        inherit=list(inherit.values()),
        allow={
            label: {name: sorted(permissions) for name, permissions in sorted(classes.items())}
            for label, classes in sorted(allow.items())
        },
    )
    return msgspec.structs.replace(profiles[0], spec=spec)
