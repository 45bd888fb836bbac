"""Tell somebody when a run failed or crashed: a POST to a webhook, a command, or both.

``DIPTYCH_NOTIFY_URL`` gets a JSON object with ``text`` (what chat services show), ``flow``, ``run``, ``state``,
``message`` and ``url``; ``DIPTYCH_NOTIFY_COMMAND`` gets the same object on its standard input. What goes wrong in
telling is logged, without the address or the command's words, which may be secret, and changes nothing. An address that
sends on to another has told nobody: what arrives there is no POST. Of a run whose worker died nobody is told from here:
add a notification to the automation of the server that marks it Crashed.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import urllib.request
from http.client import HTTPException
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
    body = json.dumps(about).encode()
    if url:
        _post(url, body)
    if command:
        _call(command, body)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """None: the answer that names another address is an error."""


def _post(url: str, body: bytes) -> None:
    if not url.lower().startswith(("https://", "http://")):
        _LOG.error("DIPTYCH_NOTIFY_URL: expected an address that begins with https:// or http://; nobody was told")
        return
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1000)
    except (OSError, ValueError, HTTPException) as error:
        said = error if isinstance(error, OSError) else type(error).__name__  # others repeat what they were given
        _LOG.error("DIPTYCH_NOTIFY_URL: nobody was told: %s", said)


def _call(command: str, body: bytes) -> None:
    try:
        done = subprocess.run(shlex.split(command), input=body, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        _LOG.error("DIPTYCH_NOTIFY_COMMAND did not end in %d seconds", TIMEOUT_S)
        return
    except (OSError, ValueError) as error:
        _LOG.error("DIPTYCH_NOTIFY_COMMAND: nobody was told: %s", error)
        return
    if done.returncode:
        said = done.stderr.decode(errors="replace")[:1000]
        _LOG.error("DIPTYCH_NOTIFY_COMMAND ended with %d: %s", done.returncode, said)
