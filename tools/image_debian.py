"""The Debian part of the operator's image: a few packages, unpacked, without what no process reads.

mmdebstrap fetches the packages of any architecture and lets apt check their signatures; it knows the
mirror. Nothing of the packages runs, so the image of another architecture needs no emulation. There is
no package manager and no shell in the image: scanners read ``/var/lib/dpkg/status.d``.
"""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

RELEASE: Final = "bookworm"
PYTHON: Final = "3.11"
PACKAGES: Final = (
    "base-files",
    "gcc-12-base",
    "libbpf1",
    "libc6",
    "libelf1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libseccomp2",
    "libssl3",
    "python3.11-minimal",
    "zlib1g",
)
"""What is unpacked. Their other dependencies serve parts that are in UNWANTED."""
ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "base-files": (
        "etc/debian_version",
        "etc/os-release",
        "usr/lib/os-release",
        "usr/share/common-licenses/*",
        "usr/share/doc/base-files/copyright",
    ),
}
"""Package -> patterns of its files that are unpacked; the others are unpacked whole."""
_STDLIB: Final = f"usr/lib/python{PYTHON}"
UNWANTED: Final = (
    "etc/init.d/*",
    "etc/ld.so.conf.d/*",
    f"etc/python{PYTHON}/*",
    "usr/bin/pdb*",
    "usr/bin/py*versions",
    "usr/bin/pydoc*",
    "usr/bin/pygettext*",
    "usr/bin/2to3*",
    "usr/lib/*-linux-gnu/engines-3/*",
    "usr/lib/*-linux-gnu/gconv/*",
    "usr/lib/*-linux-gnu/libBrokenLocale*",
    "usr/lib/*-linux-gnu/libmemusage*",
    "usr/lib/*-linux-gnu/libmvec*",
    "usr/lib/*-linux-gnu/libnss_compat*",
    "usr/lib/*-linux-gnu/libnss_hesiod*",
    "usr/lib/*-linux-gnu/libpcprofile*",
    "usr/lib/*-linux-gnu/libthread_db*",
    "usr/lib/*-linux-gnu/ossl-modules/*",
    "usr/lib/binfmt.d/*",
    f"{_STDLIB}/LICENSE.txt",
    f"{_STDLIB}/_aix_support.py",
    f"{_STDLIB}/_bootsubprocess.py",
    f"{_STDLIB}/_osx_support.py",
    f"{_STDLIB}/ctypes/macholib/*",
    f"{_STDLIB}/curses/*",
    f"{_STDLIB}/dbm/*",
    f"{_STDLIB}/distutils/*",
    f"{_STDLIB}/ensurepip/*",
    f"{_STDLIB}/idlelib/*",
    f"{_STDLIB}/lib2to3/*",
    f"{_STDLIB}/pydoc_data/*",
    f"{_STDLIB}/sitecustomize.py",
    f"{_STDLIB}/sqlite3/*",
    f"{_STDLIB}/test/*",
    f"{_STDLIB}/tkinter/*",
    f"{_STDLIB}/turtle*",
    f"{_STDLIB}/venv/*",
    *(
        f"{_STDLIB}/lib-dynload/{module}.*"
        for module in (
            "_bz2",
            "_codecs_*",
            "_crypt",
            "_ctypes_test",
            "_curses*",
            "_dbm",
            "_lzma",
            "_multibytecodec",
            "_sqlite3",
            "_test*",
            "_tkinter",
            "_uuid",
            "_xx*",
            "audioop",
            "nis",
            "ossaudiodev",
            "readline",
            "xx*",
        )
    ),
    *(
        f"{_STDLIB}/encodings/{codec}*.py"
        for codec in ("big5", "cp9", "euc_", "gb", "hz", "iso2022", "johab")
    ),
    "usr/sbin/*",
    "usr/share/apport/*",
    "usr/share/binfmts/*",
    "usr/share/doc/*/*[!t]",
    "usr/share/doc/*/*/*",
    "usr/share/gcc/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "usr/share/applications/*",
    "usr/share/pixmaps/*",
)
"""Patterns of files that no process of ours reads. The copyright files stay."""
MERGED: Final = ("bin", "lib", "lib32", "lib64", "sbin")
"""Directories that are links into /usr; packages still name them."""
ACCOUNTS: Final = {
    "etc/passwd": (
        "root:x:0:0:root:/:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        "nonroot:x:65535:65535:nonroot:/:/usr/sbin/nologin\n"
    ),
    "etc/group": "root:x:0:\nnogroup:x:65534:\nnonroot:x:65535:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""File -> content: what the installation scripts of packages would have made."""


def fetch(folder: Path, architecture: str) -> None:
    """Fetch the newest version of every package, and of what it depends on, into a folder.

    Args:
        folder: made empty first.
        architecture: Debian's name, such as ``amd64`` or ``arm64``.

    Raises:
        subprocess.CalledProcessError: no network, or mmdebstrap is not installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The hook runs in a shell of mmdebstrap, which gives it the root as $1.
    collect = 'cp "$1"/var/cache/apt/archives/*.deb "$IMAGE_PACKAGES"'
    subprocess.run(
        (
            "mmdebstrap",
            "--quiet",
            "--variant=extract",
            "--format=null",
            "--skip=cleanup",
            f"--architectures={architecture}",
            f"--include={','.join(PACKAGES)}",
            f"--extract-hook={collect}",
            RELEASE,
            "/dev/null",
        ),
        env={**os.environ, "IMAGE_PACKAGES": str(folder.resolve())},
        check=True,
        stdin=subprocess.DEVNULL,
    )


def package_files(folder: Path) -> dict[str, Path]:
    """Package -> its file, of PACKAGES.

    Raises:
        FileNotFoundError: one is missing.
    """
    found = {file.name.partition("_")[0]: file for file in sorted(folder.glob("*.deb"))}
    missing = [name for name in PACKAGES if name not in found]
    if missing:
        raise FileNotFoundError(f"{folder}: no package {', '.join(missing)}; make the image with --refresh")
    return {name: found[name] for name in PACKAGES}


def unpack(packages: Mapping[str, Path], root: Path) -> None:
    """Unpack packages into a root directory, as one Debian system would hold them.

    Args:
        packages: package -> its file.
        root: an empty directory.
    """
    for name, file in packages.items():
        command = ("dpkg-deb", "--fsys-tarfile", str(file))
        content = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                path = usr_path(member.name)
                if wanted(path, ONLY.get(name)):
                    place(archive, member, root / path)
        status = root / "var/lib/dpkg/status.d" / name
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text(control(file))
    for folder in MERGED:
        if (root / "usr" / folder).is_dir():
            (root / folder).symlink_to(f"usr/{folder}")
    for path, text in ACCOUNTS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def usr_path(name: str) -> str:
    """Where a file of a package is, with no link to a directory on the way; empty for the root itself."""
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        raise ValueError(f"a package names a file outside of the root: {name}")
    return str(PurePosixPath("usr", *parts)) if parts and parts[0] in MERGED else "/".join(parts)


def wanted(path: str, only: Iterable[str] | None) -> bool:
    """Whether a file belongs into the image."""
    if only is not None:
        return any(fnmatchcase(path, pattern) for pattern in only)
    return not any(fnmatchcase(path, pattern) for pattern in UNWANTED)


def place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one regular file or symbolic link; directories appear with what they hold."""
    if member.isdir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
        return
    source = archive.extractfile(member)
    if source is None or not member.isreg():
        raise ValueError(f"{member.name}: neither a file nor a symbolic link")
    with source, target.open("wb") as to:
        shutil.copyfileobj(source, to)
    target.chmod(0o755 if member.mode & 0o111 else 0o644)


def control(file: Path) -> str:
    """The control paragraph of a package."""
    command = ("dpkg-deb", "--field", str(file))
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def fields(paragraph: str) -> dict[str, str]:
    """The single-line fields of a control paragraph."""
    return dict(_lines(paragraph))


def _lines(paragraph: str) -> Iterator[tuple[str, str]]:
    for line in paragraph.splitlines():
        name, separator, value = line.partition(": ")
        if separator and not line.startswith(" "):
            yield name, value
