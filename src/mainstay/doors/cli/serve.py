"""`mainstay serve` and `mainstay demo`: features over HTTP."""

from __future__ import annotations

import errno
import importlib.resources
import os
from pathlib import Path

import click

import mainstay
from mainstay.app import Mainstay
from mainstay.core.errors import ConfigError
from mainstay.core.project import Model
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import reported
from mainstay.doors.http import server
from mainstay.freezing import VERSION
from mainstay.state_folder import LEDGER

PORT = click.IntRange(0, 65535)
KEYS = "MAINSTAY_MODEL_URL, OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY"


@click.command()
@PROJECT
@click.option("--host", help="The address to bind; by default server.host of mainstay.toml.")
@click.option("--port", type=PORT, help="The port; by default server.port of mainstay.toml. 0 takes a free one.")
@click.option("--dev", is_flag=True, help="Load the folder again whenever it changes.")
@reported
def serve(project: str, host: str | None, port: int | None, dev: bool) -> None:
    """Serve the project's released features over HTTP; with --dev, the folder as it is."""
    app = mainstay.open(project, dev=dev)
    if app.features.missing and not app.features.ready:
        _refuse(app)
    settings = app.settings.server
    _serve(app, host or settings.host, settings.port if port is None else port, dev=dev)


def _refuse(app: Mainstay) -> None:
    """Raises for a project of which nothing may be served. Were it served all the same, nobody would look at the log."""
    why = "; ".join(f"{name}: {error.what}" for name, error in app.features.missing.items())
    first = next(iter(app.features.missing))
    app.close_sync()
    raise ConfigError(f"there is nothing to serve: {why}", next=f"mainstay release {first}, or mainstay serve --dev")


@click.command()
@click.option("--port", type=PORT, default=7070, envvar="PORT", show_default=True, help="The port; 0 takes a free one.")
@reported
def demo(port: int) -> None:
    """Serve the bundled example: questions about Mainstay, and triage of support messages."""
    app = mainstay.open(demo_project(), state=Path(".mainstay") / "demo", dev=True)
    _serve(app, "127.0.0.1", port, dev=False)


def demo_project() -> Path:
    """The bundled example's folder."""
    return Path(str(importlib.resources.files("mainstay"))) / "demo"


def _serve(app: Mainstay, host: str, port: int, *, dev: bool) -> None:
    key = os.environ.get("MAINSTAY_API_KEY", "").strip()

    def ready(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        click.echo(_banner(app, f"http://{shown}:{port}", dev=dev, locked=bool(key) or app.locked))

    try:
        server.run(app, host=host, port=port, key=key, dev=dev, ready=ready)
    except OSError as error:
        another = "--port 0" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host 127.0.0.1"
        command = click.get_current_context().command_path
        raise ConfigError(f"{host}:{port} cannot be bound: {error.strerror}", next=f"{command} {another}") from None
    click.echo("Stopped.")


def _banner(app: Mainstay, address: str, *, dev: bool, locked: bool) -> str:
    features = app.features
    lines = [f"Mainstay {VERSION} serves {len(features.ready)} feature(s) at {address}"]
    width = max((len(name) for name in features.ready), default=0)
    for name, ready in features.ready.items():
        rungs = " > ".join(rung.name for rung in ready.rungs)
        lines.append(f"  {name.ljust(width)}  {rungs}{'' if app.dev else f'  (release {ready.digest[:12]})'}")
    lines += [f"  {name.ljust(width)}  NOT SERVED: {error.what}" for name, error in features.missing.items()]
    models = [f"{name} ({model.provider}: {model.model or 'what the server offers'})" for name, model in _awake(app)]
    lines.append(f"Models: {', '.join(models)}" if models else f"Models: none; set {KEYS} to wake the model rungs")
    lines.append(f"Records: {_from_here(app.state / LEDGER)}")
    lines += ["The folder is loaded again when it changes."] if dev else []
    return "\n".join([*lines, "Try:", *(f"  {command}" for command in _to_try(app, address, locked))])


def _from_here(path: Path) -> Path:
    """As a person in the current folder would call it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _awake(app: Mainstay) -> list[tuple[str, Model]]:
    return [(name, model) for name, model in app.settings.models.items() if name in app.features.plain]


def _to_try(app: Mainstay, address: str, locked: bool) -> list[str]:
    names = list(app.features.ready)
    if not names:
        return ["mainstay init"]
    fields = app.features.ready[names[0]].feature.input.fields
    field = next((name for name, kind in fields.items() if kind.startswith("text")), "question")
    question = "What is a rung?"
    message = f'[{{"role": "user", "content": "{question}"}}]'
    curl = 'curl -H "authorization: Bearer $MAINSTAY_API_KEY"' if locked else "curl"
    return [
        f"""{curl} --json '{{"input": {{"{field}": "{question}"}}}}' {address}/v1/features/{names[0]}""",
        f"""{curl} -N --json '{{"model": "{names[0]}", "stream": true, "messages": {message}}}' {address}/v1/chat/completions""",
        f"{curl} {address}/metrics",
    ]
