"""Write src/spo/profiles/syscall_tables/: number and name of every syscall of every architecture.

Facts come from the kernel's own headers: Debian's ``linux-libc-dev-<arch>-cross`` packages, downloaded into a
temporary directory and unpacked there, nothing is installed. What is younger than these headers comes from
``newer_syscalls.tbl`` beside this file.

``--check`` compares instead of writing; ``--packages DIR`` takes the .deb files from DIR, without a download.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src/spo/profiles/syscall_tables"
SUPPLEMENT = Path(__file__).with_name("newer_syscalls.tbl")
LINE_LENGTH = 108
ARM_PRIVATE = 0x0F0000
"""``__ARM_NR_BASE`` of asm/unistd.h for the EABI."""

_NUMBER = re.compile(r"^#define __NR_(\w+)\s+\(?(?:__\w+\s*\+\s*)?(\d+)\)?\s*$", re.MULTILINE)
_ARM_NUMBER = re.compile(r"^#define __ARM_NR_(\w+)\s+\(__ARM_NR_BASE\s*\+\s*(\d+)\)\s*$", re.MULTILINE)
_MACRO = re.compile(r"^#define (__NR(?:3264)?_\w+)\s+(.+?)\s*$", re.MULTILINE)
_SUM = re.compile(r"\((\w+) \+ (\d+)\)")
NO_SYSCALLS = frozenset({"Linux", "Linux_syscalls", "arch_specific_syscall", "syscalls"})
"""Names with the prefix ``__NR_`` that are limits and bases."""
_FREE = re.compile(r"(?:reserved|unused)\d+")
"""MIPS names its free numbers."""


@dataclass(frozen=True)
class Source:
    """Where the numbers of one table are."""

    package: str
    """The part of the package's name that names the architecture."""
    header: str
    """Below the include directory. ``asm/unistd.h`` itself needs the preprocessor."""
    base: int = 0
    """Added to every number: ABIs of one kernel are told apart by it."""


SOURCES = {
    "aarch64": Source("arm64", "asm/unistd.h"),
    "arm": Source("armhf", "asm/unistd-eabi.h"),
    "mips_n32": Source("mips", "asm/unistd_n32.h", 6000),
    "mips_n64": Source("mips", "asm/unistd_n64.h", 5000),
    "mips_o32": Source("mips", "asm/unistd_o32.h", 4000),
    "parisc": Source("hppa", "asm/unistd_32.h"),
    "parisc64": Source("hppa", "asm/unistd_64.h"),
    "ppc": Source("powerpc", "asm/unistd_32.h"),
    "ppc64": Source("powerpc", "asm/unistd_64.h"),
    "riscv64": Source("riscv64", "asm/unistd.h"),
    "s390": Source("s390x", "asm/unistd_32.h"),
    "s390x": Source("s390x", "asm/unistd_64.h"),
    "x32": Source("amd64", "asm/unistd_x32.h", 0x40000000),
    "x86": Source("amd64", "asm/unistd_32.h"),
    "x86_64": Source("amd64", "asm/unistd_64.h"),
}


def download(directory: Path) -> None:
    packages = sorted({f"linux-libc-dev-{source.package}-cross" for source in SOURCES.values()})
    command = ("apt-get", "--option=APT::Sandbox::User=root", "--quiet=2", "download", *packages)
    subprocess.run(command, cwd=directory, check=True)


def unpack(packages: Path, package: str, target: Path) -> Path:
    """Unpack one package; return its include directory."""
    found = sorted(packages.glob(f"linux-libc-dev-{package}-cross_*.deb"))
    if len(found) != 1:
        sys.exit(
            f"{packages} must hold exactly one linux-libc-dev-{package}-cross package, found {len(found)}"
        )
    unpacked = target / package
    if not unpacked.exists():
        subprocess.run(("dpkg-deb", "--extract", str(found[0]), str(unpacked)), check=True)
    return next(unpacked.glob("usr/*/include"))


def generic_numbers(include: Path) -> Iterator[tuple[int, str]]:
    """Numbers of an architecture that uses asm-generic/unistd.h, for whose #if a preprocessor is needed."""
    command = (
        *("cpp", "-dM", "-undef", "-nostdinc", "-D__LP64__", "-D__SIZEOF_POINTER__=8", f"-I{include}"),
        str(include / "asm/unistd.h"),
    )
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    macros = dict(_MACRO.findall(text))
    for macro, value in macros.items():
        if macro.startswith("__NR_"):
            yield resolve(macros, value), macro.removeprefix("__NR_")


