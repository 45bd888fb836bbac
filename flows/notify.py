"""Tell somebody when a run failed or crashed: a POST to a webhook, a command, or both.

``DIPTYCH_NOTIFY_URL`` gets a JSON object with ``text`` (what chat services show), ``flow``, ``run``, ``state``,
``message`` and ``url``; ``DIPTYCH_NOTIFY_COMMAND`` gets the same object on its standard input. What goes wrong in
telling is logged and changes nothing. Of a run whose worker died nobody is told from here: add a notification to the
automation of the server that marks it Crashed.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import get_current_settings

__all__ = ["notify"]

TIMEOUT_S = 10
_LOG = logging.getLogger("prefect.diptych")


def notify(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """The hook of every flow for the states failed and crashed."""
    url, command = (os.environ.get(f"DIPTYCH_NOTIFY_{name}", "").strip() for name in ("URL", "COMMAND"))
    if not url and not command:
        return
    ui = get_current_settings().ui_url or ""
    message = (state.message or "").strip()
    about = {
        "text": f"{flow.name}, run {flow_run.name}: {state.name}. {message}"[:3000],
        "flow": flow.name,
        "run": flow_run.name,
        "state": state.name,
        "message": message[:10_000],
        "url": f"{ui}/runs/flow-run/{flow_run.id}" if ui else "",
    }
    body = json.dumps(about, ensure_ascii=False).encode()
    if url:
        _post(url, body)
    if command:
        _call(command, body)


def _post(url: str, body: bytes) -> None:
    if not url.startswith(("https://", "http://")):
        _LOG.error("DIPTYCH_NOTIFY_URL %s: expected an address that begins with https:// or http://", url)
        return
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            answer.read(1000)
    except (OSError, ValueError, urllib.error.URLError) as error:
        _LOG.error("DIPTYCH_NOTIFY_URL: nobody was told: %s", error)


def _call(command: str, body: bytes) -> None:
    try:
        done = subprocess.run(shlex.split(command), input=body, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        _LOG.error("DIPTYCH_NOTIFY_COMMAND: nobody was told: %s", error)
        return
    if done.returncode:
        said = done.stderr.decode(errors="replace")[:1000]
        _LOG.error("DIPTYCH_NOTIFY_COMMAND ended with %d: %s", done.returncode, said)
