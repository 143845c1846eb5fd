"""Image names mean what they mean to container runtimes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.profiles.image_reference import ImageReference, parse_image

DIGEST = "sha256:" + "0123456789abcdef" * 4
HUB = "docker.io/library/nginx"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("nginx", (HUB, "latest", ""), id="bare-name"),
        pytest.param("nginx:1.19.1", (HUB, "1.19.1", ""), id="tag"),
        pytest.param("library/nginx", (HUB, "latest", ""), id="library"),
        pytest.param("docker.io/nginx:1", (HUB, "1", ""), id="hub-without-library"),
        pytest.param("index.docker.io/nginx:1", (HUB, "1", ""), id="old-name-of-the-hub"),
        pytest.param("index.docker.io/library/nginx", (HUB, "latest", ""), id="old-name-with-library"),
        pytest.param(f"nginx@{DIGEST}", (HUB, "", DIGEST), id="bare-digest"),
        pytest.param(f"nginx:1@{DIGEST}", (HUB, "1", DIGEST), id="tag-and-digest"),
        pytest.param("quay.io/org/app:v1", ("quay.io/org/app", "v1", ""), id="registry"),
        pytest.param("localhost/busybox:dev", ("localhost/busybox", "dev", ""), id="localhost"),
        pytest.param("localhost:5000/app", ("localhost:5000/app", "latest", ""), id="port-is-no-tag"),
        pytest.param("reg:5000/a/b:c", ("reg:5000/a/b", "c", ""), id="port-and-tag"),
        pytest.param("REG/app", ("REG/app", "latest", ""), id="upper-case-first-part-is-a-registry"),
        pytest.param("org/app", ("docker.io/org/app", "latest", ""), id="organisation"),
        pytest.param("[::1]:5000/app:1", ("[::1]:5000/app", "1", ""), id="ipv6-registry"),
    ],
)
def test_image_is_read_as_a_runtime_reads_it(text: str, expected: tuple[str, str, str]) -> None:
    assert parse_image(text) == ImageReference(*expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        ":",
        "@",
        "nginx:",
        "nginx@",
        "nginx@sha256:abc",
        "Nginx",
        "docker.io/Org/app",
        "a//b",
        "/a",
        "a/",
        "a b",
        "nginx:1 ",
        "nginx:-1",
        "nginx\n",
        "reg:port/app",
        "0" * 64,
        "a" * 256,
        "nginx:" + "t" * 129,
        "nginx@sha256:" + "0" * 2000,
        f"nginx@{DIGEST}@{DIGEST}",
        "../nginx",
    ],
)
def test_what_no_runtime_pulls_has_no_meaning(text: str) -> None:
    assert parse_image(text) is None


@given(st.text(alphabet=string.ascii_letters + string.digits + "./:@-_ \n\0é*[]", max_size=300))
def test_any_text_is_read_or_refused_and_reads_the_same_again(text: str) -> None:
    found = parse_image(text)
    if found is None:
        return
    tag = f":{found.tag}" if found.tag else ""
    digest = f"@{found.digest}" if found.digest else ""
    assert found.tag or found.digest
    assert parse_image(f"{found.repository}{tag}{digest}") == found
