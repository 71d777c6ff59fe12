"""Unpacks a built layer into FOLDER/ARCHITECTURE and checks it: check.py ARCHITECTURE FOLDER.

`check` calls it from the root of the repository.
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

# The limits that SPECIFICATION.md promises.
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
# A symbol of the entropy gatherer, which takes 40 ms of each start, and a symbol of every aws-lc.
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
        check(modes == CONTENTS, f"{path} contains unexpected files or modes: {modes}")
        files = {name: layer.read(name) for name in modes}
    for name, contents in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)
        (folder / name).chmod(modes[name] & 0o777)
    return files


def check_elf(binary: bytes, machine: int) -> None:
    """The binary is for this architecture and static."""
    check(binary[:5] == b"\x7fELF\x02", "the binary is not a 64-bit ELF file")
    check(struct.unpack_from("<H", binary, 18)[0] == machine, "the binary is for another architecture")
    (table,) = struct.unpack_from("<Q", binary, 32)
    size, count = struct.unpack_from("<HH", binary, 54)
    for number in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", binary, table + number * size)
        check(kind != INTERPRETER, "the binary needs a dynamic loader, so it is not static")
        if kind == DYNAMIC:
            tags = [tag for tag, _ in struct.iter_unpack("<QQ", binary[start : start + length])]
            check(NEEDED not in tags, "the binary needs shared libraries, so it is not static")


def check_paths(binary: bytes) -> None:
    """The binary contains no path of the build machine."""
    home = Path.home()
    cargo = os.environ.get("CARGO_HOME", home / ".cargo")
    rustup = os.environ.get("RUSTUP_HOME", home / ".rustup")
    for folder in (Path.cwd(), home, cargo, rustup):
        error = f"the binary contains the path {folder}: replace it in extension/layer/static"
        check(f"{folder}/".encode() not in binary, error)


def check_entropy(cpu: str) -> None:
    """aws-lc is built without the jitter entropy gatherer. The binary has no symbols, so this function
    looks at the symbols of the static library."""
    built = Path(f"target/{cpu}-unknown-linux-musl/layer/build").glob("aws-lc-sys-*/out/*.a")
    libraries = [library.read_bytes() for library in built]
    check(any(KERNEL in library for library in libraries), "the library of aws-lc was not found")
    error = "aws-lc gathers jitter entropy: set AWS_LC_SYS_NO_JITTER_ENTROPY=1"
    check(not any(JITTER in library for library in libraries), error)


def check_sbom(text: str, binary: bytes) -> None:
    """The bill of materials is valid and lists each crate whose source path is in the binary."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    check(error is None, f"the SBOM is not valid CycloneDX: {error}")
    components = json.loads(text)["components"]
    refs = {f"{component['name']}-{component['version']}" for component in components}
    named = {name.decode() for name in re.findall(rb"/crates/([\w.+-]+)/src/", binary)}
    check(len(named) > 10, "the binary contains too few source paths of crates to check the SBOM")
    check(named <= refs, f"the SBOM lacks crates that are in the binary: {named - refs}")


def check_size(what: str, size: int, size_max: int) -> None:
    print(f"{what}: {size} bytes, at most {size_max}")
    check(size <= size_max, f"{what} is larger than SPECIFICATION.md promises")


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(otherwise)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
