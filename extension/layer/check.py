"""Checks a built layer: check.py ARCHITECTURE FOLDER. Unpacks it into FOLDER/ARCHITECTURE meanwhile.

Called by `check`, from the root of the repository.
"""

import json
import os
import re
import struct
import sys
import zipfile
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

# What SPECIFICATION.md promises.
BINARY_BYTES_MAX = 5_600_000
ZIP_BYTES_MAX = 2_850_000

CONTENTS = {
    "extensions/sidekey": 0o100755,
    "sidekey/LICENSE": 0o100644,
    "sidekey/NOTICES": 0o100644,
    "sidekey/exec-wrapper": 0o100755,
    "sidekey/sbom.cdx.json": 0o100644,
}

CPUS = {"x86_64": ("x86_64", 62), "arm64": ("aarch64", 183)}
INTERPRETER, DYNAMIC, NEEDED = 3, 2, 1
# What the entropy gatherer that costs 40 ms of each start has, and what aws-lc has without it too.
JITTER, KERNEL = b"jent_entropy_collector_alloc", b"CRYPTO_sysrand"


def main(architecture: str, folder: Path) -> None:
    cpu, machine = CPUS[architecture]
    path = folder / f"sidekey-layer-{architecture}.zip"
    files = unpack(path, folder / architecture)
    binary = files["extensions/sidekey"]
    check_elf(binary, machine)
    check_paths(binary)
    check_entropy(cpu)
    check_sbom(files["sidekey/sbom.cdx.json"].decode(), binary)
    check_size("the binary", len(binary), BINARY_BYTES_MAX)
    check_size(path.name, path.stat().st_size, ZIP_BYTES_MAX)


def unpack(path: Path, folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as layer:
        modes = {entry.filename: entry.external_attr >> 16 for entry in layer.infolist()}
        check(modes == CONTENTS, f"{path} holds {modes}")
        files = {name: layer.read(name) for name in modes}
    for name, contents in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)
        (folder / name).chmod(modes[name] & 0o777)
    return files


def check_elf(binary: bytes, machine: int) -> None:
    """It is for this kind of machine, and needs no loader and no library."""
    check(binary[:5] == b"\x7fELF\x02", "the binary is no 64-bit ELF")
    check(struct.unpack_from("<H", binary, 18)[0] == machine, "the binary is for another machine")
    (table,) = struct.unpack_from("<Q", binary, 32)
    size, count = struct.unpack_from("<HH", binary, 54)
    for number in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", binary, table + number * size)
        check(kind != INTERPRETER, "the binary needs a loader")
        if kind == DYNAMIC:
            tags = [tag for tag, _ in struct.iter_unpack("<QQ", binary[start : start + length])]
            check(NEEDED not in tags, "the binary needs libraries")


def check_paths(binary: bytes) -> None:
    """No folder of whoever built it is told."""
    home = Path.home()
    cargo = os.environ.get("CARGO_HOME", home / ".cargo")
    rustup = os.environ.get("RUSTUP_HOME", home / ".rustup")
    for folder in (Path.cwd(), home, cargo, rustup):
        check(f"{folder}/".encode() not in binary, f"the binary tells of {folder}")


def check_entropy(cpu: str) -> None:
    """aws-lc is built without the gatherer of jitter entropy: the binary's names are stripped, so that
    its library is looked at."""
    built = Path(f"target/{cpu}-unknown-linux-musl/layer/build").glob("aws-lc-sys-*/out/*.a")
    libraries = [library.read_bytes() for library in built]
    check(any(KERNEL in library for library in libraries), "aws-lc is not found")
    check(not any(JITTER in library for library in libraries), "aws-lc gathers jitter entropy")


def check_sbom(text: str, binary: bytes) -> None:
    """It keeps to its schema, and has each crate whose sources the binary names."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    check(error is None, f"the SBOM is not CycloneDX: {error}")
    components = json.loads(text)["components"]
    refs = {f"{component['name']}-{component['version']}" for component in components}
    named = {name.decode() for name in re.findall(rb"/crates/([\w.+-]+)/src/", binary)}
    check(len(named) > 10, "the binary names no crates to look for")
    check(named <= refs, f"the SBOM lacks {named - refs}")


def check_size(what: str, size: int, size_max: int) -> None:
    print(f"{what}: {size} bytes of {size_max}")
    check(size <= size_max, f"{what} is too large")


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(otherwise)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
