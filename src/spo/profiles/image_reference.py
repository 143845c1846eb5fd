"""Names of images, read as container runtimes read them.

Source: ``github.com/distribution/reference``, ``ParseNormalizedNamed`` and ``TagNameOnly``, which containerd,
CRI-O and Docker share.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

DEFAULT_DOMAIN: Final = "docker.io"
_LEGACY_DOMAIN: Final = "index.docker.io"
_OFFICIAL: Final = "library"
_DEFAULT_TAG: Final = "latest"
_MAX_NAME: Final = 255
_MAX_TEXT: Final = 1024
"""Name, tag and digest together; longer texts name nothing, and would only fill memory."""

_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{64}")


class ImageReference(NamedTuple):
    """An image, every default filled in."""

    repository: str
    """Registry and path, such as ``docker.io/library/nginx``."""
    tag: str
    """Empty if there is a digest and no tag beside it."""
    digest: str
    """Such as ``sha256:...``; empty if there is none."""


def parse_image(text: str) -> ImageReference | None:
    """The image that a runtime would pull for ``text``; ``None`` if it would refuse it.

    ``nginx`` is ``docker.io/library/nginx`` with tag ``latest``. Beside a digest a tag is optional.
    """
    return _parsed(text) if len(text) <= _MAX_TEXT else None


@lru_cache(maxsize=512)  # the same few images come again and again; 8 us each
def _parsed(text: str) -> ImageReference | None:
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        return None
    if _IDENTIFIER.fullmatch(name):
        return None  # the id of an image, not its name
    name, tag = _split_tag(name)
    if tag is not None and not _TAG.fullmatch(tag):
        return None
    domain, path = _split_domain(name)
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path) or len(domain) + len(path) >= _MAX_NAME:
        return None
    if tag is None:
        tag = "" if digest else _DEFAULT_TAG
    return ImageReference(f"{domain}/{path}", tag, digest)


def _split_tag(name: str) -> tuple[str, str | None]:
    """Name and tag; a colon before the last slash belongs to a port."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, None)


def _split_domain(name: str) -> tuple[str, str]:
    """Registry and path, as ``docker pull`` takes them apart."""
    first, slash, rest = name.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"{_OFFICIAL}/{path}"
    return domain, path
