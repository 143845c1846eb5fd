import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from tools.image_debian import fields, usr_path, wanted
from tools.image_oci import Blob, Layout
from tools.image_python import license_words, tidy
from tools.image_sbom import bill, debian_component, python_component

CONFIG = {"architecture": "amd64", "os": "linux", "config": {"User": "65535:65535"}}


def fill(root: Path, names: list[str], *, mode: int, time_s: int) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        file.chmod(mode)
        os.utime(file, (time_s, time_s))
    (root / "link").symlink_to("usr/b")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    return root


def test_a_layer_depends_on_content_only(tmp_path: Path) -> None:
    one = fill(tmp_path / "one", ["usr/b", "usr/a/c"], mode=0o600, time_s=5)
    two = fill(tmp_path / "two", ["usr/a/c", "usr/b"], mode=0o644, time_s=7)
    layout = Layout(tmp_path / "oci")
    layer = layout.add_layer(one, epoch_s=3)
    assert layout.add_layer(two, epoch_s=3) == layer
    assert layout.add_layer(two, epoch_s=4) != layer
    (two / "usr/b").chmod(0o755)
    assert layout.add_layer(two, epoch_s=3) != layer


def test_a_layer_belongs_to_root_and_is_sorted(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", ["usr/b", "usr/a/c"], mode=0o600, time_s=5)
    layout = Layout(tmp_path / "oci")
    layer = layout.add_layer(root, epoch_s=3)
    with tarfile.open(layout.file(layer)) as archive:
        entries = archive.getmembers()
    assert [entry.name for entry in entries] == ["link", "tmp", "usr", "usr/a", "usr/a/c", "usr/b"]
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "", 3)}
    assert [entry.mode for entry in entries] == [0o777, 0o1777, 0o755, 0o755, 0o644, 0o644]


def test_a_layer_holds_no_pipe(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "pipe")
    with pytest.raises(ValueError, match="pipe: neither a file, a directory nor a symbolic link"):
        Layout(tmp_path / "oci").add_layer(root, epoch_s=0)


def test_a_finished_layout_names_all_its_parts_and_keeps_no_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    old = layout.add_layer(fill(tmp_path / "old", ["usr/old"], mode=0o644, time_s=0), epoch_s=0)
    layer = layout.add_layer(fill(tmp_path / "new", ["usr/new"], mode=0o644, time_s=0), epoch_s=0)
    image = layout.finish("localhost/x:1", CONFIG, [layer])
    assert not layout.has(old)
    assert layout.has(layer)
    index = json.loads((layout.folder / "index.json").read_bytes())
    (entry,) = index["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "localhost/x:1"}
    assert entry["digest"] == layout.manifest_digest()
    manifest = json.loads(layout.file(Blob(digest=entry["digest"], size=entry["size"])).read_bytes())
    assert manifest["config"]["digest"] == image.digest
    assert [part["digest"] for part in manifest["layers"]] == [layer.digest]
    config = json.loads(layout.file(image).read_bytes())
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer.digest]}
    for part in (layer, image):
        content = layout.file(part).read_bytes()
        assert part == Blob(digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=len(content))


def test_a_part_cut_short_is_not_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    layer = layout.add_layer(fill(tmp_path / "root", ["usr/a"], mode=0o644, time_s=0), epoch_s=0)
    os.truncate(layout.file(layer), layer.size - 1)
    assert not layout.has(layer)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6", id="lib"),
        pytest.param("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2", id="loader"),
        pytest.param("./usr/lib/a", "usr/lib/a", id="usr"),
        pytest.param("./etc/lib/a", "etc/lib/a", id="below-another"),
        pytest.param("./", "", id="root"),
    ],
)
def test_packages_are_unpacked_into_usr(name: str, path: str) -> None:
    assert usr_path(name) == path


