"""The Hydra side: composed config -> checked config -> run directory; one line for each failure.

Only the entries import this. A member of a sweep may run in a worker process: it never raises (an exception
there would end the sweep for the others) but returns an outcome of plain strings.
"""

import contextlib
import functools
import os
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
from bn.cli.arguments import CONFIGS, check_arguments, checked_key, is_of_composing
from bn.cli.composing import composed_config, other_records, run_of
from bn.cli.explaining import explain
from bn.cli.help import help_page
from bn.data.there import check_data, fetch_data
from bn.distributed.ranks import Ranks, check_processes, ranks_from_env
from bn.errors import UserError, is_out_of_memory, reason_of
from bn.run.attempt import Outcome, Work, attempt, check_device
from bn.run.code_state import code_state
from bn.run.directory import RunDirectory
from bn.run.signals import install_handlers, stop_signal
from bn.run.warm_start import check_warm_start

outcomes: list[Outcome] = []  # of this command's members


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Exit with code 1 and one line for an error of the user's or of Hydra's; 130 or 143 when stopped."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    try:
        check_usage(program)
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"{program}: {explain(error)}")
    except KeyboardInterrupt:
        sys.exit(128 + (stop_signal() or signal.SIGINT))
    except Exception as error:
        if is_out_of_memory(error):
            sys.exit(f"{program}: {reason_of(error)}")
        if not is_of_composing(error):
            raise
        sys.exit(f"{program}: {' '.join(str(error).split())} (in {shlex.join(sys.argv[1:])})")


def check_usage(program: str) -> None:
    """UserError for a wrong argument, or an option that Hydra does not know, where it prints a page.

    The version is printed here, and the help, which is ours: Hydra knows no meanings.
    """
    if "--version" in sys.argv[1:]:
        print(f"{program}: bn {__version__}")
        sys.exit(0)
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        _, _, unknown = message.partition("unrecognized arguments: ")
        if "=" in unknown and not unknown.startswith("-"):  # argparse takes one group of them
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
        except BrokenPipeError:  # the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def entry(main: Callable[..., Any]) -> None:
    """Run the `hydra.main` function of train.py and exit: 0; 1 after one line; 130 or 143 when stopped."""
    install_handlers()
    with one_line_errors("train.py"):
        main()
    if outcomes and not any(line for _, line in outcomes):
        return  # another rank says it, and may still be at it when an exit code ends them all
    if signal_received := stop_signal():
        sys.exit(128 + signal_received)
    if any(state in ("interrupted", "lost", "failed") for state, _ in outcomes):
        sys.exit(1)


def member(composed: DictConfig, work: Work) -> Outcome:
    """One run, from its composed config to its outcome, which is printed and recorded at once."""
    install_handlers()
    ranks = Ranks()
    try:
        launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
        if HydraConfig.get().mode == RunMode.RUN and launcher != "local":  # Hydra would leave it unused
            raise UserError(f"hydra/launcher={launcher}: needs a sweep, if only of one run: add -m")
        ranks = ranks_from_env()
        if ranks.size > 1:
            # What torch warns of when a rank is gone, a page each, is said in a line.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        choices = dict(HydraConfig.get().runtime.choices)
        run = run_of(composed, choices)
        run.sweep = choices.get("sweep")
        if ranks.rank == 0 and (line := other_records(run, choices)):
            print(f"train.py: {line}", flush=True)
        run.command = shlex.join(["python", "train.py", *HydraConfig.get().overrides.task])
        outcome = attempt(run, ranks, HydraConfig.get().launcher, work, quiet=_watched())
    except UserError as error:  # all ranks raise it: one on each machine says so
        outcome = "failed", "" if ranks.local_rank else str(error)
        if outcome[1]:
            over = "\r\x1b[J" * (_watched() and sys.stderr.isatty())  # what is drawn of the sweep
            print(f"{over}train.py: {outcome[1]}", file=sys.stderr, flush=True)
    outcomes.append(outcome)
    return outcome


