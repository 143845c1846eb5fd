"""Build the operator's image, without any registry and without any other image.

Two layers: the base (Debian packages and locked Python packages) is made when the recipe or the lock
file changes, the second one (the project's wheel) when the sources change. Both are kept in
``build/image/ARCHITECTURE``, so only a new base needs the network.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import image_debian
import image_python
import image_sbom
from image_oci import Blob, Layout, write_json

ROOT: Final = Path(__file__).resolve().parent.parent
REPOSITORY: Final = "localhost/security-profiles-operator"
DEVELOPMENT: Final = f"{REPOSITORY}:dev"
TITLE: Final = "security-profiles-operator"
RECIPE: Final = ("image_bytecode.py", "image_debian.py", "image_oci.py", "image_python.py")
"""Files beside this one that decide what the base holds."""
ARCHITECTURES: Final = ("amd64", "arm64")
SCRATCH: Final = "root."
MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The lower layer and what is in it."""

    layer: Blob
    components: list[dict[str, Any]]
    """For the bill of materials."""


class Build:
    """What is kept between builds of one architecture."""

    def __init__(self, folder: Path, architecture: str, epoch_s: int) -> None:
        self.folder = folder
        self.layout = Layout(folder / "oci")
        self.packages = folder / "packages"
        self.architecture = architecture
        self.epoch_s = epoch_s

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One build at a time; others wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for left in self.folder.glob(f"{SCRATCH}*"):  # by a build that was killed
                shutil.rmtree(left)
            yield

    def fetch(self, lock: Path, *, newest: bool) -> None:
        """Fetch what the base is made from; only what is missing, unless the newest is asked for."""
        if newest or not self.packages.exists():
            say(f"fetching Debian packages of {self.architecture}")
            unfinished = self.packages.with_suffix(".new")
            image_debian.fetch(unfinished, self.architecture)
            shutil.rmtree(self.packages, ignore_errors=True)
            unfinished.rename(self.packages)
        wheels = self._wheels(lock)
        if not wheels.exists():
            say(f"fetching locked Python packages of {self.architecture}")
            unfinished = wheels.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            image_python.fetch_locked(lock, unfinished, self.architecture)
            for old in self.folder.glob("wheels-*"):
                if old != unfinished:
                    shutil.rmtree(old)
            unfinished.rename(wheels)

    def base(self, lock: Path) -> Base:
        """The base, made if there is none of this recipe and these packages."""
        tools = [Path(__file__).with_name(name) for name in RECIPE]
        packages = image_debian.package_files(self.packages)
        versions = [file.name for file in packages.values()]
        key = fingerprint([lock, *tools], str(self.epoch_s), *versions)
        notes = self.folder / "base.json"
        kept = json.loads(notes.read_bytes()) if notes.exists() else {}
        if kept.get("key") == key:
            base = Base(layer=Blob(**kept["layer"]), components=kept["components"])
            if self.layout.has(base.layer):
                return base
        say(f"making the base of {self.architecture}")
        with scratch(self.folder) as root:
            components = self._fill_base(root, packages, lock)
            layer = self.layout.add_layer(root, epoch_s=self.epoch_s)
        write_json(
            notes,
            {"key": key, "layer": {"digest": layer.digest, "size": layer.size}, "components": components},
        )
        return Base(layer=layer, components=components)

    def image(self, base: Base) -> str:
        """The whole image: its ID. Made anew unless the sources are those of the last one."""
        key = fingerprint(sources(), base.layer.digest, str(self.epoch_s))
        notes = self.folder / "image.json"
        kept = json.loads(notes.read_bytes()) if notes.exists() else {}
        if kept.get("key") != key:
            with scratch(self.folder) as root:
                version = self._fill_application(root, base)
                layer = self.layout.add_layer(root, epoch_s=self.epoch_s)
            image = self.layout.finish(f"{REPOSITORY}:{version}", self._config(version), [base.layer, layer])
            kept = {"key": key, "id": image.digest.removeprefix("sha256:")}
            write_json(notes, kept)
        identity: str = kept["id"]
        return identity

    def _wheels(self, lock: Path) -> Path:
        return self.folder / f"wheels-{fingerprint([lock])[:12]}"

    def _fill_base(self, root: Path, packages: dict[str, Path], lock: Path) -> list[dict[str, Any]]:
        image_debian.unpack(packages, root)
        locked = image_python.install_locked(lock, self._wheels(lock), root, self.architecture)
        image_python.compile_all(root, image_python.STDLIB, image_python.PACKAGES)
        debian = [
            image_sbom.debian_component(
                image_debian.fields(image_debian.control(file)),
                release=image_debian.RELEASE,
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            )
            for file in packages.values()
        ]
        return [*debian, *map(python_component, locked)]

    def _fill_application(self, root: Path, base: Base) -> str:
        wheel = image_python.install_wheel(ROOT, root)
        image_python.compile_all(root, image_python.PACKAGES)
        document = image_sbom.bill(
            name=TITLE,
            version=wheel.version,
            license_id=wheel.spdx,
            architecture=self.architecture,
            components=[*base.components, python_component(wheel)],
        )
        inside = root / image_sbom.FILE
        inside.parent.mkdir(parents=True)
        write_json(inside, document)
        shutil.copyfile(inside, self.folder / inside.name)
        return wheel.version

    def _config(self, version: str) -> dict[str, Any]:
        labels = {
            "description": str(project()["description"]),
            "licenses": image_python.LICENSE,
            "title": TITLE,
            "version": version,
        }
        created = datetime_text(self.epoch_s)
        return {
            "architecture": self.architecture,
            "os": "linux",
            "created": created,
            "config": {
                "User": "65535:65535",
                "Env": ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8"],
                "Entrypoint": [f"/usr/local/bin/{TITLE}"],
                "WorkingDir": "/",
                "Labels": {f"org.opencontainers.image.{name}": text for name, text in labels.items()},
            },
            "history": [
                {"created": created, "created_by": "Debian and locked Python packages"},
                {"created": created, "created_by": TITLE},
            ],
        }


