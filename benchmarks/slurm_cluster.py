"""A private Slurm: slurmctld, two slurmd on this machine, and munged."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")

_CONFIGURATION = """
ClusterName=ablate
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
KillWait=5
SlurmdTimeout=10
ReturnToService=2
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus}
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus}
PartitionName=all Nodes={nodes[0]},{nodes[1]} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Programs of Slurm and munge that are not installed."""
    return [name for name in PROGRAMS if _program(name) is None]


class SlurmCluster:
    """Two nodes with all CPUs of the machine; requeued jobs start again after about 5 s.

    Attributes:
        nodes: their names; jobs begin on the first, which is this machine's name.
        environment: that its commands are run with.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ablate-slurm-"))
        host = socket.gethostname().partition(".")[0]
        self.nodes = (host, f"{host}z")
        configuration = self._folder / "slurm.conf"
        (self._folder / "state").mkdir()
        for node in self.nodes:
            (self._folder / f"spool-{node}").mkdir()
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                host=host,
                user=getpass.getuser(),
                ports=_free_ports(3),
                nodes=self.nodes,
                cpus=os.cpu_count(),
            )
        )
        (self._folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        self.environment = {**os.environ, "SLURM_CONF": str(configuration)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the daemons, and wait until both nodes are idle."""
        key = self._folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {
            "key-file": "munge.key",
            "socket": "munge.socket",
            "pid-file": "munge.pid",
            "log-file": "munge.log",
            "seed-file": "munge.seed",
        }
        options = [f"--{option}={self._folder / name}" for option, name in files.items()]
        self._folder.chmod(0o755)
        self._start("munged", "--foreground", *options)
        self._wait((self._folder / "munge.socket").exists, "munged")
        self._start("slurmctld", "-D")
        for node in self.nodes:
            self._start("slurmd", "-D", "-N", node)
        self._wait(lambda: self._run("sinfo", "-h", "-o", "%D %t") == "2 idle", "Slurm")

    def submit(self, folder: Path, *arguments: str) -> int:
        """`sbatch` in a folder; the number of the job."""
        return int(self._run("sbatch", "--parsable", *arguments, cwd=folder))

    def job(self, number: int) -> dict[str, str]:
        """Fields of `scontrol show job` for a job: JobState, Restarts, ExitCode, ..."""
        words = self._run("scontrol", "show", "job", str(number)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def signal(self, number: int, name: str) -> None:
        """Send a signal to the shell of a job, as `--signal=B:NAME` does before the limit."""
        self._run("scancel", f"--signal={name}", "--batch", str(number))

    def lose_second_node(self) -> None:
        """Kill all its processes at once."""
        daemon = self._daemons.pop(f"slurmd {self.nodes[1]}")
        daemon.kill()
        daemon.wait()
        self._kill(f"SLURMD_NODENAME={self.nodes[1]}")

    def remove(self) -> None:
        """End jobs and daemons, and remove what they wrote."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("scancel", "--user", getpass.getuser(), "--full", "--signal=KILL")
        self._kill("SLURM_CONF=")
        for daemon in reversed(self._daemons.values()):
            daemon.kill()
            daemon.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program is not None
        key = f"{name} {arguments[-1]}" if name == "slurmd" else name
        with (self._folder / f"{key}.out").open("wb") as output:
            self._daemons[key] = subprocess.Popen(
                [program, *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=cwd, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _wait(self, condition: object, what: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                if condition():  # type: ignore[operator]
                    return
            time.sleep(0.2)
        said = "\n".join(file.read_text() for file in sorted(self._folder.glob("*.out")))
        raise AssertionError(f"{what} did not start:\n{said}")

    def _kill(self, variable: str) -> None:
        """Kill this Slurm's processes with such a variable, and the slurmstepd over each."""
        own = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (process / "environ").read_bytes().split(b"\0")
                if own in environment and any(
                    one.startswith(variable.encode()) for one in environment
                ):
                    found |= {int(process.name), *_stepd_over(process)}
        for pid in found - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _stepd_over(process: Path) -> list[int]:
    with contextlib.suppress(OSError, StopIteration):
        lines = (process / "status").read_text().splitlines()
        parent = next(line.split()[1] for line in lines if line.startswith("PPid:"))
        if (Path("/proc") / parent / "comm").read_text().startswith("slurmstepd"):
            return [int(parent)]
    return []


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
