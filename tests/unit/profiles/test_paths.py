"""Where files lie; what pods reference. Everything here comes from users."""

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spo.api.core import Container, Pod, PodSpec, SeccompProfileReference, SecurityContext
from spo.api.meta import ObjectMeta
from spo.names import SECCOMP_POD_ANNOTATION
from spo.profiles.paths import (
    ProfileKey,
    ProfileNameError,
    localhost_profile,
    parse_localhost_profile,
    path_of,
    referenced_profiles,
)


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        ("config-namespace", "file", "operator/config-namespace/file.json"),
        ("config-namespace", "file.json", "operator/config-namespace/file.json"),
        ("ns", "../../../../../file.json", "operator/ns/file.json"),
        ("../../../../../ns", "file.json", "operator/ns/file.json"),
        ("ns", "file.json.json", "operator/ns/file.json.json"),
        ("ns/", "file/", "operator/ns/file.json"),
        ("ns", "a" * 250, f"operator/ns/{'a' * 250}.json"),
    ],
)
def test_localhost_profile(namespace: str, name: str, expected: str) -> None:
    assert localhost_profile(namespace, name) == expected


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("ns", ""),
        ("ns", "."),
        ("ns", ".."),
        ("ns", ".json"),
        ("ns", "a/.."),
        ("", "name"),
        ("..", "name"),
        ("na.me", "name"),
        ("ns", "a\0b"),
        ("ns", "a\n"),
        ("ns", "Über"),
    ],
)
def test_names_that_are_no_kubernetes_names_have_no_file(namespace: str, name: str) -> None:
    with pytest.raises(ProfileNameError):
        localhost_profile(namespace, name)


def test_a_name_too_long_for_a_file_is_refused_with_advice() -> None:
    with pytest.raises(ProfileNameError, match=r"over 250 characters; use another name"):
        localhost_profile("ns", "a" * 251)


@given(namespace=st.text(), name=st.text())
@example(namespace="ns", name="..")
@example(namespace="..", name="x")
def test_no_name_leads_out_of_the_operator_directory(namespace: str, name: str) -> None:
    try:
        path = localhost_profile(namespace, name)
    except ProfileNameError:
        return
    assert posixpath.normpath(path) == path
    assert path.startswith("operator/")
    assert path.count("/") == 2
    assert len(posixpath.basename(path).encode()) <= 255


dns = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(namespace=dns, name=dns)
def test_a_written_path_is_read_back(namespace: str, name: str) -> None:
    assert parse_localhost_profile(localhost_profile(namespace, name)) == (namespace, name)


@pytest.mark.parametrize(
    "path",
    [
        "operator/default/test",
        "operator/default/test.js",
        "foo/bar/baz",
        "runtime/default",
        "",
        "operator//x.json",
        "operator/ns/.json",
        "operator/ns/sub/x.json",
        "operator/../x.json",
        "operator/ns/../x.json",
        "operator/ns/..json",
        "/operator/ns/x.json",
        "operator/ns/x.json/",
        "operator/ns/x.json\n",
        "operator/NS/x.json",
        "operator/ns/x\0.json",
        "operator/ns/" + "a" * 251 + ".json",
        "operator/" + "a" * 64 + "/x.json",
    ],
)
def test_foreign_paths_name_no_profile(path: str) -> None:
    assert parse_localhost_profile(path) is None


@given(st.text() | st.builds("operator/{}/{}.json".format, st.text(), st.text()))
def test_every_path_that_is_read_is_the_path_of_its_profile(path: str) -> None:
    key = parse_localhost_profile(path)
    assert key is None or localhost_profile(*key) == path


def context(path: str | None, kind: str = "Localhost") -> SecurityContext:
    return SecurityContext(seccomp_profile=SeccompProfileReference(type=kind, localhost_profile=path))


def pod(
    own: SecurityContext | None = None,
    containers: tuple[SecurityContext | None, ...] = (),
    init: tuple[SecurityContext | None, ...] = (),
    annotation: str | None = None,
) -> Pod:
    annotations = {} if annotation is None else {SECCOMP_POD_ANNOTATION: annotation}
    spec = PodSpec(
        security_context=own,
        containers=[Container(security_context=one) for one in containers],
        init_containers=[Container(security_context=one) for one in init],
    )
    return Pod(metadata=ObjectMeta(name="pod", annotations=annotations), spec=spec)


A, B, C, D = (ProfileKey("ns", name) for name in "abcd")


def path(key: ProfileKey) -> str:
    return localhost_profile(*key)


@pytest.mark.parametrize(
    ("given_pod", "expected"),
    [
        pytest.param(pod(), (), id="nothing"),
        pytest.param(pod(context(path(A))), (A,), id="pod"),
        pytest.param(pod(containers=(None, context(path(A)))), (A,), id="container"),
        pytest.param(pod(init=(context(path(A)),)), (A,), id="init-container"),
        pytest.param(pod(annotation=f"localhost/{path(A)}"), (A,), id="annotation"),
        pytest.param(
            pod(context(path(D)), (context(path(C)),), (context(path(B)),), f"localhost/{path(A)}"),
            (D, C, B, A),
            id="order",
        ),
        pytest.param(
            pod(context(path(A)), (context(path(A)), context(path(B))), annotation=f"localhost/{path(B)}"),
            (A, B),
            id="each-once",
        ),
        pytest.param(pod(context(None)), (), id="localhost-without-path"),
        pytest.param(pod(SecurityContext()), (), id="no-profile"),
        pytest.param(pod(context(path(A), "RuntimeDefault")), (), id="other-type"),
        pytest.param(pod(annotation="localhost/foo.json"), (), id="annotation-foreign"),
        pytest.param(pod(annotation="runtime/default"), (), id="annotation-runtime"),
        pytest.param(pod(annotation=path(A)), (), id="annotation-without-prefix"),
        pytest.param(pod(annotation=""), (), id="annotation-empty"),
    ],
)
def test_referenced_profiles(given_pod: Pod, expected: tuple[ProfileKey, ...]) -> None:
    assert referenced_profiles(given_pod) == expected


@given(
    annotation=st.text() | st.builds("localhost/operator/{}/{}".format, st.text(), st.text()), own=st.text()
)
def test_no_pod_breaks_the_reading(annotation: str, own: str) -> None:
    for key in referenced_profiles(pod(context(own), annotation=annotation)):
        assert parse_localhost_profile(path(key)) == key


@pytest.mark.parametrize("name", ["foo", "foo.json", "foo.json.json"])
def test_path_of_a_key_is_the_inverse_of_parsing(name: str) -> None:
    key = ProfileKey("ns", name)
    assert parse_localhost_profile(path_of(key)) == key


@pytest.mark.parametrize(
    "path",
    ["operator//ns/odd.json", "operator/./ns/odd.json", "operator//ns/./odd.json", "operator/ns//odd.json"],
)
def test_reference_counts_however_its_path_is_written(path: str) -> None:
    context = SecurityContext(
        seccomp_profile=SeccompProfileReference(type="Localhost", localhost_profile=path)
    )
    pod = Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(security_context=context))
    assert referenced_profiles(pod) == (ProfileKey("ns", "odd"),)