def python_component(found: image_python.Distribution) -> dict[str, Any]:
    """A Python package in the bill of materials."""
    return image_sbom.python_component(
        name=found.name,
        version=found.version,
        spdx=found.spdx,
        license_words=found.license_words,
        sha256=found.sha256,
    )


def sources() -> list[Path]:
    """Every file that the upper layer is made from or with."""
    code = (file for file in sorted((ROOT / "src/spo").rglob("*")) if file.is_file())
    return [
        *(file for file in code if file.suffix in {".o", ".py", ".typed"}),
        *(ROOT / name for name in ("LICENSE", "README.md", "pyproject.toml")),
        *(Path(__file__).with_name(name) for name in ("image.py", "image_sbom.py")),
    ]


def fingerprint(files: list[Path], *words: str) -> str:
    """Changes when a file is added, removed or changed, or when a word does."""
    digest = hashlib.sha256("\0".join(words).encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"\0{file.relative_to(ROOT)}\0{content}".encode())
    return digest.hexdigest()


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """An empty root directory that is removed afterwards; in the cache, because /tmp may be small."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH) as name:
        yield Path(name)


def project() -> dict[str, Any]:
    """The project's own description."""
    described: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return described


def source_date() -> int:
    """The time of everything in the image, in seconds since 1970: that of SOURCE_DATE_EPOCH, or 1970."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isdecimal():
        sys.exit(f"image: SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970")
    return int(text)


def datetime_text(epoch_s: int) -> str:
    """Seconds since 1970 as OCI writes times."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def podman(*arguments: str, folder: Path = ROOT, check: bool = True) -> str:
    """Output of a Podman command, run in a folder."""
    done = subprocess.run(("podman", *arguments), cwd=folder, check=False, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"image: podman {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout.strip()


def identity_of(image: str) -> str:
    """ID of an image that Podman has; empty if it has none."""
    return podman("image", "inspect", "--format={{.Id}}", image, check=False)


def load(layout: Layout, identity: str, names: list[str]) -> bool:
    """Let Podman have the image under these names. Returns whether anything changed."""
    if all(identity_of(name) == identity for name in names):
        return False
    if identity_of(identity) != identity:
        # Takes only the layers that Podman does not have, and calls the image after the folder.
        podman("pull", "--quiet", f"oci:{layout.folder.name}", folder=layout.folder.parent)
        podman("tag", identity, *names)
        podman("untag", identity, f"localhost/{layout.folder.name}:latest", check=False)
    else:
        podman("tag", identity, *names)
    # What had the names before, unless a container uses it.
    podman("image", "prune", "--force", f"--filter=label=org.opencontainers.image.title={TITLE}")
    return True


def say(text: str) -> None:
    """Print one progress line at once."""
    print(f"image: {text}", flush=True)


def main() -> None:
    """Build, load and name the image."""
    native = MACHINES.get(platform.machine(), "amd64")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", choices=ARCHITECTURES, default=native, help="default: of this machine")
    parser.add_argument("--refresh", action="store_true", help="fetch the newest Debian packages")
    parser.add_argument(
        "--release", action="store_true", help="also name it with the version, print sizes and digests"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build/image", help="where builds are kept")
    parser.add_argument("--no-load", action="store_true", help="only make the OCI layout")
    arguments = parser.parse_args()
    build = Build(arguments.folder.resolve() / arguments.arch, arguments.arch, source_date())
    lock = ROOT / "requirements/runtime.txt"
    with build.lock():
        try:
            build.fetch(lock, newest=arguments.refresh)
            identity = build.image(build.base(lock))
        except subprocess.CalledProcessError as error:
            said = (error.stderr or b"").decode("utf-8", "replace")
            sys.exit(f"{said}\nimage: failed: {error.cmd[0]} (exit {error.returncode})".lstrip())
        except (OSError, RuntimeError, ValueError) as error:
            sys.exit(f"image: {error}")
        # An image of another architecture would only be in the way.
        if not arguments.no_load and arguments.arch == native:
            names = [DEVELOPMENT, *([f"{REPOSITORY}:{project()['version']}"] if arguments.release else [])]
            changed = load(build.layout, identity, names)
            say(f"{' '.join(names)} {'built' if changed else 'is current'}")
    if arguments.release or arguments.no_load:
        size = sum(file.stat().st_size for file in (build.layout.folder / "blobs/sha256").iterdir())
        say(f"{build.layout.folder}: {size / 1e6:.1f} MB, not compressed")
        say(f"manifest {build.layout.manifest_digest()}, configuration sha256:{identity}")


if __name__ == "__main__":
    main()
