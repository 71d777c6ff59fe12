"""Writes the bill of materials of a static binary as CycloneDX 1.6, without a date and a serial number, so
that the same binary has the same document."""

import hashlib
import json

from linked import Crate, Library


def of(binary: bytes, package: str, crates: list[Crate], libraries: list[Library]) -> str:
    """Returns the document for the binary of a package, and the crates and libraries that are linked into
    it."""
    root = next(crate for crate in crates if crate.name == package)
    sha256 = {"alg": "SHA-256", "content": hashlib.sha256(binary).hexdigest()}
    needs = {crate.key: crate.needs for crate in crates}
    needs[root.key] = needs[root.key] | {library.key for library in libraries}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": crate(root) | {"type": "application", "hashes": [sha256]}},
        "components": [crate(linked) for linked in crates if linked is not root]
        + [library(linked) for linked in libraries],
        "dependencies": [
            {"ref": ref(*key), "dependsOn": sorted(ref(*needed) for needed in needs[key])}
            for key in sorted(needs)
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def crate(crate: Crate) -> dict:
    is_own = crate.checksum is None
    hashes = {} if is_own else {"hashes": [{"alg": "SHA-256", "content": crate.checksum}]}
    purl = {} if is_own else {"purl": f"pkg:cargo/{crate.name}@{crate.version}"}
    return component(*crate.key, crate.licence) | hashes | purl


def library(library: Library) -> dict:
    return component(*library.key, library.licence) | {"purl": library.purl}


def component(name: str, version: str, licence: str) -> dict:
    # Older crates separate licences with a slash, which SPDX expressions do not allow.
    licence = " OR ".join(part.strip() for part in licence.split("/"))
    return {"type": "library", "bom-ref": ref(name, version), "name": name, "version": version,
            "licenses": [{"expression": licence}]}


def ref(name: str, version: str) -> str:
    return f"{name}@{version}"
