"""JSONPath of printer columns."""

from typing import Any

import pytest

from onenode.jsonpath import JsonPathError, compile_path

DOCUMENT: dict[str, Any] = {
    "spec": {"list": ["a", "b"], "dotted.key": "d", "n": 0},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.list[0]", ["a"]),
        (".spec.list[-1]", ["b"]),
        (".spec.list[*]", ["a", "b"]),
        (".spec.n", [0]),
        (r".spec.dotted\.key", ["d"]),
        (".spec['dotted.key']", ["d"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".spec.missing.deeper", []),
        (".spec.list[9]", []),
    ],
)
def test_path_finds_values(path: str, found: list[Any]) -> None:
    assert compile_path(path)(DOCUMENT) == found


@pytest.mark.parametrize("path", ["spec.x", ".spec[", ".a[?(@.b)]", ".a[1:2]"])
def test_unsupported_path_is_refused(path: str) -> None:
    with pytest.raises(JsonPathError, match="cannot read"):
        compile_path(path)