def _watched() -> bool:
    """Whether this is a member of a sweep on this machine, of which the sweep's own command tells."""
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN and hydra.runtime.choices["hydra/launcher"] != "slurm"


def members(params: Mapping[str, Any], arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of each member of a sweep: the product of its axes.

    `params` are those of the sweep's file; an axis in `arguments` takes the place of the file's.
    """
    axes = [f"{key}={value}" for key, value in params.items()]
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(
        [*axes, *arguments]
    )
    (product,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return product


def planned_members(sweep: str, arguments: Sequence[str] = ()) -> list[list[str]]:
    """The overrides of each member of `python train.py sweep=<sweep> <arguments>`."""
    arguments = [f"sweep={sweep}", *arguments]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return members(composed_config(arguments[:1]).hydra.sweeper.params, arguments)


def planned_runs(sweep: str, arguments: Sequence[str] = ()) -> list[RunDirectory]:
    """The run directories of `python train.py sweep=<sweep> <arguments>`, whether they exist or not."""
    return [planned_run(overrides) for overrides in planned_members(sweep, arguments)]


def planned_run(overrides: Sequence[str]) -> RunDirectory:
    """The run directory of one command. The same object for the same overrides: composing takes its time."""
    return _planned_run(tuple(overrides))


@functools.cache
def _planned_run(overrides: tuple[str, ...]) -> RunDirectory:
    for override in overrides:
        checked_key(override)
    composed = composed_config(overrides)
    return run_of(composed, dict(composed.hydra.runtime.choices))


def members_to_start(
    members: Sequence[Sequence[str]], failed: str, here: bool
) -> tuple[list[list[str]], list[Outcome]]:
    """Check every member of a sweep; those to be started. UserError names the first that is wrong.

    Left out, with their outcomes second, are those that are done or diverged, and, unless `failed` is
    "again", those that failed. `here`: on this machine.
    """
    if failed not in ("leave", "again"):
        raise UserError(f"hydra.sweeper.failed={failed}: accepted: leave, again")
    if (started := ranks_from_env().size) > 1:
        raise UserError(
            f"{started} processes: a sweep (-m) is started by one process, and so is each of its members"
        )
    to_start, over, seen = [], [], {}
    data = {}  # that are read here, one config of each
    now, others = code_state(), 0
    from tqdm import tqdm  # which takes longer to import than --help should wait

    for overrides in tqdm(members, desc="checking", unit=" runs", disable=None, leave=False):
        if stop_signal():
            raise KeyboardInterrupt
        typed = " ".join(overrides)
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
            raise UserError(f"{error} (member {typed})") from error
        if run.path in seen:
            raise UserError(
                f"{run.name}: two members of the sweep would be this run: {seen[run.path]} and {typed}"
            )
        seen[run.path] = typed
        if run.status.get("state") == "failed" and failed == "leave":
            over.append(("failed", f"{run.summary()} (hydra.sweeper.failed=again runs it again)"))
        elif run.finished:
            over.append((run.status["state"], run.name))
            others += bool(run.code_change(now))
        else:
            to_start.append(list(overrides))
            data[run.config.data.name, run.config.data.root] = run.config
    for config in data.values() if here else ():
        fetch_data(config)
    failures = [line for state, line in over if state == "failed"]
    also = f" ({others} with code other than the present {now.name})" if others else ""
    also += f", {len(failures)} failed before" if failures else ""
    runs = f"{len(members)} run{'s' * (len(members) != 1)}"
    finished = len(over) - len(failures)
    print(f"train.py: sweep of {runs}, {finished} finished before{also}", flush=True)
    for line in failures:
        print(f"train.py: {line}", file=sys.stderr, flush=True)
    return to_start, over


def wants_progress() -> bool | None:
    """No bars in a sweep, where several runs would write over one another."""
    return False if HydraConfig.get().mode == RunMode.MULTIRUN else None
