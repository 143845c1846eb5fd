"""Build the operator's image for one machine: this interpreter, the runtime packages, and src/spo.

No registry and no other image is needed: a tar archive of the files goes through ``podman import``.
The image is for trying the project out; it is rebuilt only when a file in it has changed.
"""

import argparse
import hashlib
import importlib.metadata
import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

IMAGE = "localhost/security-profiles-operator:dev"
BUSYBOX_IMAGE = "localhost/busybox:dev"
BUSYBOX = Path("/bin/busybox")
APP = "opt/spo"
UNUSED_STDLIB = {
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tkinter",
    "turtledemo",
    "dist-packages",
}
DISTRIBUTION = "security-profiles-operator"

Files = dict[str, Path]
"""Path in the image, without the leading slash -> file on this machine."""


def tree(folder: Path, *, skip: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All regular files below folder; directories named in skip are left out at the top."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name not in skip and entry.name != "site-packages":
            yield from tree(entry)
        elif entry.is_file():
            yield entry


def interpreter() -> Path:
    """The real file of the interpreter behind the virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def shared_libraries(*binaries: Path) -> Iterator[Path]:
    """What the dynamic loader maps for these files, the loader included; paths as the files name them."""
    listing = subprocess.run(("ldd", *map(str, binaries)), check=False, capture_output=True, text=True).stdout
    for match in re.finditer(r"(?:=> )?(/\S+) \(0x", listing):
        yield Path(match.group(1))


def runtime_distributions() -> set[str]:
    """Names of the distributions that the operator needs at run time, itself left out."""
    found: set[str] = set()
    waiting = [DISTRIBUTION]
    while waiting:
        for requirement in importlib.metadata.requires(waiting.pop()) or []:
            name = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0].lower()
            if "extra ==" in requirement or name in found or not is_installed(name):
                continue
            found.add(name)
            waiting.append(name)
    return found


def is_installed(name: str) -> bool:
    """Whether this environment has the distribution: one with an unmet marker is absent."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def operator_files(root: Path) -> Files:
    """Everything the operator's image holds."""
    stdlib = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    python = interpreter()
    libseccomp = next(Path("/usr/lib").glob("*/libseccomp.so.2"))
    libbpf = next(Path("/usr/lib").glob("*/libbpf.so.1"))
    static_build = {folder.name for folder in stdlib.glob("config-*")}
    system = [python, libseccomp, libbpf, *tree(stdlib, skip=frozenset(UNUSED_STDLIB | static_build))]
    packages: Files = {}
    for name in (DISTRIBUTION, *runtime_distributions()):
        for entry in importlib.metadata.files(name) or []:
            source = Path(str(entry.locate()))
            # Of our own distribution, installed editable, only what tells the version.
            wanted = name != DISTRIBUTION or entry.name == "METADATA"
            if wanted and ".." not in entry.parts and source.is_file():
                packages[f"{APP}/{entry}"] = source
    binaries = [file for file in (*system, *packages.values()) if file.suffix == ".so"]
    files: Files = {}
    for file in (*system, *shared_libraries(python, libseccomp, libbpf, *binaries)):
        # /lib is a symbolic link to /usr/lib: the archive may name a directory in one way only.
        files[str(file.parent.resolve() / file.name).lstrip("/")] = file
    own = {f"{APP}/spo/{file.relative_to(root / 'src/spo')}": file for file in tree(root / "src/spo")}
    return {**files, **packages, **own}


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
    previous = inspect(image, "{{.Id}}")
    options = [f"--change={change}" for change in (*changes, f"LABEL fingerprint={label}")]
    subprocess.run(
        ("podman", "import", "-q", *options, "-", image),
        check=True,
        input=archive(files, links),
        stdout=subprocess.DEVNULL,
    )
    if previous:
        # Left alone by Podman as long as a container uses it.
        subprocess.run(("podman", "rmi", previous), check=False, capture_output=True)
    return True


def operator_image(root: Path) -> bool:
    """Make the operator's image."""
    folders = ("bin", "lib", "lib64", "sbin")
    links = {name: str(Path(f"/{name}").readlink()) for name in folders if Path(f"/{name}").is_symlink()}
    changes = [
        f'ENTRYPOINT ["{interpreter()}", "-s", "-P", "-m", "spo"]',
        f"ENV PYTHONPATH=/{APP}",
        "ENV PYTHONDONTWRITEBYTECODE=1",
        "USER 65535:65535",
    ]
    return import_image(IMAGE, operator_files(root), links, changes)


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
    root = Path(__file__).resolve().parent.parent
    for image, made in ((IMAGE, operator_image(root)), (BUSYBOX_IMAGE, busybox_image())):
        print(f"image {image} {'built' if made else 'is current'}", flush=True)
    for name in arguments.busybox_as:
        subprocess.run(("podman", "tag", BUSYBOX_IMAGE, name), check=True)


if __name__ == "__main__":
    main()
