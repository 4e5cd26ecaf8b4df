"""The command line.  Signatures here; what a command needs is imported when it runs."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import ablate
from ablate.cli import cache as cli_cache
from ablate.cli import evaluate as cli_evaluate
from ablate.cli import figures as cli_figures
from ablate.cli import init as cli_init
from ablate.cli import study as cli_study
from ablate.cli.options import (
    FROM_1,
    in_options,
    json_option,
    option,
    refuse_given,
    run_options,
    said_when_slow,
    say,
    set_option,
    study_file_argument,
)
from ablate.cli.show import print_result, run_and_show
from ablate.errors import AblateError, UsageError
from ablate.errors.device import fault_of_machine
from ablate.errors.masking import keep_secrets_in
from ablate.files.shown import count_text, shown_if
from ablate.report.terminal.streams import print_traceback, shown_output

if TYPE_CHECKING:
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.report.terminal.live import Display
    from ablate.study.settings import Study


class _Commands(click.Group):
    """Turns every error raised on purpose into one line and its exit code.

    No command ends because a terminal or pipe lacks a character, or the disk that takes its output
    is full: a study goes on, and a command that is there to print says so as it ends.
    """

    _runs_study = False

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        keep_secrets_in(sys.argv[1:] if args is None else list(args))
        sys.excepthook = print_traceback
        with shown_output() as output:
            try:
                return super().main(args, *rest, **named)
            except SystemExit as end:
                sys.stdout.flush()
                if output.error is None:
                    raise
                why = output.error.strerror
                say(
                    f"standard output: must be writable, got: {why}. Part of the output is lost, "
                    "nothing else: free disk space, then run the command again."
                )
                raise SystemExit(end.code if self._runs_study else end.code or 3) from None

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(context, arguments)
        options = command.params if command is not None else ()
        self._runs_study = any(option.name == "executor" for option in options)
        return name, command, rest

    def invoke(self, context: click.Context) -> Any:
        try:
            try:
                Path.cwd()
            except OSError as error:
                raise UsageError(
                    f"working folder: must exist, got: {error.strerror}. It was deleted or moved: "
                    "change to another one."
                ) from None
            return super().invoke(context)
        except click.NoSuchOption as error:
            raise _with_key(error) from None
        except KeyboardInterrupt:  # a started run prints how to resume instead
            say("stopped")
            context.exit(130)
        except (AblateError, OSError, MemoryError, RuntimeError, UnicodeEncodeError) as error:
            fault = error if isinstance(error, AblateError) else fault_of_machine(error)
            if fault is None or context.params.get("debug"):
                raise
            say(in_options(str(fault)))
            for note in getattr(error, "__notes__", ()):  # a trial's traceback
                click.echo(note, err=True)
            context.exit(fault.exit_code)


def _with_key(error: click.NoSuchOption) -> click.NoSuchOption:
    """The same, where it is a key of the study file: --trials is --set search.trials=VALUE."""
    from ablate.errors import also_called
    from ablate.study.keys import leaves, meant_keys

    options = error.ctx.command.params if error.ctx is not None else ()
    if not any(option.name == "overrides" for option in options):
        return error
    name = error.option_name.lstrip("-").replace("-", "_")
    keys = [*also_called(name, leaves()), *sorted(meant_keys(name, leaves()), key=len)]
    if not keys:
        return error
    message = f"No such option '{error.option_name}'. Did you mean --set {keys[0]}=VALUE?"
    return click.NoSuchOption(error.option_name, message, ctx=error.ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "color": True})
@option("--debug", "Show the traceback of an error.")
@click.version_option(ablate.__version__, message="ablate %(version)s")
def main(debug: bool) -> None:
    """Hyperparameter search and ablation studies for robustness finetuning.

    STUDY is a study file, a run folder (runs/NAME), URL#NAME, #NAME with ABLATE_STORAGE set, the
    name of a study that comes with ablate (ablate init lists them), or, for reading, an archive
    (FILE.tar).

    Exit codes: 0 success; 1 no complete trial, or too many failed trials; 2 invalid arguments or
    study file; 3 infrastructure failure (the study can be resumed); 130 Ctrl-C; 143 SIGTERM;
    138 SIGUSR1.
    """


@main.command()
@study_file_argument
@set_option()
@option(
    "--no-import",
    "For a file of somebody else: import none of the functions that it names, and print what "
    "could not be checked.",
)
def check(file: Path, overrides: tuple[str, ...], no_import: bool) -> None:
    """Check a study file and print all errors.  Each has its file:line:column.

    Functions that the file names are imported, which runs their code; with --no-import they are
    not.  Of an image folder, it counts classes and images and decodes up to 1,000 of them; `ablate
    launch --dry-run` decodes all.
    """
    from ablate.study.callables import imports_limited

    with ExitStack() as stack:
        unchecked = stack.enter_context(imports_limited()) if no_import else []
        _check(file, overrides)
    for name in dict.fromkeys(unchecked):
        more = ", and with it loss.fma.layers, finetune.frozen, robustness.adapt_batch_norm"
        click.echo(
            f"{file}: not checked, because not imported: {name}"
            f"{shown_if(name.startswith('model.name '), more)}"
        )


def _check(file: Path, overrides: tuple[str, ...]) -> None:
    from ablate.ledger.record import learned_text
    from ablate.lifecycle.ablation_reference import known_trials
    from ablate.lifecycle.known_names import names_for
    from ablate.lifecycle.place import place_of_file
    from ablate.lifecycle.study_file import image_lines, network_notes
    from ablate.robustness.suites import find_suite, types_without_effect
    from ablate.space.parse import parse_space
    from ablate.study.checks import study_notes

    place = place_of_file(file, overrides, must_search=True)
    study, file = place.study, place.file or file
    assert study is not None
    space = parse_space(study, names_for(study.model.name, file.parent))
    counts, notes = image_lines(study, file.parent)
    if study.ablation is not None:
        _show_design(study, file)
    else:
        counts += map(learned_text, known_trials(study, place.base, space))
        bounds = ", ".join(constraint.metric for constraint in study.constraints)
        click.echo(
            f"{file}: ok: study {study.name}, {study.search.trials} trials, "
            f"{count_text(len(space.keys), 'parameter')} searched, objectives "
            f"{', '.join(objective.metric for objective in study.objectives)}"
            f"{shown_if(bounds, ', constraints ')}{bounds}"
        )
    for line in counts:
        click.echo(f"{file}: {line}")
    for note in (*study_notes(study), *network_notes(study, file.parent), *notes):
        click.echo(f"{file}: note: {note}")
    if without := types_without_effect(study):
        suite = find_suite(study.robustness.suite)
        is_own = suite.made_by == "distortion"
        fix = "Use families_grey." if is_own else "Write a list of the other corruptions."
        click.echo(
            f"{file}: note: robustness.suite {suite.name} scores "
            f"{' and '.join(without)}, which {'change' if len(without) > 1 else 'changes'} nothing "
            f"on {study.dataset.name}, whose images are grey. {fix}"
        )


def _show_design(study: Study, file: Path) -> None:
    """What an ablation would run."""
    from ablate.ablation.design import is_from_study
    from ablate.errors import StudyNotFoundError
    from ablate.lifecycle.ablation_reference import design_of, find_reference, plan_of

    settings = study.ablation_section
    head = f"{file}: ok: study {study.name}, ablation {settings.design}"
    base = file.absolute().parent
    try:
        reference = find_reference(study, base)
    except StudyNotFoundError as error:
        if not is_from_study(settings):
            raise
        click.echo(f"{head}, {settings.seed_count} seeds; its cells are still unknown: {error}")
        return
    design = design_of(study, base, str(file), reference)
    planned = plan_of(study, design, base)
    if reference.text:
        click.echo(f"  reference: {reference.text}")
    runs = len(design.cells) * settings.seed_count * (settings.replicates or 1)
    times = shown_if(settings.replicates, f" x {settings.replicates} replicates")
    click.echo(
        f"{head}, {len(design.cells)} cells x {settings.seed_count} seeds{times} = {runs} runs, "
        f"{count_text(len(design.claims), 'primary contrast')}"
    )
    for line in (*design.aliases, *planned):
        click.echo(f"  {line}")


@main.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from ablate.lifecycle.known_names import names_for
    from ablate.lifecycle.schema import json_schema

    click.echo(json.dumps(json_schema(names_for(None)), indent=2))


@main.command()
@study_file_argument
@set_option(" of the file, e.g. finetune.budget.epochs=8")
@option("--resume", "Resume if the study already exists.")
@option(
    "--dry-run",
    "Train on a few batches and print the expected number of runs, time and disk space (of an "
    "ablation, also its cells), without running the study.",
)
@option(
    "--register",
    "Store a digest of study file, contrasts, looks and code before the first run, and print it.",
)
@run_options
def launch(
    file: Path,
    overrides: tuple[str, ...],
    *,
    resume: bool,
    dry_run: bool,
    notes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a study: a search or an ablation.

    A search ends with its front or best trials, an ablation with its arms.  Ctrl-C stops it;
    `ablate resume` continues it.  If the study is finished, its result is printed again.
    """
    if dry_run:
        from ablate.lifecycle.dry_run import dry_run as estimate
        from ablate.report.terminal.lines import estimate_text

        info = estimate(file, overrides, **options)
        print_result([info.to_json()]) if as_json else click.echo(estimate_text(info))
        return
    from ablate.lifecycle.drive import RunOptions
    from ablate.lifecycle.launch import launch_study
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.lifecycle.place import place_of_file

    place = place_of_file(file, overrides)

    def run(display: Display) -> OpenStudy:
        how = RunOptions(progress=display, **options)
        return OpenStudy(place, launch_study(place, how, resume=resume))

    run_and_show(run, str(file), place.folder, notes=notes, as_json=as_json, options=options)


