"""Quantities in canonical form."""

import pytest

from onenode.quantities import canonical_quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0", "0"),
        ("100", "100"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("64Mi", "64Mi"),
        ("0.1", "100m"),
        (".5", "500m"),
        ("nonsense", "nonsense"),
    ],
)
def test_quantity_is_canonical(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical
