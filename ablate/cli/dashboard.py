"""optuna-dashboard on the storage of a study.

It runs in this process, so that a password in the storage's URL is on no command line.  It is
read-only: deleting a study, ending a trial and renaming are refused, since the driver would not
know that its rows have changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ablate.errors import MissingDependencyError, StudyNotFoundError, UsageError
from ablate.errors.installation import pip_install
from ablate.errors.masking import masked
from ablate.ledger.storage import open_storage, storage_errors
from ablate.lifecycle.place import locate

_Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Suppress the log line per request."""


def open_dashboard(study: str, host: str, port: int) -> tuple[WSGIServer, str]:
    """A dashboard on the storage of a study, not served yet, and the URL of this study's page.

    Args:
        study: a study file, a run folder, or `URL#NAME`.
        host: whom it listens to; port: 0 takes any that is free.

    Raises:
        MissingDependencyError: if optuna-dashboard is not installed.
        StudyNotFoundError: if there is no such study.
        UsageError: if the port is taken or the host is none of this machine's.
        StorageError: if the storage cannot be reached.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise MissingDependencyError(
            "ablate dashboard: needs optuna-dashboard, got none. "
            f"Install it with: {pip_install('dashboard')}"
        ) from error
    place = locate(study)
    storage = open_storage(place.url, create=False)
    with storage_errors(place.url):
        try:
            study_id = storage.get_study_id_from_name(place.name)
        except KeyError:
            raise StudyNotFoundError(
                f"study {place.name}: must have been launched, got no such study in "
                f"{place.shown}. Launch it first, or check name and storage."
            ) from None
    try:
        application = _guarded(wsgi(storage), host)
        server = make_server(host, port, application, _Server, _Quiet)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"ablate dashboard: needs a free address, got {host}:{port}: {reason}. "
            "Choose another --port (0: any free one), or a --host of this machine."
        ) from error
    return server, f"http://{host}:{server.server_port}/dashboard/studies/{study_id}"


def _guarded(application: _Application, host: str) -> _Application:
    """Answers reading requests alone, with no secret in what it says, and refuses others with 403.

    Where no other machine reaches it, it answers only to the names of this machine's own address: a
    page of another host could otherwise read it under a name of its own (DNS rebinding).
    """
    own = {"localhost", "127.0.0.1", "::1"}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
        why = ""
        if host in own and asked not in own:
            why = "the dashboard answers to localhost; give --host for another name"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
            why = "the dashboard is read-only; change the study with ablate"
        if why:
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [json.dumps({"reason": why}).encode()]
        if not environ["PATH_INFO"].startswith("/api/"):
            return application(environ, start_response)
        # JSON that has what other tools wrote.
        head: list[Any] = []
        given = b"".join(application(environ, lambda *start: head.extend(start)))
        content = masked(given.decode()).encode()
        headers = [header for header in head[1] if header[0].lower() != "content-length"]
        start_response(head[0], [*headers, ("Content-Length", str(len(content)))])
        return [content]

    return answer