@main.command()
@click.argument("model")
@option("--image-size PIXELS", "Input size in pixels.", FROM_1)
@json_option
def layers(model: str, image_size: int | None, as_json: bool) -> None:
    """List the layers of a model by their names for loss.fma.layers.

    Also prints the shape of each feature map, and which axis of a batch is the channel (axis 0 is
    the image).
    MODEL is a value of `model.name`: resnet20, torchvision:resnet50, package.module:callable.
    loss.fma.layers also accepts any module path of the model.
    """
    from ablate.model.build import describe_layers
    from ablate.report.terminal.lines import layers_rows, layers_table
    from ablate.study.settings import ModelSettings

    described = describe_layers(ModelSettings(name=model), image_size, base=Path())
    print_result(layers_rows(described) if as_json else layers_table(model, described))


@main.command()
@option(
    "--selftest is_selftest",
    "Run, interrupt and resume a small study on each kind of device.  Takes "
    "minutes, and prints a report for bug reports.",
)
@option("--ray-address ADDRESS", "With --selftest: use a running cluster, auto or HOST:PORT.")
@option(
    "--storage URL",
    "With --selftest: also test this storage.  '${ABLATE_STORAGE}' keeps its password out of "
    "the command line.",
)
@json_option
def doctor(is_selftest: bool, ray_address: str | None, storage: str | None, as_json: bool) -> None:
    """Check the installation: Ray, GPUs, storage, browser.

    Prints how to install what is missing.

    With --selftest: check that a study survives interruptions on this machine.  Exit code 0 if
    every check passed, 1 if one failed, 3 if the infrastructure failed.  All test files are
    deleted.  With a GPU it is also compared with the CPU, and its speed measured; that is written
    to gpu.json in this folder: attach it to a bug report.
    """
    from ablate.doctor.findings import examine
    from ablate.doctor.selftest import SelfTest

    if not is_selftest:
        refuse_given(["ray_address", "storage"], "needs --selftest, got none. Add --selftest.")
    progress = functools.partial(click.echo, err=True)
    test = SelfTest(ray_address, storage, progress) if is_selftest else None
    findings = []
    with said_when_slow() as begin:
        for finding in examine(begin) if test is None else test.findings():
            findings.append(finding)
            if not as_json:
                fix = f"; {finding.fix}" if finding.fix else ""
                click.echo(f"{finding.state:6}  {finding.what}: {finding.found}{fix}")
    if as_json:
        print_result([finding.to_json() for finding in findings])
    broken = any(finding.state == "broken" for finding in findings)
    code = int(broken) if test is None else test.exit_code
    if code:
        raise click.exceptions.Exit(code)


for _module in (cli_init, cli_study, cli_figures, cli_evaluate, cli_cache):
    for _command in _module.COMMANDS:
        main.add_command(_command)
