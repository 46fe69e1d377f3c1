"""Write the SBOM (CycloneDX 1.5): the package, everything that its extras install, and the vendored viewer.

    python -m tools.sbom FILE          `nox -s release-check` and release.yml run this; it needs uv on PATH

`uv export` lists the packages of uv.lock with their hashes. This adds our version, licenses, and Swagger UI
with the hash of each of its files. Licenses come from the metadata of the installed packages. Two runs write
the same bytes.
"""

import argparse
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.versions import code_version

ROOT = Path(__file__).parents[1]
VIEWER = "src/thrive_learning/sandbox/viewer"
#: Packages whose license was read in their files, because their metadata has it as free text, or because they
#: are installed only on other platforms or Pythons.
READ_IN_FILES = {
    "async-timeout": "Apache-2.0",
    "partd": "BSD-3-Clause",
    "psutil": "BSD-3-Clause",
    "tzdata": "Apache-2.0",
}
#: Classifiers of packages that have no SPDX expression in their metadata.
CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
    "License :: OSI Approved :: The Unlicense (Unlicense)": "Unlicense",
}


def license_of(name: str) -> str | None:
    """Return the SPDX expression of a package, or None if it is unknown."""
    try:
        metadata = importlib.metadata.distribution(name).metadata
    except importlib.metadata.PackageNotFoundError:
        return READ_IN_FILES.get(name)
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    found = {CLASSIFIERS[text] for text in metadata.get_all("Classifier", []) if text in CLASSIFIERS}
    return " AND ".join(sorted(found)) or READ_IN_FILES.get(name)


def viewer_component(root: Path) -> dict[str, Any]:
    """Return the component of the vendored Swagger UI, as its `SOURCE.txt` describes it.

    Raises:
        ValueError: A file has another hash than in `SOURCE.txt`.
    """
    folder = root / VIEWER
    first, *lines = (folder / "SOURCE.txt").read_text(encoding="utf-8").splitlines()
    name, version = first.split(",")[0].split()
    files: list[dict[str, Any]] = []
    for stated, file in (line.split() for line in lines if line):
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != stated:
            raise ValueError(f"{VIEWER}/{file} does not have the hash in SOURCE.txt. Copy the file again.")
        reference = f"{name}@{version}/{file}"
        hashes = [{"alg": "SHA-256", "content": stated}]
        files.append({"type": "file", "bom-ref": reference, "name": file, "hashes": hashes})
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:npm/{name}@{version}",
        "licenses": [{"expression": "Apache-2.0"}],
        "properties": [{"name": "vendored", "value": f"thrive_learning/{VIEWER.partition('/')[2]}"}],
        "components": files,
    }


def complete(document: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return what uv exports with our version, licenses, and the viewer.

    Args:
        document: What uv exports.
        root: The repository.
    """
    version = code_version(root)
    package = document["metadata"]["component"]
    package |= {
        "version": version,
        "purl": f"pkg:pypi/{package['name']}@{version}",
        "licenses": [{"expression": "MIT AND Apache-2.0"}],
    }
    for component in document["components"]:
        if expression := license_of(component["name"]):
            component["licenses"] = [{"expression": expression}]
    viewer = viewer_component(root)
    document["components"].append(viewer)
    for dependency in document.get("dependencies", []):
        if dependency["ref"] == package["bom-ref"]:
            dependency["dependsOn"] = [*dependency.get("dependsOn", []), viewer["bom-ref"]]
    # uv writes the time and a random number, which would make two builds differ.
    document["metadata"].pop("timestamp", None)
    content = json.dumps([package, document["components"]], sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, content).urn
    return document


def problems_in(document: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each component that lacks a version, a license, or a hash."""
    if not any(
        component["purl"].startswith("pkg:npm/swagger-ui-dist@") for component in document["components"]
    ):
        yield "the SBOM lacks Swagger UI"
    for component in (document["metadata"]["component"], *document["components"]):
        name = component["name"]
        if not component.get("version"):
            yield f"{name} has no version"
        if not component.get("licenses"):
            where = "`READ_IN_FILES` or `CLASSIFIERS` of tools/sbom.py"
            yield f"{name} has no license. Add it to {where}"
        sources = (*component.get("externalReferences", []), *component.get("components", []))
        if component is not document["metadata"]["component"] and not any(map(_has_hash, sources)):
            yield f"{name} has no hash"


def _has_hash(source: dict[str, Any]) -> bool:
    return bool(source.get("hashes"))


def make_sbom(root: Path = ROOT) -> dict[str, Any]:
    """Return the SBOM of a checkout."""
    command = ["uv", "export", "--quiet", "--locked", "--no-default-groups", "--all-extras"]
    command += ["--format", "cyclonedx1.5", "--preview-features", "sbom-export"]
    return complete(json.loads(subprocess.check_output(command, cwd=root)), root)


def main() -> None:
    """Write the SBOM, or exit with what is missing."""
    parser = argparse.ArgumentParser(description="Write the SBOM of the package.")
    parser.add_argument("file", type=Path, help="such as dist/thrive-learning-1.2.3.cdx.json")
    document = make_sbom()
    if found := list(problems_in(document)):
        sys.exit("\n".join(found))
    text = json.dumps(document, indent=2) + "\n"
    parser.parse_args().file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
