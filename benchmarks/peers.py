"""Generate the client that openapi-generator writes for our contract, which is not in a package index."""

import contextlib
import importlib.util
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import GENERATED_PEER

_CONTRACT = Path(__file__).parents[1] / "openapi" / "thrive.yaml"
#: From the type of an activity, "one of these, or any text", openapi-generator 7.26 writes a class with
#: infinite recursion. It can read plain text, which is also cheaper.
_ANY_OF = """\
          anyOf:
            - $ref: '#/components/schemas/ActivityType'
            - type: string
              maxLength: 250
"""
_TEXT = "          type: string\n"


def readable(contract: str) -> str | None:
    """Return the contract as openapi-generator can read it; None if the type of an activity is missing."""
    return contract.replace(_ANY_OF, _TEXT) if _ANY_OF in contract else None


@contextlib.contextmanager
def generated_client() -> Iterator[tuple[Path | None, str]]:
    """Return a folder with the client and "", or None and the reason why it is missing."""
    package = importlib.util.find_spec("openapi_generator_cli")
    if package is None or package.origin is None:
        yield None, "openapi-generator-cli is not installed"
        return
    jar = Path(package.origin).with_name("openapi-generator.jar")
    with tempfile.TemporaryDirectory(prefix="thrive-bench-peer-") as folder:
        contract = readable(_CONTRACT.read_text(encoding="utf-8"))
        if contract is None:
            yield None, "benchmarks/peers.py does not find the type of an activity in the contract. Adapt it"
            return
        document = Path(folder, "thrive.yaml")
        document.write_text(contract, encoding="utf-8")
        command = ["java", "-jar", str(jar), "generate", "-g", "python", "-i", str(document), "-o", folder]
        try:
            done = subprocess.run(
                [*command, "--package-name", GENERATED_PEER], capture_output=True, text=True, check=False
            )
        except OSError as error:
            yield None, f"openapi-generator needs Java ({error})"
            return
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            yield None, f"openapi-generator failed: {' '.join(last)}"
            return
        yield Path(folder), ""
