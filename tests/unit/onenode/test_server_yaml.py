"""YAML bodies: what is plain data, and what is refused before it hurts."""

import pytest
import yaml

from onenode.yaml_text import load_yaml, yaml_problem


def test_dates_and_number_keys_become_text() -> None:
    assert load_yaml(b"day: 2026-01-02\n1: x\nlist: [1, 2.5, true, null]") == {
        "day": "2026-01-02",
        "1": "x",
        "list": [1, 2.5, True, None],
    }


def test_alias_is_written_out() -> None:
    assert load_yaml(b"a: &x {k: v}\nb: *x") == {"a": {"k": "v"}, "b": {"k": "v"}}


def bomb() -> bytes:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(bomb(), "excessive aliasing", id="aliases-of-aliases"),
        pytest.param(b"a: &x [*x]", "excessive aliasing", id="contains-itself"),
        pytest.param(b"[" * 200_000, "exceeded max depth", id="deep"),
        pytest.param(b"- " * 200_000, "exceeded max depth", id="deep-block"),
        pytest.param(b"!!python/object/apply:os.system [id]", "could not determine a constructor", id="tag"),
        pytest.param(b"{not yaml\n", "line 1: did not find expected ',' or '}'", id="syntax"),
    ],
)
def test_bad_text_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        load_yaml(text)
    assert problem in yaml_problem(caught.value)
