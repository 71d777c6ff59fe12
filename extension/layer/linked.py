"""Lists the crates and the C libraries that are linked into a static binary."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# The names of files with licence texts.
TERMS = re.compile(r"LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE", re.IGNORECASE)

Key = tuple[str, str]


@dataclass
class Crate:
    name: str
    version: str
    licence: str
    checksum: str | None  # None for Sidekey's own crates.
    folder: Path
    needs: set[Key] = field(default_factory=set)

    @property
    def key(self) -> Key:
        return self.name, self.version

    @property
    def terms(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if TERMS.match(path.name))


@dataclass
class Library:
    name: str
    version: str
    licence: str
    purl: str
    terms: list[Path]

    @property
    def key(self) -> Key:
        return self.name, self.version


def crates(target: str, package: str) -> list[Crate]:
    """Returns the crates of a package, sorted by name, each with its direct dependencies.

    `cargo tree` resolves the features of the package alone, as its build does. `cargo metadata` would add
    the features that other packages need.
    """
    tree = run("cargo", "tree", "--locked", "--package", package, "--target", target,
               "--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", " {p}")
    found: dict[Key, Crate] = {}
    above: list[Crate] = []
    for line in tree.splitlines():
        depth, name, version = re.match(r"(\d+) (\S+) v(\S+)", line).groups()
        crate = found.setdefault((name, version), crate_of(name, version))
        above[int(depth):] = [crate]
        if len(above) > 1:
            above[-2].needs.add(crate.key)
    return [found[key] for key in sorted(found)]


def libraries(crates: list[Crate], target: str, zig: Path) -> list[Library]:
    """Returns the C libraries and Rust's standard library. Advisories name a C library, and not the
    crate that contains it. Zig has the text of musl's licence, which Rust's toolchain lacks."""
    aws_lc = next(crate for crate in crates if crate.name == "aws-lc-sys").folder / "aws-lc"
    base = (aws_lc / "include/openssl/base.h").read_text("utf-8")
    aws_lc_version = re.search(r'AWSLC_VERSION_NUMBER_STRING "(.+)"', base)[1]
    rust = Path(run("rustc", "--print", "sysroot").strip())
    rust_version = re.match(r"rustc (\S+)", run("rustc", "--version"))[1]
    musl = (rust / "lib/rustlib" / target / "lib/self-contained/libc.a").read_bytes()
    musl_version = re.search(rb"\0(1\.\d+\.\d+)\0", musl)[1].decode()
    rust_terms = rust / "share/doc/rust/licenses"
    return [
        Library("aws-lc", aws_lc_version, "Apache-2.0 OR ISC",
                f"pkg:github/aws/aws-lc@v{aws_lc_version}", [aws_lc / "LICENSE"]),
        Library("musl", musl_version, "MIT",
                f"pkg:generic/musl@{musl_version}", [zig / "lib/libc/musl/COPYRIGHT"]),
        Library("rust-std", rust_version, "MIT OR Apache-2.0",
                f"pkg:github/rust-lang/rust@{rust_version}", [rust_terms / "MIT.txt"]),
    ]


def crate_of(name: str, version: str) -> Crate:
    package = packages()[name, version]
    folder = Path(package["manifest_path"]).parent
    return Crate(name, version, package["license"], checksums().get((name, version)), folder)


@cache
def packages() -> dict[Key, dict]:
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1"))
    return {(package["name"], package["version"]): package for package in metadata["packages"]}


@cache
def checksums() -> dict[Key, str]:
    entry = r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"'
    lock = Path("Cargo.lock").read_text("utf-8")
    return {(name, version): checksum for name, version, checksum in re.findall(entry, lock)}


def run(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
