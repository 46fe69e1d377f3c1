"""Makes the peer that is in no package index: what openapi-generator writes for our contract."""

import contextlib
import importlib.util
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import GENERATED_PEER

_CONTRACT = Path(__file__).parents[1] / "openapi" / "thrive.yaml"


@contextlib.contextmanager
def generated_client() -> Iterator[tuple[Path | None, str]]:
    """Give a folder that holds the client, and "", or None and the reason why there is none."""
    package = importlib.util.find_spec("openapi_generator_cli")
    if package is None or package.origin is None:
        yield None, "openapi-generator-cli is not installed"
        return
    jar = Path(package.origin).with_name("openapi-generator.jar")
    with tempfile.TemporaryDirectory(prefix="thrive-bench-peer-") as folder:
        command = ["java", "-jar", str(jar), "generate", "-g", "python", "-i", str(_CONTRACT), "-o", folder]
        try:
            done = subprocess.run(  # noqa: S603 - our own command
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
