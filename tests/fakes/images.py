"""Images for tests, made from what Debian ships: there is no registry."""

import io
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")


def import_busybox(tag: str) -> None:
    """Make an image of the static busybox with its commands in ``/bin``."""
    names = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        content = BUSYBOX.read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
        for name in names:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if name != "busybox":
                tar.addfile(link)
    subprocess.run(
        ["podman", "import", "--quiet", "--change=ENV PATH=/bin", "-", tag],
        input=buffer.getvalue(),
        check=True,
        capture_output=True,
    )


def remove_image(tag: str) -> None:
    """Remove an image; one that is gone is no error."""
    subprocess.run(["podman", "rmi", "--force", tag], check=False, capture_output=True)
