"""What is used of Ray without a public interface; checked with ray 2.60, which pyproject.toml says.

No public one does it: Ctrl-C must not reach Ray's processes while the study drains, no password may
reach them, three daemons that nothing uses cost a second, and Ray prints into the driver.  A head
of our own (`ray start --head --block`) would replace some of it.  It loads Ray in one Python more,
and took 2 to 10 s longer than `ray.init` in each of six pairs on two cores.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray._private import parameter, services, utils, worker
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.state import available_resources_per_node
from ray.air._internal import usage
from ray.tune.execution import class_cache

from ablate.errors.masking import environment_without_secrets, masked

# Without variables of their own, Tune's actors are processes that Ray has started ahead; what
# these would set, `ray_worker` sets in its process.
class_cache.DEFAULT_ENV_VARS.clear()
class_cache.ENV_VARS_TO_PROPAGATE.discard("RAY_CHDIR_TO_TRIAL_DIR")
# Usage statistics are off; to count callbacks, Tune would import MLflow and W&B: two seconds.
usage.tag_callbacks = lambda _callbacks: False


@contextmanager
def quiet_connection() -> Iterator[None]:
    """Within it, `ray.init` keeps the driver's signal handlers, and stores its command line with
    passwords masked."""
    name = utils.get_entrypoint_name
    with (
        patch.object(utils, "set_sigterm_handler", lambda _handler: None),
        patch.object(utils, "get_entrypoint_name", lambda: masked(name())),
    ):
        yield


_STARTED_AHEAD = "--num_prestart_python_workers="


@contextmanager
def own_processes(ahead: int) -> Iterator[None]:
    """Within it, Ray's processes get no signal of the driver's terminal or batch system, and no
    secret of its environment, and so many of them are started ahead.

    The driver gets the signals and drains, which requires Ray.  Ray's processes end with it.
    """
    popen = services.ConsolePopen

    def start(command: list[str], *given: Any, env: Mapping[str, str], **named: Any) -> Any:
        command = [
            f"{_STARTED_AHEAD}{ahead}" if part.startswith(_STARTED_AHEAD) else part
            for part in command
        ]
        env = environment_without_secrets(env)
        return popen(command, *given, env=env, process_group=0, **named)

    with few_daemons(), patch.object(services, "ConsolePopen", start):
        yield


@contextmanager
def few_daemons() -> Iterator[None]:
    """Within it, Ray starts no autoscaler, dashboard or log forwarding."""
    params = partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)
    with (
        patch.object(parameter, "RayParams", params),
        patch.object(services, "start_api_server", lambda *_given, **_named: (None, None)),
    ):
        yield


def counts_gpus() -> bool:
    """Whether Ray, started here, would find a GPU."""
    manager = get_accelerator_manager_for_resource("GPU")
    return manager is not None and manager.get_current_node_num_accelerators() > 0


def has_all_cpus(node: str, cpus: int) -> bool:
    """Whether so many CPUs of a node are free.

    Args:
        node: its id.
    """
    return bool(available_resources_per_node().get(node, {}).get("CPU", 0) >= cpus)


def actor_of(tune_trial: Any) -> Any:
    """The actor of a running trial; None if it has none."""
    return tune_trial.temporary_state.ray_actor


def shrink(tune_trial: Any) -> None:
    """Free the parts of an ended trial that only Tune's reports use: Tune keeps every trial."""
    tune_trial.config, tune_trial.evaluated_params, tune_trial.experiment_tag = {}, {}, ""
    data = tune_trial.run_metadata
    data.last_result, data.metric_analysis, data.metric_n_steps = {}, {}, {}


RAY_LOG_FILE = "ray.log"
"""In the folder of a run."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class RayOutput(logging.Handler):
    """Writes what Ray would print in this process to a file of the run, until `close`.

    A Ray daemon that dies sends about 60 lines of internal state to every driver, and a thread of
    Ray prints them there, regardless of `log_to_driver`.  Never raises: a full disk loses lines,
    but no trial.  Lines before `keep_in` are dropped.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._file: Path | None = None
        self._writing = threading.Lock()
        self._logger = logging.getLogger("ray")
        self._before = worker.print_to_stdstream, self._logger.handlers
        worker.print_to_stdstream = self._take
        self._logger.handlers = [self]

    def keep_in(self, folder: Path) -> None:
        """Append to the file in this run folder; it is created with the first line."""
        self._file = folder / RAY_LOG_FILE

    @property
    def reference(self) -> str:
        """The end of a message that names the file; "" if there is no output."""
        file = self._file
        if file is None or not file.is_file():
            return ""
        with suppress(FileNotFoundError):  # the current folder was deleted
            file = Path(os.path.relpath(file))
        return f" Ray's output: {file}"

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))

    def close(self) -> None:
        """Let Ray print again."""
        worker.print_to_stdstream, self._logger.handlers = self._before
        super().close()

    def _take(self, data: dict[str, Any], *_given: Any, **_named: Any) -> None:
        self._write("\n".join(f"({data.get('pid')}) {line}" for line in data.get("lines", ())))

    def _write(self, text: str) -> None:
        text = masked(_COLOUR.sub("", text).rstrip("\n"))
        if self._file is not None:
            with (
                suppress(OSError),
                self._writing,
                self._file.open("a", encoding="utf-8", errors="replace") as file,
            ):
                file.write(text + "\n")
