"""Other gateways, measured beside Mainstay by `make bench-peers`: each in an environment of its own under bench/out/peers.

They pass requests through with their defaults and nothing on: no records, no limits, no guards. Versions are pinned. nginx is
the floor; it comes from the system (`apt-get install nginx-light`), and is left out where it is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

FOLDER = Path(__file__).parent / "out" / "peers"
MODELS = ("mock", "mock-c10")
KEY = "sk-bench"

# The gateway that TensorZero's wheel carries, as its client starts it; it chooses its own port, and says which.
TENSORZERO = """
import sys, time, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
open(sys.argv[2], "w").write(gateway.base_url)
time.sleep(3600)
"""
TENSORZERO_MODEL = """
[models."{model}"]
routing = ["upstream"]
[models."{model}".providers.upstream]
type = "openai"
model_name = "{model}"
api_base = "http://127.0.0.1:{port}/v1/"
api_key_location = "none"
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 10000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 10000000; }}
  server {{ listen 127.0.0.1:{port}; client_body_buffer_size 1m;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.7"},  # with newer ones this version does not start
}


class Peer(Struct, frozen=True, kw_only=True):
    """How to start one: `command` makes its command line of the upstream's port and its own.

    `requirement` is what pip installs for it. `said` is the file in which it says its address, where it chooses one itself.
    """

    name: str
    shown: str
    command: Callable[[int, int], list[str]]
    requirement: str = ""
    path: str = "/v1/chat/completions"
    model: str = "{}"
    headers: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    said: Path | None = None

    @property
    def there(self) -> bool:
        """Whether it is installed."""
        return shutil.which("nginx", path=SYSTEM) is not None if self.name == "nginx" else (FOLDER / self.name / "done").exists()


SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin"


def _bin(name: str, program: str) -> str:
    return str(FOLDER / name / "bin" / program)


def _written(name: str, text: str) -> str:
    path = FOLDER / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def _nginx(upstream: int, port: int) -> list[str]:
    config = _written("nginx.conf", NGINX.format(folder=FOLDER / "run", upstream=upstream, port=port))
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    return [shutil.which("nginx", path=SYSTEM) or "nginx", "-e", str(FOLDER / "run" / "error.log"), "-c", config, *user]


def _smg(upstream: int, port: int) -> list[str]:
    backend = ["--backend", "openai", "--worker-urls", f"http://127.0.0.1:{upstream}", "--host", "127.0.0.1", "--port", str(port)]
    return [_bin("smg", "smg"), "launch", *backend, "--log-level", "warn", "--history-backend", "none"]


def _tensorzero(upstream: int, port: int) -> list[str]:
    models = "".join(TENSORZERO_MODEL.format(model=model, port=upstream) for model in MODELS)
    config = _written("tensorzero.toml", "[gateway]\nobservability.enabled = false\n" + models)
    ADDRESS.unlink(missing_ok=True)
    return [_bin("tensorzero", "python"), "-c", TENSORZERO, config, str(ADDRESS)]


def _litellm(upstream: int, port: int) -> list[str]:
    base = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-upstream"}
    models = [{"model_name": model, "litellm_params": {"model": f"openai/{model}", **base}} for model in MODELS]
    config = _written("litellm.yaml", json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    return [_bin("litellm", "litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


def _mlflow(upstream: int, port: int) -> list[str]:
    api = {"openai_api_key": "sk-upstream", "openai_api_base": f"http://127.0.0.1:{upstream}/v1"}
    kind = {"endpoint_type": "llm/v1/chat"}
    named = [{"name": m, **kind, "model": {"provider": "openai", "name": m, "config": api}} for m in MODELS]
    config = _written("mlflow.yaml", json.dumps({"endpoints": named}))
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [_bin("mlflow", "mlflow"), "gateway", "start", "--config-path", config, *where]


def _portkey(upstream: int, port: int) -> list[str]:
    server = FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return ["node", str(server), "--headless", f"--port={port}"]


def all_of(upstream: int) -> tuple[Peer, ...]:
    """Every peer, for an upstream at that port."""
    bearer = {"authorization": f"Bearer {KEY}"}
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR"}
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{FOLDER / 'mlflow' / 'bin'}:{os.environ.get('PATH', '')}"}
    custom = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1", **bearer}
    return (
        Peer(name="nginx", shown="nginx (the floor)", command=_nginx),
        Peer(name="smg", shown="SMG 1.13", command=_smg, requirement="smg==1.13.0", headers=bearer),
        Peer(
            name="tensorzero",
            shown="TensorZero 2026.6",
            command=_tensorzero,
            requirement="tensorzero==2026.6.0",
            path="/openai/v1/chat/completions",
            model="tensorzero::model_name::{}",
            said=ADDRESS,
        ),
        Peer(name="mlflow", shown="MLflow AI gateway 3.17", command=_mlflow, requirement="mlflow[gateway]==3.17.0", env=own),
        Peer(name="portkey", shown="Portkey gateway 1.15", command=_portkey, headers=custom, env={"NODE_ENV": "production"}),
        Peer(
            name="litellm",
            shown="LiteLLM proxy 1.106",
            command=_litellm,
            requirement="litellm[proxy]==1.106.2",
            headers=bearer,
            env=quiet,
        ),
    )


ADDRESS = FOLDER / "run" / "tensorzero.address"


def installed(upstream: int) -> Iterator[Peer]:
    """The peers that are there."""
    return (peer for peer in all_of(upstream) if peer.there)


def install(peer: Peer) -> None:
    """Make its environment."""
    folder = FOLDER / peer.name
    if peer.requirement:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", peer.requirement], check=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps(PORTKEY))
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    (folder / "done").touch()


def main() -> None:
    """Install what is not there yet; what cannot be installed is named and left out."""
    for peer in all_of(0):
        if peer.there:
            continue
        if peer.name == "nginx":
            print("nginx is not there: apt-get install nginx-light", file=sys.stderr)
            continue
        print(f"installing {peer.shown}", file=sys.stderr)
        try:
            install(peer)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{peer.shown} cannot be installed: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
