"""Starts Ray on this machine, or connects to a cluster, which must answer in time.

Ray's output goes to a file of the run, not to the terminal: a Ray daemon that dies sends about 60
lines of internal state to every driver, and a thread of Ray prints them in the driver, regardless
of `log_to_driver`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from ray._private import worker

from ablate.errors import AblateError, InfrastructureError, UsageError
from ablate.errors.masking import environment_without_secrets, masked
from ablate.search.drive import held
from ablate.study.provenance import usable_cores
from ablate.study.settings import RunSettings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray._private import parameter, services, utils

KNOCK_SECONDS = 10
CONNECT_SECONDS = 60

_OTHER_TOKEN = "InvalidAuthToken"

_OBJECT_STORE_BYTES = 100 * 2**20
"""Rows and reports are a few kilobytes; data goes through memory-mapped files."""

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

# A separate process connects: if token or version are wrong, Ray's C++ code tries for minutes or
# ends the process, and neither can be undone in the driver.
_TRY = """
import json, logging, sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except BaseException as error:
    print(json.dumps({"kind": type(error).__name__, "text": str(error)}), flush=True)
else:
    print(json.dumps({}), flush=True)
"""


def connect(address: str | None, settings: RunSettings) -> None:
    """Start Ray here, or connect to a cluster.  Its processes inherit no secret.

    Args:
        address: "auto" or "HOST:PORT"; None starts Ray on this machine.
        settings: of the study; if Ray is started, it gets as many CPUs as the trials request.

    Raises:
        UsageError: if the address cannot be used for a driver.
        InfrastructureError: if Ray does not start, no cluster answers within `CONNECT_SECONDS`, or
            it refuses.
    """
    with _masked_command():
        if address is None:
            _start(settings)
        else:
            check_answer(address)
            with held(), _handlers_kept():
                ray.init(address=address, **_QUIET)


def check_answer(address: str) -> None:
    """Check within `CONNECT_SECONDS` whether a cluster accepts this machine.

    Raises:
        UsageError, InfrastructureError: as `connect`.
    """
    if "://" in address:
        raise UsageError(
            f"--ray-address {address}: must be auto or HOST:PORT, got a URL. Ray's client "
            "(ray://) cannot run Ray Tune's driver: run the command on a node of the cluster, "
            "with --ray-address auto."
        )
    if address != "auto":
        _knock(address)
    said, complaint = _try(address)
    if _OTHER_TOKEN in complaint:
        raise _wrong_token(address, "the one on this machine is missing or wrong")
    if said is None:
        raise InfrastructureError(
            f"--ray-address {address}: a Ray cluster must accept this machine, got no answer in "
            f"{CONNECT_SECONDS} s. Check that the token (RAY_AUTH_MODE, RAY_AUTH_TOKEN) and the "
            "versions of ray and python match the head's, and that no firewall blocks the "
            "connection (ray status)."
        )
    lines = said.strip().splitlines()
    last = complaint.strip().splitlines()[-1:] or ["the connecting process ended without a message"]
    answer = json.loads(lines[-1]) if lines else {"kind": "", "text": last[0]}
    if answer:
        raise _refusal(address, answer["kind"], answer["text"])


def _try(address: str) -> tuple[str | None, str]:
    """Connect in a separate process.

    Returns:
        (its result, None if it did not end in time; the errors of Ray's C++ code).
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _TRY, address],
            stdout=out,
            stderr=errors,
            text=True,
            env=environment_without_secrets(),
        )
        end = time.monotonic() + CONNECT_SECONDS
        try:
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
                if _OTHER_TOKEN in _read(errors):  # Ray would try for 20 s
                    break
            return (_read(out) if process.poll() is not None else None), _read(errors)
        finally:
            process.kill()
            process.wait()


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _knock(address: str) -> None:
    """Fail within seconds if nothing listens at the address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"--ray-address {address}: must be auto or HOST:PORT, got neither. "
            "Ray's own port is 6379 unless `ray start --head --port` set another."
        )
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InfrastructureError(
            f"--ray-address {address}: a Ray cluster must answer there, got: {reason} (tried for "
            f"up to {KNOCK_SECONDS} s). Start one with `ray start --head`, or leave the option out."
        ) from error


def _refusal(address: str, kind: str, text: str) -> AblateError:
    """Shorten Ray's message to one line."""
    line = " ".join(text.split())
    if kind == "AuthenticationError":
        return _wrong_token(address, "this machine has none")
    if "ersion mismatch" in line:
        return InfrastructureError(
            f"--ray-address {address}: ray and python must match the cluster's, got: {line[:300]}. "
            "Install the same versions on all machines."
        )
    first = next((one.strip() for one in text.splitlines() if one.strip()), kind)
    return InfrastructureError(
        f"--ray-address {address}: a Ray cluster must answer there, got: {first[:300]}. "
        "Start one with `ray start --head` and run this on one of its nodes, or leave the "
        "option out."
    )


