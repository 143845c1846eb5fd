"""Images of one machine: busybox for examples and tests, and the operator's from ``image.py``.

No registry and no other image is needed: a tar archive of files of this machine goes through ``podman
import``. An image is made again only when a file in it has changed.
"""

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

BUSYBOX_IMAGE = "localhost/busybox:dev"
BUSYBOX = Path("/bin/busybox")
OPERATOR_IMAGE = Path(__file__).with_name("image.py")

Files = dict[str, Path]
"""Path in the image, without the leading slash -> file on this machine."""


def tree(folder: Path) -> Iterator[Path]:
    """All regular files below folder, without Python packages."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name != "site-packages":
            yield from tree(entry)
        elif entry.is_file():
            yield entry


def shared_libraries(*binaries: Path) -> Iterator[Path]:
    """What the dynamic loader maps for these files, the loader included; paths as the files name them."""
    listing = subprocess.run(("ldd", *map(str, binaries)), check=False, capture_output=True, text=True).stdout
    for match in re.finditer(r"(?:=> )?(/\S+) \(0x", listing):
        yield Path(match.group(1))


def fingerprint(files: Files) -> str:
    """Changes when a file of the image is added, removed or modified."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        if "__pycache__" in name:
            continue
        status = file.stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def archive(files: Files, links: dict[str, str]) -> bytes:
    """The tar archive of an image: files readable by all, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, target in sorted(links.items()):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
        for name, file in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = file.stat().st_size
            info.mode = 0o755 if file.stat().st_mode & 0o111 else 0o644
            with file.open("rb") as content:
                tar.addfile(info, content)
    return buffer.getvalue()


def inspect(image: str, template: str) -> str:
    """One fact about a local image, empty if there is no such image."""
    command = ("podman", "image", "inspect", "--format", template, image)
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def import_image(image: str, files: Files, links: dict[str, str], changes: list[str]) -> bool:
    """Make the image unless it is current. Returns whether it was made."""
    label = fingerprint(files)
    if inspect(image, '{{index .Labels "fingerprint"}}') == label:
        return False
    options = [f"--change={change}" for change in (*changes, f"LABEL fingerprint={label}")]
    subprocess.run(
        ("podman", "import", "-q", *options, "-", image),
        check=True,
        input=archive(files, links),
        stdout=subprocess.DEVNULL,
    )
    # What had the name before, unless a container uses it.
    command = ("podman", "image", "prune", "--force", "--filter=label=fingerprint")
    subprocess.run(command, check=False, capture_output=True)
    return True


def busybox_image() -> bool:
    """Make the image that examples and tests use: a static busybox with all its applets."""
    applets = subprocess.run((BUSYBOX, "--list"), check=True, capture_output=True, text=True).stdout.split()
    links = {f"bin/{name}": "busybox" for name in applets if name != "busybox"}
    return import_image(BUSYBOX_IMAGE, {"bin/busybox": BUSYBOX}, links, ["ENV PATH=/bin", 'CMD ["sh"]'])


def main() -> None:
    """Build both images and tag busybox with the names given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--busybox-as", action="append", default=[], metavar="NAME", help="another name for the busybox image"
    )
    arguments = parser.parse_args()
    subprocess.run((sys.executable, OPERATOR_IMAGE), check=True)
    made = busybox_image()
    print(f"image: {BUSYBOX_IMAGE} {'built' if made else 'is current'}", flush=True)
    for name in arguments.busybox_as:
        subprocess.run(("podman", "tag", BUSYBOX_IMAGE, name), check=True)


if __name__ == "__main__":
    main()
