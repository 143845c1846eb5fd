"""Directories become an OCI image layout: the same files give the same digests.

Layers are tar archives with sorted names, root as the owner and one time for all files; they are not
compressed, so that no digest depends on the version of a compressor. Whoever pushes the image compresses
them.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A part of a layout, named by its content."""

    digest: str
    """``sha256:`` and 64 hexadecimal digits."""
    size: int
    """In bytes."""

    def descriptor(self, media_type: str) -> dict[str, Any]:
        """How other parts refer to it."""
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}


class Layout:
    """An OCI image layout: a directory with the parts of one image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs/sha256"

    def file(self, blob: Blob) -> Path:
        """Where a part is, or would be."""
        return self._blobs / blob.digest.removeprefix("sha256:")

    def has(self, blob: Blob) -> bool:
        """Whether a part is there, in its full length."""
        file = self.file(blob)
        return file.is_file() and file.stat().st_size == blob.size

    def add_layer(self, root: Path, *, epoch_s: int) -> Blob:
        """Pack a root directory.

        Args:
            root: what the layer adds to the image.
            epoch_s: time of all files, in seconds since 1970.
        """
        self._blobs.mkdir(parents=True, exist_ok=True)
        # Unfinished under another name: a stopped build leaves no part that looks whole.
        unfinished = self._blobs / f"layer.{os.getpid()}"
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as archive:
            for path in files_below(root):
                add_file(archive, path, str(path.relative_to(root)), epoch_s)
        with unfinished.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        blob = Blob(digest=f"sha256:{digest}", size=unfinished.stat().st_size)
        unfinished.replace(self.file(blob))
        return blob

    def add_json(self, document: dict[str, Any]) -> Blob:
        """Add a document, in one spelling."""
        content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        blob = Blob(digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=len(content))
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.file(blob).write_bytes(content)
        return blob

    def finish(self, name: str, config: dict[str, Any], layers: Sequence[Blob]) -> Blob:
        """Make the image out of its parts and remove all parts that it does not use.

        Args:
            name: of the image, with its tag.
            config: the image's configuration; ``rootfs`` is added.
            layers: lowest first.

        Returns:
            The configuration: its digest is what Podman shows as the image's ID.
        """
        content = {**config, "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]}}
        image = self.add_json(content)
        manifest = self.add_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": image.descriptor(CONFIG_TYPE),
                "layers": [layer.descriptor(LAYER_TYPE) for layer in layers],
            }
        )
        entry = {
            **manifest.descriptor(MANIFEST_TYPE),
            "platform": {"architecture": config["architecture"], "os": config["os"]},
            "annotations": {_NAME: name},
        }
        write_json(self.folder / "oci-layout", {"imageLayoutVersion": "1.0.0"})
        write_json(self.folder / "index.json", {"schemaVersion": 2, "manifests": [entry]})
        used = {self.file(blob) for blob in (image, manifest, *layers)}
        for file in self._blobs.iterdir():
            if file not in used:
                file.unlink()
        return image

    def manifest_digest(self) -> str:
        """What a registry would call this image, if it stored the layers as they are."""
        index = json.loads((self.folder / "index.json").read_bytes())
        digest: str = index["manifests"][0]["digest"]
        return digest


def files_below(root: Path) -> Iterator[Path]:
    """Everything below a directory, a directory before what it holds, sorted by name."""
    for path in sorted(root.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from files_below(path)


def add_file(archive: tarfile.TarFile, path: Path, name: str, epoch_s: int) -> None:
    """Add one file, directory or symbolic link; of its metadata only the mode is kept."""
    entry = tarfile.TarInfo(name)
    entry.mtime = epoch_s
    status = path.lstat()
    if path.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(entry)
    elif path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if status.st_mode & 0o1000 else 0o755
        archive.addfile(entry)
    elif path.is_file():
        entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & 0o111 else 0o644
        with path.open("rb") as content:
            archive.addfile(entry, content)
    else:
        raise ValueError(f"{path}: neither a file, a directory nor a symbolic link")


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a document for people and programs; whole or not at all."""
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.replace(file)
