"""Starts Ray on this machine, or connects to a cluster, which must answer in time."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

import ray

from ablate.errors import AblateError, InfrastructureError, UsageError
from ablate.errors.masking import environment_without_secrets
from ablate.search.drive import held
from ablate.search.ray_private import own_processes, quiet_connection
from ablate.study.provenance import usable_cores
from ablate.study.settings import RunSettings

KNOCK_SECONDS = 10
CONNECT_SECONDS = 60

_OTHER_TOKEN = "InvalidAuthToken"

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
    if address is not None:
        check_answer(address)
        with held(), quiet_connection():
            ray.init(address=address, **_QUIET)
        return
    cpus = usable_cores()
    if settings.parallel != "auto":  # as many workers as requested, also on fewer cores
        cpus = settings.cpus_per_trial * settings.parallel
    with held(), quiet_connection(), own_processes():
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                # Rows and reports are a few kilobytes; data goes through memory-mapped files.
                object_store_memory=100 * 2**20,
                # Else the workers that Ray starts ahead end after a second of the preparation.
                _system_config={"idle_worker_killing_time_threshold_ms": 60_000},
                **_QUIET,
            )
        except Exception as error:  # Ray raises bare ones
            reason = (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
            raise InfrastructureError(
                f"Ray must start on this machine, got: {reason}. If the machine was busy, run the "
                "command again; without Ray, `executor='inline'` runs one trial at a time."
            ) from error


def check_answer(address: str) -> None:
    """Check within `CONNECT_SECONDS` whether a cluster accepts this machine.

    Raises:
        UsageError, InfrastructureError: as `connect`.
    """
    if "://" in address:
        raise UsageError(
            f"`ray_address={address}`: must be auto or HOST:PORT, got a URL. Ray's client "
            "(ray://) cannot run Ray Tune's driver: run the command on a node of the cluster, "
            "with `ray_address='auto'`."
        )
    if address != "auto":
        _knock(address)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _TRY, address],
            stdout=output,
            stderr=output,
            text=True,
            env=environment_without_secrets(),
        )
        end = time.monotonic() + CONNECT_SECONDS
        text, in_time = "", True
        try:
            while process.poll() is None and in_time and _OTHER_TOKEN not in text:
                time.sleep(0.1)
                in_time = time.monotonic() < end
                output.seek(0)
                text = output.read()
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        lines = output.read().strip().splitlines()
    if _OTHER_TOKEN in text:  # Ray would try for 20 s
        raise _wrong_token(address, "the one on this machine is missing or wrong")
    if not in_time:
        raise InfrastructureError(
            f"`ray_address={address}`: a Ray cluster must accept this machine, got no answer in "
            f"{CONNECT_SECONDS} s. Check that the token (RAY_AUTH_MODE, RAY_AUTH_TOKEN) and the "
            "versions of ray and python match the head's, and that no firewall blocks the "
            "connection (ray status)."
        )
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    last = lines[-1] if lines else "the connecting process ended without a message"
    if answer := (answers[-1] if answers else {"kind": "", "text": last}):
        raise _refusal(address, answer["kind"], answer["text"])


def _knock(address: str) -> None:
    """Fail within seconds if nothing listens at the address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"`ray_address={address}`: must be auto or HOST:PORT, got neither. "
            "Ray's own port is 6379 unless `ray start --head --port` set another."
        )
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InfrastructureError(
            f"`ray_address={address}`: a Ray cluster must answer there, got: {reason} (tried for "
            f"up to {KNOCK_SECONDS} s). Start one with `ray start --head`, or leave the option out."
        ) from error


def _refusal(address: str, kind: str, text: str) -> AblateError:
    """Ray's message in one line."""
    if kind == "AuthenticationError":
        return _wrong_token(address, "this machine has none")
    line = " ".join(text.split())[:300]
    if "ersion mismatch" in line:
        return InfrastructureError(
            f"`ray_address={address}`: ray and python must match the cluster's, got: {line}. "
            "Install the same versions on all machines."
        )
    first = text.strip().partition("\n")[0].strip()[:300] or kind
    return InfrastructureError(
        f"`ray_address={address}`: a Ray cluster must answer there, got: {first}. "
        "Start one with `ray start --head` and run this on one of its nodes, or leave the "
        "option out."
    )


def _wrong_token(address: str, what: str) -> InfrastructureError:
    return InfrastructureError(
        f"`ray_address={address}`: the cluster's token must be given, and {what}. Print it on the "
        "head with `ray get-auth-token`, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
        "RAY_AUTH_TOKEN_PATH, a file; without either it is read from ~/.ray/auth_token)."
    )
