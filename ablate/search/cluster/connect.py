"""Starts Ray on this machine, or connects to a cluster, which must answer in time."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.runtime_env import RuntimeEnv

from ablate.errors import InfrastructureError, UsageError, error_text
from ablate.errors.masking import environment_without_secrets
from ablate.search.drive import held
from ablate.search.ray_private import counts_gpus, own_processes, quiet_connection
from ablate.study.provenance import usable_cores
from ablate.study.settings import RunSettings

KNOCK_SECONDS = 10
CONNECT_SECONDS = 60

_OTHER_TOKEN = "InvalidAuthToken"

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

# A separate process connects: if token or version are wrong, Ray's C++ code tries for minutes or
# ends the process, and neither can be undone in the driver.
_TRY = """
import logging, sys
import ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except BaseException as error:
    print("refused:", type(error).__name__, *str(error).split(), flush=True)
    sys.exit(1)
"""


def connect(address: str | None, settings: RunSettings, imports: Sequence[str] = ()) -> None:
    """Start Ray here, or connect to a cluster.  Its processes inherit no secret.

    Args:
        address: "auto" or "HOST:PORT"; None starts Ray on this machine.
        settings: of the study; if Ray is started, it gets as many CPUs as the trials request.
        imports: packages that Ray's processes import as they start, beside the preparation; not
            where trials may use a GPU: fewer of them fit than the processes for each CPU.

    Raises:
        UsageError: if the address cannot be used for a driver, or `run.runtime_env` by Ray.
        InfrastructureError: if Ray does not start, no cluster answers within `CONNECT_SECONDS`, or
            it refuses.
    """
    options = {**_QUIET, "runtime_env": _runtime_env(settings)}
    if address is not None:
        check_answer(address)
        with held(), quiet_connection():
            ray.init(address=address, **options)
        return
    cpus = usable_cores()
    if settings.parallel != "auto":  # as many workers as requested, also on fewer cores
        cpus = settings.cpus_per_trial * settings.parallel
    if settings.gpus_per_trial != 0 and counts_gpus():
        imports = ()
    # Each trial's, and that of the preparation, which ends with it.
    ahead = int(cpus // settings.cpus_per_trial) + 1
    with held(), quiet_connection(), own_processes(ahead):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                # Rows and reports are a few kilobytes; data goes through memory-mapped files.
                object_store_memory=100 * 2**20,
                _system_config={
                    # Else the workers that Ray starts ahead end after a second of the preparation.
                    "idle_worker_killing_time_threshold_ms": 60_000,
                    "preload_python_modules": list(imports),
                },
                **options,
            )
        except Exception as error:  # Ray raises bare ones
            reason = (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
            raise InfrastructureError(
                f"Ray must start on this machine, got: {reason}. If the machine was busy, run the "
                "command again; without Ray, `executor='inline'` runs one trial at a time."
            ) from error


def _runtime_env(settings: RunSettings) -> RuntimeEnv | None:
    try:
        return RuntimeEnv(**settings.runtime_env) if settings.runtime_env else None
    except Exception as error:  # Ray raises bare ones
        rule = f"must be a runtime environment of Ray, got {error_text(error)}"
        raise UsageError(f"run.runtime_env: {rule}. Correct it.") from error


def check_answer(address: str) -> None:
    """Check within `CONNECT_SECONDS` whether a cluster accepts this machine.

    Raises:
        UsageError, InfrastructureError: as `connect`.
    """
    where = f"`ray_address={address}`"
    if "://" in address:
        raise UsageError(
            f"{where}: must be auto or HOST:PORT, got a URL. Ray's client (ray://) cannot run Ray "
            "Tune's driver: run on a node of the cluster, with `ray_address='auto'`."
        )
    if address != "auto":
        _knock(where, address)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _TRY, address],
            stdout=output,
            stderr=output,
            text=True,
            env=environment_without_secrets(),
        )
        end = time.monotonic() + CONNECT_SECONDS
        text, code = "", None
        try:
            # With another token, Ray would try for 20 s.
            while code is None and time.monotonic() < end and _OTHER_TOKEN not in text:
                time.sleep(0.1)
                code = process.poll()
                output.seek(0)
                text = output.read()
        finally:
            process.kill()
            process.wait()
    token = (
        "the cluster's token must be given, and {}. Print it on the head with `ray "
        "get-auth-token`, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, "
        "a file; without either it is read from ~/.ray/auth_token)."
    )
    lines = text.strip().splitlines() or ["the connecting process ended without a message"]
    kind, _, reason = lines[-1].removeprefix("refused: ").partition(" ")
    if _OTHER_TOKEN in text:
        problem = token.format("the one on this machine is missing or wrong")
    elif code is None:
        problem = (
            f"a Ray cluster must accept this machine, got no answer in {CONNECT_SECONDS} s. Check "
            "that the token (RAY_AUTH_MODE, RAY_AUTH_TOKEN) and the versions of ray and python "
            "match the head's, and that no firewall blocks the connection (ray status)."
        )
    elif code == 0:
        return
    elif kind == "AuthenticationError":
        problem = token.format("this machine has none")
    elif "ersion mismatch" in reason:
        problem = (
            f"ray and python must match the cluster's, got: {reason[:300]}. Install the same "
            "versions on all machines."
        )
    else:
        problem = (
            f"a Ray cluster must answer there, got: {reason[:300]}. Start one with `ray start "
            "--head` and run this on one of its nodes, or leave the address out."
        )
    raise InfrastructureError(f"{where}: {problem}")


def _knock(where: str, address: str) -> None:
    """Fail within seconds if nothing listens at the address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"{where}: must be auto or HOST:PORT, got neither. "
            "Ray's own port is 6379 unless `ray start --head --port` set another."
        )
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InfrastructureError(
            f"{where}: a Ray cluster must answer there, got: {reason} (tried for up to "
            f"{KNOCK_SECONDS} s). Start one with `ray start --head`, or leave the address out."
        ) from error
