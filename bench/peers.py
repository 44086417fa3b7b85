"""Gateways from the registry, measured beside Mainstay by `make bench-peers`: each in an environment of its own under bench/out.

They pass requests through with nothing on: no guards, no records, no cache.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

FOLDER = Path(__file__).parent / "out" / "peers"
PINNED = {"smg": "smg==1.13.0", "tensorzero": "tensorzero==2026.6.0"}
MODELS = ("mock", "mock-c10")

# The gateway that TensorZero's wheel carries, as its client starts it; it chooses its own port, and says which.
TENSORZERO = """
import sys, time, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
open(sys.argv[2], "w").write(gateway.base_url)
time.sleep(3600)
"""
PROVIDER = """
[models."{model}"]
routing = ["upstream"]
[models."{model}".providers.upstream]
type = "openai"
model_name = "{model}"
api_base = "http://127.0.0.1:{port}/v1/"
api_key_location = "none"
"""


class Peer(Struct, frozen=True):
    """How to start one: `command` behind its own interpreter; `said` is the file in which it says its address."""

    name: str
    command: tuple[str, ...]
    port: int
    path: str = "/v1/chat/completions"
    model: str = "{}"
    said: Path | None = None

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return FOLDER / self.name / "bin" / "python"


def installed(upstream: int, port: int) -> Iterator[Peer]:
    """The peers whose environment is there."""
    if (FOLDER / "smg").exists():
        command = ("launch", "--backend", "openai", "--worker-urls", f"http://127.0.0.1:{upstream}", "--host", "127.0.0.1")
        quiet = ("--port", str(port), "--log-level", "warn", "--history-backend", "none")
        yield Peer("smg", (str(FOLDER / "smg" / "bin" / "smg"), *command, *quiet), port)
    if (FOLDER / "tensorzero").exists():
        config, said = FOLDER / "tensorzero.toml", FOLDER / "tensorzero.address"
        models = "".join(PROVIDER.format(model=model, port=upstream) for model in MODELS)
        config.write_text("[gateway]\nobservability.enabled = false\n" + models)
        said.unlink(missing_ok=True)
        path, model = "/openai/v1/chat/completions", "tensorzero::model_name::{}"
        yield Peer("tensorzero", ("-c", TENSORZERO, str(config), str(said)), 0, path, model, said)


def main() -> None:
    """Make the environments that are not there yet."""
    for name, requirement in PINNED.items():
        if not (FOLDER / name).exists():
            print(f"installing {requirement}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", FOLDER / name], check=True)
            subprocess.run([FOLDER / name / "bin" / "python", "-m", "pip", "install", "-q", requirement], check=True)


if __name__ == "__main__":
    main()