@pytest.mark.parametrize("name", ["../etc/passwd", "./usr/../../etc/passwd", "/etc/passwd"])
def test_a_package_cannot_leave_the_root(name: str) -> None:
    with pytest.raises(ValueError, match="outside of the root"):
        usr_path(name)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("usr/share/doc/libc6/copyright", True),
        ("usr/share/doc/libc6/changelog.Debian.gz", False),
        ("usr/lib/x86_64-linux-gnu/libseccomp.so.2.5.4", True),
        ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", False),
        ("usr/lib/python3.11/asyncio/events.py", True),
        ("usr/lib/python3.11/idlelib/run.py", False),
        ("usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", True),
        ("usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so", False),
    ],
)
def test_what_no_process_reads_is_left_out(path: str, kept: bool) -> None:
    assert wanted(path, None) is kept


def test_of_some_packages_few_files_are_wanted() -> None:
    assert wanted("etc/os-release", ("etc/os-*",))
    assert not wanted("etc/issue", ("etc/os-*",))


def test_control_fields_are_single_lines() -> None:
    paragraph = "Package: a\nVersion: 1:2-3\nDescription: short\n long: text\n .\n"
    assert fields(paragraph) == {"Package": "a", "Version": "1:2-3", "Description": "short"}


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        pytest.param(
            {"classifier": ["License :: OSI Approved :: MIT License"]}, "MIT License", id="classifier"
        ),
        pytest.param({"license": "BSD"}, "BSD", id="word"),
        pytest.param({"license": "a whole\nlicense"}, "", id="text"),
        pytest.param({}, "", id="nothing"),
    ],
)
def test_a_license_without_an_expression_is_what_the_metadata_tells(
    metadata: dict[str, object], text: str
) -> None:
    assert license_words(metadata) == text


def test_notes_of_the_installer_leave_the_list_of_files(tmp_path: Path) -> None:
    info = tmp_path / "x-1.dist-info"
    info.mkdir()
    (tmp_path / "x.py").touch()
    (tmp_path / "bin").mkdir()
    for name in ("METADATA", "INSTALLER", "RECORD"):
        (info / name).touch()
    listed = ["x.py", "bin/x", "x-1.dist-info/METADATA", "x-1.dist-info/INSTALLER", "x-1.dist-info/RECORD"]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in listed))
    tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "METADATA",
        "RECORD",
        "x-1.dist-info",
        "x.py",
    ]
    assert (info / "RECORD").read_text().splitlines() == [
        "x-1.dist-info/METADATA,,",
        "x-1.dist-info/RECORD,,",
        "x.py,,",
    ]


def test_a_bill_lists_packages_by_url_in_one_order() -> None:
    control = {
        "Package": "libseccomp2",
        "Version": "1:2.5+b1",
        "Architecture": "arm64",
        "Source": "seccomp (1:2.5)",
    }
    debian = debian_component(control, release="bookworm", sha256="ab")
    python = python_component(name="Prometheus_Client", version="1.0", spdx="", license_words="", sha256="")
    document = bill(
        name="x", version="1", license_id="MIT", architecture="arm64", components=[python, debian]
    )
    assert document == bill(
        name="x", version="1", license_id="MIT", architecture="arm64", components=[debian, python]
    )
    assert [item["purl"] for item in document["components"]] == [
        "pkg:deb/debian/libseccomp2@1%3A2.5%2Bb1?arch=arm64&distro=debian-bookworm",
        "pkg:pypi/prometheus-client@1.0",
    ]
    assert debian["properties"] == [{"name": "debian:source", "value": "seccomp"}]
    assert "licenses" not in python
    assert "hashes" not in python


@pytest.mark.parametrize(
    ("spdx", "words", "listed"),
    [
        ("MIT OR BSD-3-Clause", "MIT", {"expression": "MIT OR BSD-3-Clause"}),
        ("", "MIT License", {"license": {"name": "MIT License"}}),
    ],
)
def test_a_license_is_listed_as_an_expression_if_it_is_one(
    spdx: str, words: str, listed: dict[str, object]
) -> None:
    found = python_component(name="x", version="1", spdx=spdx, license_words=words, sha256="ab")
    assert found["licenses"] == [listed]
    assert found["hashes"] == [{"alg": "SHA-256", "content": "ab"}]