def _wrong_token(address: str, what: str) -> InfrastructureError:
    return InfrastructureError(
        f"--ray-address {address}: the cluster's token must be given, and {what}. Print it on the "
        "head with `ray get-auth-token`, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
        "RAY_AUTH_TOKEN_PATH, a file; without either it is read from ~/.ray/auth_token)."
    )


def _start(settings: RunSettings) -> None:
    cpus = usable_cores()
    if settings.parallel != "auto":  # as many workers as requested, also on fewer cores
        cpus = settings.cpus_per_trial * settings.parallel
    with held(), _apart_from_the_driver(), _handlers_kept(), few_daemons():
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                object_store_memory=_OBJECT_STORE_BYTES,
                # Else the workers that Ray starts ahead end after a second of the preparation.
                _system_config={"idle_worker_killing_time_threshold_ms": 60_000},
                **_QUIET,
            )
        except Exception as error:  # Ray raises bare ones
            said = (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
            raise InfrastructureError(
                f"Ray must start on this machine, got: {said}. If the machine was busy, run the "
                "command again; without Ray, --executor inline runs one trial at a time."
            ) from error


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _apart_from_the_driver() -> AbstractContextManager[None]:
    """Protect Ray's processes from signals that a terminal or batch system sends to a process
    group, and keep the storage's secrets from them.

    The driver gets the signals and drains, which requires Ray.  Ray's processes end with the
    driver.
    """
    popen = services.ConsolePopen

    def start(*given: Any, env: Mapping[str, str], **named: Any) -> Any:
        return popen(*given, env=environment_without_secrets(env), process_group=0, **named)

    return _replaced(services, "ConsolePopen", start)


@contextmanager
def few_daemons() -> Iterator[None]:
    """Start no autoscaler, dashboard or log forwarding: three Pythons that nothing here uses, and
    that `ray.init` has no option for."""
    params = partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)
    with (
        _replaced(parameter, "RayParams", params),
        _replaced(services, "start_api_server", lambda *_given, **_named: (None, None)),
    ):
        yield


def _handlers_kept() -> AbstractContextManager[None]:
    """Prevent Ray from replacing the driver's signal handlers."""
    return _replaced(utils, "set_sigterm_handler", lambda _handler: None)


def _masked_command() -> AbstractContextManager[None]:
    """Mask passwords in the driver's command line, which Ray stores and logs."""
    get_name = utils.get_entrypoint_name
    return _replaced(utils, "get_entrypoint_name", lambda: masked(get_name()))


RAY_LOG_FILE = "ray.log"
"""In the folder of a run."""

_KEPT_MESSAGES = 100
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class RayOutput:
    """Captures what Ray would print in this process, until `close`.

    The file may be given later; earlier lines are kept.  It never raises: a full disk loses lines,
    but no trial.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._waiting: deque[str] = deque(maxlen=_KEPT_MESSAGES)
        self._lock = threading.Lock()
        self._print = worker.print_to_stdstream
        worker.print_to_stdstream = self._take
        self._logger = logging.getLogger("ray")
        self._handlers = self._logger.handlers
        self._logger.handlers = [_Handler(self)]

    def keep_in(self, folder: Path) -> None:
        """Append to the file in this run folder; it is created with the first line."""
        with self._lock:
            self._file = folder / RAY_LOG_FILE
            waiting = list(self._waiting)
            self._waiting.clear()
        for text in waiting:
            self.write(text)

    @property
    def said(self) -> str:
        """The end of a message that names the file; "" if there is no output."""
        file = self._file
        if file is None or not file.is_file():
            return ""
        with suppress(FileNotFoundError):  # the current folder was deleted
            file = Path(os.path.relpath(file))
        return f" Ray's output: {file}"

    def close(self) -> None:
        """Let Ray print again."""
        worker.print_to_stdstream = self._print
        self._logger.handlers = self._handlers

    def write(self, text: str) -> None:
        """Append output of Ray."""
        text = masked(_COLOUR.sub("", text).rstrip("\n"))
        with self._lock:
            if self._file is None:
                self._waiting.append(text)
                return
            try:
                with self._file.open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text + "\n")
            except OSError:
                pass

    def _take(self, data: dict[str, Any], *_given: Any, **_named: Any) -> None:
        self.write("\n".join(f"({data.get('pid')}) {line}" for line in data.get("lines", ())))


class _Handler(logging.Handler):
    def __init__(self, output: RayOutput) -> None:
        super().__init__(logging.WARNING)
        self._output = output
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._output.write(self.format(record))
