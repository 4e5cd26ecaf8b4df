"""Two virtual machines with a network between them, as two network namespaces.

Needs root and Linux: `ip netns`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD, _NODE, _PORT = "10.88.0.1", "10.88.0.2", 6399
_SECONDS = 60


class NotAllowedError(Exception):
    """This user cannot create network namespaces on this machine."""


@dataclass(frozen=True)
class TwoMachines:
    """A Ray head with one CPU, and a node with two, connected by a network link.

    Attributes:
        address: of the cluster, as seen from the head's machine.
        on_head: what stands in front of a command that is to run on the head's machine.
        environment: with the cluster's token.
        node: the process of the node; it ends when the cluster has given the node up.
    """

    address: str
    on_head: tuple[str, ...]
    environment: dict[str, str]
    node: subprocess.Popen[bytes]

    def cut(self) -> None:
        """Disconnect the network link."""
        _run(*self.on_head, "ip", "link", "set", "cable", "down")

    def mend(self) -> None:
        """Connect the network link again."""
        _run(*self.on_head, "ip", "link", "set", "cable", "up")


@contextlib.contextmanager
def two_machines(folder: Path) -> Iterator[TwoMachines]:
    """Both machines, with Ray on them; gone in the end.

    Args:
        folder: for Ray's own output.

    Raises:
        NotAllowedError: where there may be no network namespaces.
    """
    names = [f"ablate-{os.getpid()}-{one}" for one in ("head", "node")]
    # A node that is cut off is given up after some 6 s, not after 65.
    soon = {"period_ms": "1000", "timeout_ms": "2000", "failure_threshold": "3"}
    environment = {
        **os.environ,
        **{f"RAY_health_check_{name}": value for name, value in soon.items()},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    ray = str(Path(sys.executable).with_name("ray"))
    with contextlib.ExitStack() as stack:
        for name in names:
            _make(name)
            stack.callback(_run, "ip", "netns", "del", name)
        _lay_cable(*names)
        heads, nodes = [("ip", "netns", "exec", name) for name in names]

        def start(inside: tuple[str, ...], log: str, *arguments: str) -> subprocess.Popen[bytes]:
            for last in (False, True):  # Ray allows a node 30 s, which a busy machine may exceed
                with (folder / log).open("wb") as output:
                    process = subprocess.Popen(
                        [*inside, ray, "start", "--block", *arguments],
                        env=environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                stack.callback(_end, process)
                try:
                    _wait_for_text(folder / log, "Ray runtime started", process)
                except AssertionError:
                    if last:
                        raise
                    _end(process)
                else:
                    break
            return process

        address = f"{_HEAD}:{_PORT}"
        own = ("--head", f"--port={_PORT}", "--num-cpus=1", "--include-dashboard=false")
        start(heads, "head.log", *own, f"--node-ip-address={_HEAD}")
        join = (f"--address={address}", "--num-cpus=2", f"--node-ip-address={_NODE}")
        yield TwoMachines(address, heads, environment, start(nodes, "node.log", *join))


def _make(name: str) -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NotAllowedError("the right to make network namespaces (root, and iproute2's `ip`)")
    try:
        _run("ip", "netns", "add", name)
    except subprocess.CalledProcessError as error:
        raise NotAllowedError(f"network namespaces: {error.stderr.strip()}") from error


def _lay_cable(head: str, node: str) -> None:
    ends = ("name", "cable", "netns")
    _run("ip", "link", "add", *ends[1:], head, "type", "veth", "peer", *ends, node)
    for name, address in ((head, _HEAD), (node, _NODE)):
        _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "cable")
        for device in ("lo", "cable"):
            _run("ip", "-n", name, "link", "set", device, "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _wait_for_text(file: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS
    while text not in file.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"Ray did not start:\n{file.read_text(errors='replace')}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
