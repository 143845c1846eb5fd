"""Which binding decides about a container: used at admission and by whoever checks its result."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from spo.api.meta import LabelSelector
from spo.api.profile_binding import BoundKind, ProfileBinding
from spo.profiles.image_reference import ImageReference, parse_image
from spo.profiles.label_selector import check_selector, selects

EVERY_IMAGE: Final = "*"

_BY_DIGEST: Final = 3
_BY_TAG: Final = 2
_BY_TEXT: Final = 1
_BY_NOTHING: Final = 0


class BindingRule(NamedTuple):
    """A ProfileBinding, ready to be asked."""

    name: str
    profile: str
    """Name of the SeccompProfile, in the namespace of the binding."""
    text: str
    """``spec.image`` as it was written."""
    image: ImageReference | None
    """The same, understood; ``None`` for every image, or for a text that names none."""
    selector: LabelSelector | None
    rank: tuple[int, int]
    """How specific the binding is: the greater one wins."""

    def matches(self, image: str, parsed: ImageReference | None, labels: Mapping[str, str]) -> bool:
        """Whether it is about containers with this image in a pod with these labels.

        Args:
            image: as the container has it.
            parsed: the same, by :func:`spo.profiles.image_reference.parse_image`.
            labels: of the pod.
        """
        if not (self.text in (EVERY_IMAGE, image) or _same_image(self.image, parsed)):
            return False
        return self.selector is None or selects(self.selector, labels)


def rule_of(binding: ProfileBinding) -> BindingRule | None:
    """The rule of a binding; ``None`` if it binds nothing: it is being deleted, or binds another kind.

    Raises:
        InvalidSelectorError: its selector cannot be understood.
    """
    spec = binding.spec
    if binding.metadata.deletion_timestamp or spec.profile_ref.kind != BoundKind.SECCOMP_PROFILE:
        return None
    if spec.pod_selector is not None:
        check_selector(spec.pod_selector)
    image = None if spec.image == EVERY_IMAGE else parse_image(spec.image)
    rank = (_image_rank(spec.image, image), _requirements(spec.pod_selector))
    name, profile = binding.metadata.name, spec.profile_ref.name
    return BindingRule(name, profile, spec.image, image, spec.pod_selector, rank)


def deciding_rule(rules: Iterable[BindingRule], image: str, labels: Mapping[str, str]) -> BindingRule | None:
    """The most specific rule that matches; of equally specific ones the first by name.

    Digest before tag before ``*``; then the one whose ``podSelector`` asks for more.
    """
    parsed = parse_image(image)
    found = [rule for rule in rules if rule.matches(image, parsed, labels)]
    return min(found, key=lambda rule: (-rule.rank[0], -rule.rank[1], rule.name), default=None)


def _image_rank(text: str, image: ImageReference | None) -> int:
    if text == EVERY_IMAGE:
        return _BY_NOTHING
    if image is None:
        return _BY_TEXT
    return _BY_DIGEST if image.digest else _BY_TAG


def _requirements(selector: LabelSelector | None) -> int:
    return len(selector.match_labels) + len(selector.match_expressions) if selector else 0


def _same_image(wanted: ImageReference | None, found: ImageReference | None) -> bool:
    """A digest decides alone, as it does when an image is pulled; a tag never matches a bare digest."""
    if wanted is None or found is None or wanted.repository != found.repository:
        return False
    if wanted.digest:
        return wanted.digest == found.digest
    return wanted.tag == found.tag
