"""The command line of train.py and evaluate.py: argument checks, runs, sweeps, one-line errors.

Only entry points import this package. A member of a sweep may run in a worker process, where an exception
would end the whole sweep: it returns its outcome as plain strings instead of raising.
"""

import contextlib
import dataclasses
import functools
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bn import __version__
from bn.cli.arguments import CONFIGS, check_arguments, checked_key, sweep_arguments
from bn.cli.composition import composed_config, interpolates_seed, records_note, run_directory_of
from bn.cli.errors import message_of, raised_by_hydra
from bn.cli.help import help_page
from bn.cli.single_run import Outcome, Work, attempt, check_device
from bn.data.availability import check_data, fetch_data
from bn.distributed.ranks import Ranks, check_processes, ranks_from_env
from bn.errors import UserError, is_out_of_memory, reason_of
from bn.run.code_state import code_state
from bn.run.directory import RunDirectory
from bn.run.streams import outlast_streams, print_any_text
from bn.run.warm_start import check_warm_start
from bn.signals import install_handlers, stop_signal

outcomes: list[Outcome] = []  # one for each run of this command


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Exit with code 1 and one line for user errors and errors of Hydra; with 130 or 143 when stopped.

    Started by torchrun, process 0 of a machine prints the line.
    """
    print_any_text()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    try:
        check_usage(program)
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _exit_with(f"{program}: {message_of(error)}")
    except KeyboardInterrupt:
        sys.exit(128 + (stop_signal() or signal.SIGINT))
    except Exception as error:
        if is_out_of_memory(error):
            sys.exit(f"{program}: {reason_of(error)}")
        if not raised_by_hydra(error):
            raise
        _exit_with(f"{program}: {' '.join(str(error).split())} (in {shlex.join(sys.argv[1:])})")


def _exit_with(line: str) -> NoReturn:
    """Print an error of the arguments and exit with code 1: of torchrun's ranks, one on each machine."""
    try:
        another_prints = ranks_from_env().local_rank > 0
    except UserError:
        another_prints = False
    # A nonzero code could make torchrun end the process that prints before it does.
    sys.exit(0 if another_prints else line)


def check_usage(program: str) -> None:
    """UserError for a wrong argument or unknown option, instead of Hydra's usage page.

    Also handles --version and --help, since Hydra's help does not describe the keys.
    """
    if "--version" in sys.argv[1:]:
        print(f"{program}: bn {__version__}")
        sys.exit(0)
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        _, _, unknown = message.partition("unrecognized arguments: ")
        if "=" in unknown and not unknown.startswith("-"):  # argparse accepts a single group of them
            raise UserError(f"{unknown}: accepted: all KEY=VALUE together, before or after the options")
        raise UserError(f"{message}; --help shows what is accepted")

    parser.error = refuse  # type: ignore[method-assign]
    arguments = parser.parse_args()
    about = [word for word in arguments.overrides if arguments.help and "=" not in word]
    chosen = [word for word in arguments.overrides if word not in about]
    check_arguments(chosen)
    if arguments.help:
        try:
            print(help_page(program, composed_config(chosen, program.removesuffix(".py")), about), flush=True)
        except BrokenPipeError:  # the reader has exited
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def entry(main: Callable[..., Any]) -> None:
    """Run the `hydra.main` function of train.py. Exit codes: 0; 1 after an error; 130 or 143 when stopped."""
    install_handlers()
    with one_line_errors("train.py"):
        sys.argv[1:] = sweep_arguments(sys.argv[1:])
        outlast_streams()
        main()
    if outcomes and not any(line for _, line in outcomes):
        return  # another rank reports the outcome; a nonzero exit code here could end it before it has
    if signal_received := stop_signal():
        sys.exit(128 + signal_received)
    if any(state in ("interrupted", "lost", "failed") for state, _ in outcomes):
        sys.exit(1)


def member(composed: DictConfig, work: Work) -> Outcome:
    """Run one composed config. The outcome is printed and recorded at once, and returned."""
    install_handlers()
    outlast_streams()  # this may be a new process of a sweep
    ranks = Ranks()
    try:
        launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
        if HydraConfig.get().mode == RunMode.RUN and launcher != "local":  # Hydra would ignore it
            raise UserError(f"hydra/launcher={launcher}: needs a sweep, even for a single run: add -m")
        ranks = ranks_from_env()
        if ranks.size > 1:
            # Hides torch's page-long warnings about a lost rank, which is reported in one line.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        choices = dict(HydraConfig.get().runtime.choices)
        run = run_directory_of(composed, choices)
        run.sweep = choices.get("sweep")
        if ranks.rank == 0 and (line := records_note(run, choices)):
            print(f"train.py: {line}", flush=True)
        run.command = shlex.join(["python", "train.py", *HydraConfig.get().overrides.task])
        outcome = attempt(run, ranks, HydraConfig.get().launcher, work, quiet=_in_local_sweep())
    except UserError as error:  # raised on all ranks, printed once per machine
        outcome = "failed", "" if ranks.local_rank else str(error)
        if outcome[1]:
            erase = "\r\x1b[J" * (_in_local_sweep() and sys.stderr.isatty())  # the sweep's progress display
            print(f"{erase}train.py: {outcome[1]}", file=sys.stderr, flush=True)
    outcomes.append(outcome)
    return outcome


def _in_local_sweep() -> bool:
    """Whether this run belongs to a sweep on this machine, whose main process reports its progress."""
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN and hydra.runtime.choices["hydra/launcher"] != "slurm"