def resolve(macros: Mapping[str, str], value: str) -> int:
    """Follow ``__NR_fcntl -> __NR3264_fcntl -> 25`` and ``(__NR_arch_specific_syscall + 15)``."""
    if value.isdecimal():
        return int(value)
    if sum_ := _SUM.fullmatch(value):
        return resolve(macros, sum_[1]) + int(sum_[2])
    return resolve(macros, macros[value])


def header_numbers(include: Path, source: Source) -> Iterator[tuple[int, str]]:
    if source.header == "asm/unistd.h":
        yield from generic_numbers(include)
        return
    for name, number in _NUMBER.findall((include / source.header).read_text()):
        yield int(number), name
    if source.package == "armhf":
        for name, number in _ARM_NUMBER.findall((include / "asm/unistd.h").read_text()):
            yield ARM_PRIVATE + int(number), name


def newer_numbers(table: str) -> Iterator[tuple[int, str]]:
    for line in SUPPLEMENT.read_text().splitlines():
        if line.startswith("#"):
            continue
        number, tables, name, _kernel = line.split()
        chosen = tables.removeprefix("all").strip(",").split(",")
        if f"!{table}" not in chosen and (tables.startswith("all") or table in chosen):
            yield int(number), name


def make_table(table: str, include: Path) -> dict[int, str]:
    """Number -> name, from the headers first; a contradiction ends the run."""
    source = SOURCES[table]
    numbers: dict[int, str] = {}
    for plain, name in (*header_numbers(include, source), *newer_numbers(table)):
        if name in NO_SYSCALLS or _FREE.fullmatch(name):
            continue
        if numbers.setdefault(source.base + plain, name) != name:
            sys.exit(f"{table}: number {plain} is both {numbers[source.base + plain]} and {name}")
    twice = len(numbers) - len(set(numbers.values()))
    if twice:
        sys.exit(f"{table}: {twice} names have two numbers")
    return dict(sorted(numbers.items()))


def table_lines(numbers: Mapping[int, str]) -> Iterator[str]:
    """Lines of a number and the names that follow it without a gap."""
    line, following = "", -1
    for number, name in numbers.items():
        if line and number == following and len(line) + 1 + len(name) <= LINE_LENGTH:
            line += f" {name}"
        else:
            if line:
                yield line
            line = f"{number} {name}"
        following = number + 1
    yield line


def module(title: str, constant: str, lines: Iterator[str]) -> str:
    head = f'"""{title} Made by ``tools/generate_syscall_tables.py``; do not edit."""\n\n'
    return (
        head + "from typing import Final\n\n" + f'{constant}: Final = """\\\n' + "\n".join(lines) + '\n"""\n'
    )


def name_lines(names: frozenset[str]) -> Iterator[str]:
    line = ""
    for name in sorted(names):
        if line and len(line) + 1 + len(name) > LINE_LENGTH:
            yield line
            line = ""
        line += f" {name}" if line else name
    yield line


def generate(packages: Path) -> dict[Path, str]:
    """Text of every generated module."""
    modules: dict[Path, str] = {}
    names: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        for table, source in SOURCES.items():
            numbers = make_table(table, unpack(packages, source.package, Path(directory)))
            names |= set(numbers.values())
            modules[TARGET / f"{table}.py"] = module(f"Syscalls of {table}.", "TABLE", table_lines(numbers))
    text = module("Names of the syscalls of all tables.", "NAMES", name_lines(frozenset(names)))
    modules[TARGET / "all_names.py"] = text
    return modules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if a file differs; write nothing")
    parser.add_argument("--packages", type=Path, help="directory with the .deb files")
    options = parser.parse_args()
    if options.packages:
        modules = generate(options.packages)
    else:
        with tempfile.TemporaryDirectory() as directory:
            download(Path(directory))
            modules = generate(Path(directory))
    stale = [path for path, text in modules.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(path.relative_to(ROOT), "differs" if options.check else "written")
        if not options.check:
            path.write_text(modules[path])
    if options.check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
