"""The programs of the suite. What serves is in ``servers``."""

import shutil
import subprocess
from pathlib import Path

from tests.fidelity import oci_bundle
from tests.fidelity.program import SCRIPTS, Place, Program
from tests.fidelity.servers import SERVERS

PYTHON = "/usr/bin/python3"


def tree_of_files(place: Place) -> None:
    """A few directories with files."""
    for name in ("a/x.txt", "a/b/y.txt", "a/b/c/z.log"):
        file = place.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name}\n")
    (place.folder / "a/link").symlink_to("x.txt")


def small_programs(place: Place) -> None:
    """Build the program without a libc for both classes of calls."""
    compiler = next(found for name in ("clang-14", "clang", "gcc") if (found := shutil.which(name)))
    for bits in ("32", "64"):
        target = str(place.folder / f"small{bits}")
        options = (f"-m{bits}", "-nostdlib", "-static", "-O1", "-o", target, str(SCRIPTS / "small.c"))
        subprocess.run((compiler, *options), check=True)


def runc_bundle(place: Place) -> None:
    """A container of busybox."""
    root = place.folder / "rootfs"
    oci_bundle.make_root(root)
    oci_bundle.write_settings(place.folder, root, ("/busybox", "echo", "from a container"))


def io_uring_refused() -> str:
    """Some administrators switch it off."""
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    return "kernel.io_uring_disabled=2" if switch.exists() and switch.read_text().strip() == "2" else ""


def script(name: str, does: str, interpreter: str, file: str, expected: str) -> Program:
    """A script of the suite under its interpreter."""
    return Program(name, does, (interpreter, f"{{scripts}}/{file}"), expected)


PROGRAMS: tuple[Program, ...] = (
    Program(
        "ls",
        "a tree of files",
        ("ls", "-1RF", "a"),
        "a:\nb/\nlink@\nx.txt\n\na/b:\nc/\ny.txt\n\na/b/c:\nz.log\n",
        tree_of_files,
    ),
    Program("cat", "two files", ("cat", "a/x.txt", "a/b/y.txt"), "a/x.txt\na/b/y.txt\n", tree_of_files),
    Program(
        "find + xargs",
        "checksums of what find finds, three processes at a time",
        (
            "bash",
            "-c",
            "find a -type f -print0 | sort -z | xargs -0 -n1 -P3 sha256sum | sort -k2 | cut -c1-6,67-",
        ),
        "2d7748a/b/c/z.log\n4eb061a/b/y.txt\n05b680a/x.txt\n",
        tree_of_files,
    ),
    script(
        "bash",
        "pipelines, process substitution, coprocess, trap, jobs",
        "bash",
        "pipelines.sh",
        "1000 999 998 a2,b1,c1\n1d0\n< 1\n3a3\n> 4\nhere 42\ntrapped\ntimed out: 124\nthrough\n",
    ),
    script(
        "coreutils",
        "what installers do with files",
        "bash",
        "files.sh",
        "640 4\n644 1048576\n755 4\nb/f\none\n4\n30e14955\n"
        "e\np\npart.aa\npart.ab\npart.ac\npart.ad\nq\nzero\n",
    ),
    script("tar, gzip, bzip2, xz", "pack and unpack", "bash", "archives.sh", "4\n4\n4\n20000\n"),
    script(
        "git",
        "init, commit, merge, gc, clone, log, grep",
        "bash",
        "repository.sh",
        "merged\nfirst\nsecond\n## main...origin/main\nb:1:second\n",
    ),
    script(
        "perl",
        "files, sockets, pipes, signals",
        "perl",
        "text.pl",
        "1=1 2=2 3=4 4=8 5=16 6=32 7=64 8=128 9=245\nover a socket\nover a pipe\n100000 11f6ad8e\nalarm\n",
    ),
    script("500 children", "forked by Perl, each lives 1 ms", "perl", "children.pl", "1497\n"),
    script(
        "daemon",
        "two forks and a session; works after its parent has ended",
        "perl",
        "daemon.pl",
        "started\nworked\n",
    ),
    script(
        "python",
        "TLS, SQLite, threads, asyncio, subprocesses",
        PYTHON,
        "network.py",
        "HELLO OVER TLS\n499500\n2048\n5\n{'a': 1}\n",
    ),
    script(
        "python processes",
        "multiprocessing by fork and spawn, shared memory",
        PYTHON,
        "processes.py",
        "fork 328350\nspawn 328350\n42\n",
    ),
    script("64 threads", "in Python, behind a barrier", PYTHON, "threads.py", "True 64\n"),
    Program(
        "io_uring",
        "a write through the ring, in Python",
        (PYTHON, "{scripts}/ring.py"),
        "17 through the ring\n",
        refused=io_uring_refused,
    ),
    Program(
        "sqlite3",
        "tables, an index, a transaction in a write-ahead log",
        ("sqlite3", "-batch", "data.db", ".read {scripts}/tables.sql"),
        "wal\n500\n124750\nok\n",
    ),
    Program(
        "java",
        "threads and garbage collection",
        ("java", "-cp", "{scripts}", "Hello"),
        "hello from a thread\nhello\n",
    ),
    Program(
        "busybox",
        "a shell and many applets in one static binary",
        ("/bin/busybox", "sh", "{scripts}/applets.sh"),
        "5 4 3 2 1 \nbusybox\ne\n1\nd/\nd/busybox\n42\nbbnana\n1970\nLinux\n4096\nlate\n",
    ),
    Program(
        "32-bit static",
        "fork, wait, write, without libc",
        ("{dir}/small32",),
        "child\nparent\n",
        small_programs,
    ),
    Program("64-bit static", "the same calls", ("{dir}/small64",), "child\nparent\n", small_programs),
    Program(
        "both classes",
        "a shell that runs both",
        ("sh", "-c", "./small32; ./small64; exec ./small32"),
        "child\nparent\n" * 3,
        small_programs,
    ),
    Program(
        "unshare",
        "a new mount namespace with a tmpfs in it",
        (
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none a && stat -f -c %T a && umount a && cat a/x.txt",
        ),
        "tmpfs\na/x.txt\n",
        tree_of_files,
    ),
    Program(
        "PID namespace",
        "whose first process is a shell that starts others",
        ("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", "cat /proc/1/comm; setsid echo $$"),
        "sh\n1\n",
    ),
    Program(
        "runc",
        "as a program like any other, with the container that it runs",
        ("runc", "--root", "{dir}/state", "run", "--bundle", "{dir}", "spo-fidelity-{port}"),
        "from a container\n",
        runc_bundle,
    ),
    script("execve of a thread", "which becomes the process", PYTHON, "thread_execs.py", "from a thread\n"),
    Program(
        "jq, awk, sed",
        "text through three interpreters",
        ("bash", "-c", "jq -c '{a: [range(3)]}' <<< null | sed 's/a/b/' | awk '{print $0, length($0)}'"),
        '{"b":[0,1,2]} 13\n',
    ),
    *SERVERS,
)