def members(params: Mapping[str, Any], arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of each member of a sweep, the product of its axes.

    `params` are the axes of the sweep's file; axes in `arguments` replace them.
    """
    axes = [f"{key}={value}" for key, value in params.items()]
    given = [argument.removeprefix("++") for argument in arguments]  # of `sweep_arguments`
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides([*axes, *given])
    for override in parsed:
        if override.is_sweep_override() and not (
            override.is_discrete_sweep() and any(True for _ in override.sweep_string_iterator())
        ):
            raise UserError(
                f"{override.input_line}: has no values; accepted: at least one, as in 1,2 or range(3)"
            )
    (product,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return product


def planned_members(sweep: str, arguments: Sequence[str] = ()) -> list[list[str]]:
    """The overrides of each member of `python train.py sweep=<sweep> <arguments>`."""
    arguments = [f"sweep={sweep}", *arguments]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return members(composed_config(arguments[:1]).hydra.sweeper.params, arguments)


def planned_runs(sweep: str, arguments: Sequence[str] = ()) -> list[RunDirectory]:
    """The run directories of `python train.py sweep=<sweep> <arguments>`, which need not exist."""
    return [planned_run(overrides) for overrides in planned_members(sweep, arguments)]


def planned_run(overrides: Sequence[str]) -> RunDirectory:
    """Return the run directory of these overrides, cached: composing is slow.

    Overrides that differ only in the seed are composed once, unless another value depends on the seed.
    """
    return _planned_run(tuple(overrides))


@functools.cache
def _planned_run(overrides: tuple[str, ...]) -> RunDirectory:
    seeds = [override for override in overrides if re.fullmatch(r"seed=(0|[1-9][0-9]{0,8})", override)]
    if len(seeds) != 1:
        return _composed_run(overrides)[0]
    setting = tuple(override for override in overrides if override not in seeds)
    if setting not in _settings:
        _settings[setting] = _composed_run(overrides)
    run, depends_on_seed = _settings[setting]
    if depends_on_seed:
        return _composed_run(overrides)[0]
    seed = int(seeds[0].removeprefix("seed="))
    return RunDirectory(run.path.with_name(f"seed_{seed}"), dataclasses.replace(run.config, seed=seed))


_settings: dict[tuple[str, ...], tuple[RunDirectory, bool]] = {}  # by the overrides without the seed


@functools.cache
def _composed_run(overrides: tuple[str, ...]) -> tuple[RunDirectory, bool]:
    """Compose the run directory, and tell whether another value of the config depends on the seed."""
    for override in overrides:
        checked_key(override)
    composed = composed_config(overrides)
    run = run_directory_of(composed, dict(composed.hydra.runtime.choices))
    return run, interpolates_seed(composed)


def members_to_start(
    members: Sequence[Sequence[str]], failed: str, here: bool
) -> tuple[list[list[str]], list[Outcome]]:
    """Check all members of a sweep; return the overrides of those to start, and the outcomes of the others.

    Members that are done or diverged are not started again, nor, unless `failed` is "again", those that
    failed. `here`: the sweep runs on this machine. UserError names the first wrong member.
    """
    if failed not in ("leave", "again"):
        raise UserError(f"hydra.sweeper.failed={failed}: accepted: leave, again")
    if (started := ranks_from_env().size) > 1:
        raise UserError(
            f"{started} processes: a sweep (-m) is started by one process, and so is each of its members"
        )
    to_start, ended, seen = [], [], {}
    data = {}  # one config for each data set
    now, others = code_state(), 0
    from tqdm import tqdm  # slow to import, and --help does not need it

    for overrides in tqdm(members, desc="checking", unit=" runs", disable=None, leave=False):
        if stop_signal():
            raise KeyboardInterrupt
        words = " ".join(overrides)
        try:
            run = planned_run(overrides)
            run.check_config()
            check_processes(run.config, 1)
            if here:
                check_device(run.config, Ranks())
                check_warm_start(run)
                if not run.finished:
                    check_data(run.config)
        except UserError as error:
            raise UserError(f"{error} (member {words})") from error
        if run.path in seen:
            raise UserError(
                f"{run.name}: two members of the sweep: {seen[run.path]} and {words}: accepted: one of them"
            )
        seen[run.path] = words
        if run.status.get("state") == "failed" and failed == "leave":
            ended.append(("failed", f"{run.summary()} (hydra.sweeper.failed=again runs it again)"))
        elif run.finished:
            ended.append((run.status["state"], run.name))
            others += bool(run.code_change(now))
        else:
            to_start.append(list(overrides))
            data[run.config.data.name, run.config.data.root] = run.config
    for config in data.values() if here else ():
        fetch_data(config)
    failures = [line for state, line in ended if state == "failed"]
    also = f" ({others} with code other than the present {now.name})" if others else ""
    also += f", {len(failures)} failed before" if failures else ""
    runs = f"{len(members)} run{'s' * (len(members) != 1)}"
    finished = len(ended) - len(failures)
    print(f"train.py: sweep of {runs}, {finished} finished before{also}", flush=True)
    for line in failures:
        print(f"train.py: {line}", file=sys.stderr, flush=True)
    return to_start, ended


def wants_progress() -> bool | None:
    """False in a sweep, whose runs would overwrite each other's progress bars; otherwise None (automatic)."""
    return False if HydraConfig.get().mode == RunMode.MULTIRUN else None
