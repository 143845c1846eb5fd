"""SelinuxProfile objects in files: they can be merged."""

import re
from typing import Any

from spo.api.selinux_profile import SELINUX_PROFILES, SelinuxProfile
from spo.cli.documents import DocumentError, decode
from spo.cli.profile_files import ProfileFileError, converted_object, rendered_object

_WORD = re.compile(r"@self|[A-Za-z0-9_.]{1,128}")


def is_selinux(content: bytes) -> bool:
    """Whether a file holds a SelinuxProfile; what cannot be read holds none."""
    try:
        document = decode(content)
    except DocumentError:
        return False
    return isinstance(document, dict) and document.get("kind") == SELINUX_PROFILES.kind


def parse_selinux(content: bytes, path: str) -> SelinuxProfile:
    """Read a SelinuxProfile.

    Raises:
        ProfileFileError: it is none, or a word in it can be part of no policy.
    """
    try:
        document: Any = decode(content)
        if not isinstance(document, dict):
            raise DocumentError("is no profile: a mapping is expected")
        profile = converted_object(document, SELINUX_PROFILES)
        for label, classes in profile.spec.allow.items():
            for name, permissions in classes.items():
                for word in (label, name, *permissions):
                    if not _WORD.fullmatch(word):
                        raise DocumentError(f"spec.allow: {word!r} cannot be part of a policy")
    except DocumentError as error:
        raise ProfileFileError(path, str(error)) from error
    return profile


def render_selinux(profile: SelinuxProfile) -> bytes:
    """The text of its file."""
    return rendered_object(SELINUX_PROFILES, profile.metadata, profile.spec)
