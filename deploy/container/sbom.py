"""Writes a CycloneDX bill of materials: an environment's Python packages and the Debian packages beside it.

``python sbom.py VENV >sbom.cdx.json``. It runs while the image is built, in an environment of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL


def python_packages(venv: Path) -> Iterator[Component]:
    """What is installed in a virtual environment."""
    (packages,) = venv.glob("lib/python*/site-packages")
    for package in distributions(path=[str(packages)]):
        name, version = package.metadata["Name"], package.version
        purl = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
        licence = _licence(package)
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=purl,
            bom_ref=purl.to_string(),
            licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
        )


def _licence(package: PathDistribution) -> str | None:
    """What the metadata states in one line: an SPDX expression, or a name."""
    metadata = package.metadata
    stated = metadata.get("License-Expression") or metadata.get("License")
    if stated and len(stated) < 100:
        return stated
    names = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if "License ::" in line
    ]
    return " / ".join(names) or None


def debian_packages() -> Iterator[Component]:
    """What dpkg has installed."""
    asked = ["dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\n"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    for line in said.splitlines():
        name, version, architecture = line.split("\t")
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        yield Component(
            type=ComponentType.LIBRARY, name=name, version=version, purl=purl, bom_ref=purl.to_string()
        )


def main(venv: Path) -> None:
    """Write the bill to standard output."""
    bom = Bom(components=[*python_packages(venv), *debian_packages()])
    bom.metadata.component = Component(type=ComponentType.APPLICATION, name="audio-pipeline")
    sys.stdout.write(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
