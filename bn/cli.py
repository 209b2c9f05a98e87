"""The Hydra side: composed config -> checked config -> run directory; one line for each failure.

Only the entries import this. A member of a sweep may run in a worker process: it never raises (an exception
there would end the sweep for the others) but returns an outcome of plain strings.
"""

import contextlib
import functools
import hashlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bn import __version__
from bn.arguments import check_argument, is_of_composing
from bn.config import Config, Loggers, config_from, flatten, to_dict
from bn.data.idx_sets import IDX_SETS
from bn.data.there import check_data, fetch_data
from bn.distributed.ranks import Ranks, check_shared, ranks_here
from bn.errors import UserError, is_out_of_memory, reason_of
from bn.help import help_page, names_of
from bn.run.attempt import Outcome, Work, attempt, check_device
from bn.run.beginning import check_beginning
from bn.run.code_state import code_state
from bn.run.directory import RECORDED, REPOSITORY, RunDirectory, is_compared
from bn.run.signals import install_handlers, stop_signal

CONFIGS = str(REPOSITORY / "configs")
NAME_LENGTH = 150
NAMED_EARLIER = ("checkpoint_every",)  # keys that were part of a run's name before it was found by fewer
SWITCHES = ("ablation", "switch")  # groups, each choice of which is a change of section 4.2.1

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
        sys.exit(f"{program}: {explain(error)}")


def check_usage(program: str) -> None:
    """UserError for options that Hydra does not know, where it prints a page.

    The version is printed here, and the help, which is ours: Hydra knows no meanings.
    """
    if "--version" in sys.argv[1:]:
        print(f"{program}: bn {__version__}")
        sys.exit(0)
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows what is accepted")

    parser.error = refuse  # type: ignore[method-assign]
    arguments = parser.parse_args()
    if arguments.help:
        try:
            composed = composed_config(
                [word for word in arguments.overrides if "=" in word], program.removesuffix(".py")
            )
            about = [word for word in arguments.overrides if "=" not in word]
            print(help_page(program, composed, about), flush=True)
        except BrokenPipeError:  # the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    for argument in arguments.overrides:
        check_argument(argument)


def entry(main: Callable[..., Any]) -> None:
    """Run the `hydra.main` function of train.py and exit: 0; 1 after one line; 130 or 143 when stopped."""
    install_handlers()
    with one_line_errors("train.py"):
        main()
    if outcomes and not any(line for _, line in outcomes):
        return  # another rank says it, and may still be at it when an exit code ends them all
    if signal_received := stop_signal():
        sys.exit(128 + signal_received)
    stopped = sum(state in ("interrupted", "lost") for state, _ in outcomes)
    failed = [line for state, line in outcomes if state == "failed"]
    if stopped and len(outcomes) > 1:  # a worker was told to stop, or a job killed, and not this command
        print(
            f"train.py: {stopped} of {len(outcomes)} members were interrupted: the same command goes on",
            file=sys.stderr,
        )
    if failed and len(outcomes) > 1:  # each has said why
        print(f"train.py: {len(failed)} of {len(outcomes)} members failed", file=sys.stderr)
    if stopped or failed:
        sys.exit(1)


def member(composed: DictConfig, work: Work) -> Outcome:
    """One run, from its composed config to its outcome, which is printed and recorded at once."""
    install_handlers()
    ranks = Ranks()
    try:
        _check_mode()
        ranks = ranks_here()
        if ranks.size > 1:
            # What torch warns of when a rank is gone, a page each, is said in a line.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        choices = dict(HydraConfig.get().runtime.choices)
        run = _run_of(composed, choices)
        run.sweep = choices.get("sweep")
        if ranks.rank == 0 and (line := _other_records(run, choices)):
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


def _check_mode() -> None:
    """UserError for a launcher of sweeps without a sweep: Hydra would train here, without a word."""
    chosen = HydraConfig.get().runtime.choices["hydra/launcher"]
    if HydraConfig.get().mode == RunMode.RUN and chosen != "local":
        raise UserError(f"hydra/launcher={chosen}: needs a sweep, which may be of one run: add -m")


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
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return members(composed_config(arguments[:1]).hydra.sweeper.params, arguments)


def planned_runs(sweep: str, arguments: Sequence[str] = ()) -> list[RunDirectory]:
    """The run directories of `python train.py sweep=<sweep> <arguments>`, whether they exist or not."""
    return [planned_run(overrides) for overrides in planned_members(sweep, arguments)]


def planned_run(overrides: Sequence[str]) -> RunDirectory:
    """The run directory of one command. The same object for the same overrides: composing takes its time."""
    return _planned_run(tuple(overrides))


@functools.cache
def _planned_run(overrides: tuple[str, ...]) -> RunDirectory:
    composed = composed_config(overrides)
    return _run_of(composed, dict(composed.hydra.runtime.choices))


def members_to_start(
    members: Sequence[Sequence[str]], failed: str, here: bool
) -> tuple[list[list[str]], list[Outcome]]:
    """Check every member of a sweep; those to be started. UserError names the first that is wrong.

    Left out are those that have ended, and, unless `failed` is "again", those that have failed, whose
    outcomes come second. `here`: on this machine.
    """
    if failed not in ("leave", "again"):
        raise UserError(f"hydra.sweeper.failed={failed}: accepted: leave, again")
    if (started := ranks_here().size) > 1:
        raise UserError(f"{started} processes: a sweep (-m) is started by one, and so are its members")
    to_start, left, seen = [], [], {}
    data = {}  # that are read here, one config of each
    now, others = code_state(), 0
    from tqdm import tqdm  # which takes longer to import than --help should wait

    for overrides in tqdm(members, desc="checking", unit=" runs", disable=None, leave=False):
        if stop_signal():
            raise KeyboardInterrupt
        try:
            run = planned_run(overrides)
            if here:
                check_device(run.config, Ranks())
            run.check_config()
            check_shared(run.config, 1)
            if here and not run.finished:
                check_data(run.config)
                check_beginning(run)
        except UserError as error:
            raise UserError(f"{error} (member {' '.join(overrides)})") from error
        if run.path in seen:
            raise UserError(
                f"{run.name}: two members of the sweep are this run: "
                f"{' '.join(seen[run.path])} and {' '.join(overrides)}"
            )
        seen[run.path] = overrides
        if run.status.get("state") == "failed" and failed == "leave":
            left.append(("failed", f"{run.summary()} (hydra.sweeper.failed=again runs it again)"))
        elif not run.finished:
            to_start.append(list(overrides))
            data[run.config.data.name, run.config.data.root] = run.config
        else:
            others += bool(run.other_code(now))
    for config in data.values() if here else ():
        fetch_data(config)
    done = len(members) - len(to_start) - len(left)
    also = f" ({others} with other code than is here now, {now.name})" if others else ""
    also += f", {len(left)} failed before" if left else ""
    print(f"train.py: sweep of {len(members)} runs, {done} finished before{also}", flush=True)
    for _, line in left:
        print(f"train.py: {line}", file=sys.stderr, flush=True)
    return to_start, left


def composed_config(overrides: Sequence[str], name: str = "train") -> DictConfig:
    """The composed config with Hydra's own part, outside a running Hydra program too."""
    if GlobalHydra.instance().is_initialized():
        return compose(name, list(overrides), return_hydra_config=True)
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=True)


def _run_of(composed: DictConfig, choices: Mapping[str, Any]) -> RunDirectory:
    """The checked config and its run directory, of which nothing is created yet."""
    check_choices(choices)
    config = _checked(composed, choices)
    for group in SWITCHES:
        _check_switch(config, group, choices.get(group, "none"))
    return RunDirectory(_path(config, choices), config)


def _path(config: Config, choices: Mapping[str, Any]) -> Path:
    """Where the run goes; where it is, if that was made when more keys were part of the name."""

    path = _named(config, choices, lambda key: is_compared(key, config))
    earlier = _named(config, choices, lambda key: is_compared(key, config) or key in NAMED_EARLIER)
    return earlier if earlier.exists() and not path.exists() else path


def _named(config: Config, choices: Mapping[str, Any], named: Callable[[str], bool]) -> Path:
    root = REPOSITORY / config.output / config.experiment
    return root / run_name(config, choices, named) / f"seed_{config.seed}"


def _other_records(run: RunDirectory, choices: Mapping[str, Any]) -> str:
    """One line where a new run would train as one that is there, and only record otherwise; else empty."""
    config = run.config
    twin = _named(config, choices, lambda key: is_compared(key, config) and not key.startswith(RECORDED))
    if run.path.exists() or twin == run.path or not twin.exists():
        return ""
    base, _ = _composed_alone(_alone(config))
    own = flatten(to_dict(config)).items()
    keys = ", ".join(key for key, value in own if key.startswith(RECORDED) and base.get(key) != value)
    return f"{keys}: changes the records, so this is another run than {os.path.relpath(twin)}"


def check_choices(choices: Mapping[str, Any]) -> None:
    """UserError for a choice that is a path to a file, and not its name: it would be another experiment."""
    for group, choice in choices.items():
        names = names_of(group)
        if choice is not None and names and choice not in names and not group.startswith("hydra/"):
            raise UserError(f"{group}={choice}: unknown; accepted: {', '.join(names)}")


def _checked(composed: DictConfig, choices: Mapping[str, Any]) -> Config:
    mapping: Any = OmegaConf.to_container(composed, resolve=False)
    experiment, scale = _experiment_and_scale(mapping, choices)
    mapping.pop("hydra", None)
    try:
        mapping = OmegaConf.to_container(OmegaConf.create(mapping), resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None
    mapping.pop("members", None)  # who has which change: what `member` chose of it is in the model
    config = config_from({**mapping, "experiment": experiment, "scale": scale})
    from bn.run.loggers import check_loggers

    check_loggers(config)
    return config


def _experiment_and_scale(mapping: Mapping[str, Any], choices: Mapping[str, Any]) -> tuple[str, str | None]:
    """Their names. UserError where one is missing, or not asked for, or the member of an ensemble is."""
    experiment, scale = choices.get("experiment"), choices.get("scale")
    if experiment is None:
        raise UserError(f"experiment: required; accepted: {', '.join(names_of('experiment'))}")
    for key, name in (("experiment", experiment), ("scale", scale)):
        if mapping.get(key) is not None:
            raise UserError(f"{key}={name}: given twice; accepted: once, without +")
    model, data = ((mapping.get(key) or {}).get("name") for key in ("model", "data"))
    takes_images = model == "inception"
    if takes_images == (scale is None):  # which of the two is wrong, the experiment alone tells
        own = composed_config((f"experiment={experiment}",)).model.name
        if own != model:
            raise UserError(f"model={model}: accepted with experiment={experiment}: {own}")
    if takes_images and scale is None:
        raise UserError(
            f"scale: required by experiment={experiment}; accepted: {', '.join(names_of('scale'))}"
        )
    if takes_images and data in IDX_SETS:
        accepted = ", ".join(name for name in names_of("data") if name not in IDX_SETS)
        raise UserError(f"data={data}: accepted with experiment={experiment}: {accepted}")
    if scale is not None and not takes_images:
        raise UserError(f"scale={scale}: experiment={experiment} takes no scale (its data is fixed)")
    for group in SWITCHES:
        if (choice := choices.get(group, "none")) != "none" and not takes_images:
            raise UserError(f"{group}={choice}: accepted with experiment={experiment}: none")
    member, members = mapping.get("member"), mapping.get("members")
    if members is not None and str(member) not in members:
        shown = "required" if member is None else f"{member}"
        raise UserError(f"member: {shown}; accepted with experiment={experiment}: {', '.join(members)}")
    return experiment, scale


def _check_switch(config: Config, group: str, choice: str) -> None:
    """UserError for a choice of a group of `SWITCHES` that leaves the experiment as it is."""
    alone = _alone(config)
    experiment, _ = _composed_alone(alone)

    def changes(name: str) -> bool:
        return _composed_alone((*alone, f"{group}={name}"))[0] != experiment

    if choice != "none" and not changes(choice):
        accepted = ("none", *filter(changes, names_of(group)))
        raise UserError(
            f"{group}={choice}: changes nothing of experiment={config.experiment}; "
            f"accepted: {', '.join(accepted)}"
        )


def run_name(config: Config, choices: Mapping[str, Any], named: Callable[[str], bool] | None = None) -> str:
    """What differs from the experiment alone: `model.init_std-0.01__optim.lr-1.0`, or `default`.

    Of an image experiment "alone" is with its scale (and its member), which the name says first. `named`:
    whether a flattened key is part of it; None: those that make a run what it is.
    """
    named = named or (lambda key: is_compared(key, config))
    chosen, alone = _chosen(config), _alone(config)
    base, default_choices = _composed_alone(alone)
    groups = {
        group: choice
        for group, choice in sorted(choices.items())
        if default_choices.get(group) != choice
        and not group.startswith(("hydra", "experiment", "sweep", "logger"))
    }
    if groups:
        base, _ = _composed_alone((*alone, *(f"{group}={choice}" for group, choice in groups.items())))
    parts = [f"{key}-{value}" for key, value in sorted({**chosen, **groups}.items())]
    for key, value in flatten(to_dict(config)).items():
        if key != "seed" and named(key) and base.get(key, object()) != value:
            parts.append(f"{key}-{_shown(value)}")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", "__".join(parts)) or "default"
    if len(name) > NAME_LENGTH:
        name = f"{name[: NAME_LENGTH - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def _chosen(config: Config) -> dict[str, Any]:
    """What is chosen besides the experiment and is part of "alone": its scale and its member."""
    chosen = {"scale": config.scale, "member": config.member}
    return {key: value for key, value in chosen.items() if value is not None}


def _alone(config: Config) -> tuple[str, ...]:
    """The overrides of the experiment alone."""
    return f"experiment={config.experiment}", *(f"{key}={value}" for key, value in _chosen(config).items())


@functools.lru_cache
def _composed_alone(overrides: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values and the choices that these overrides alone give."""
    composed = composed_config(overrides)
    choices = dict(composed.hydra.runtime.choices)
    return flatten(to_dict(_checked(composed, choices))), choices


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_shown, value))
    return "null" if value is None else str(value)


def wants_progress() -> bool | None:
    """No bars in a sweep, where several runs would write over one another."""
    return False if HydraConfig.get().mode == RunMode.MULTIRUN else None


def explain(error: Exception) -> str:
    """One line for an error of the user's or of Hydra's."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, UserError):  # of a plugin
        return str(error.__cause__)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; accepted: {', '.join(error.options)}"
    if missing := re.search(r"Could not load '(\w+)/([^']+)'", str(error)):  # of several choices of a group
        return f"{missing[1]}={missing[2]}: unknown; accepted: {', '.join(names_of(missing[1]))}"
    if twice := re.match(r"Multiple values for (\w+)\.", str(error)):
        return f"{twice[1]}: given twice; accepted: once, without +"
    if "Config group override" in str(error) and (wrong := _no_choice()):
        return wrong
    if isinstance(error.__cause__, ValidationError):
        key = error.__cause__.full_key or str(error).rpartition(" ")[2].partition("=")[0]
        return f"{key}: {str(error.__cause__).splitlines()[0]}"
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return f"{' '.join(str(error).split())} (in {shlex.join(sys.argv[1:])})"
    parent = getattr(error.__cause__, "parent_node", None)
    if isinstance(parent, DictConfig):
        key = getattr(error.__cause__, "full_key", None) or getattr(error.__cause__, "key", "")
        if wrong := _no_logger(str(key)):
            return wrong
        return f"{key}: unknown key; accepted: {', '.join(k for k in map(str, parent) if k != 'hydra')}"
    return " ".join(str(error).split())


def _no_logger(key: str) -> str | None:
    """Of a logger that is not chosen, such as logger.wandb, or of a key of none: what to choose."""
    group, _, name = key.partition(".")
    if group != "logger" or "." in name:
        return None
    if name in Loggers.__annotations__:
        return f"{key}: accepted with logger={name}"
    return f"{key}: unknown key; accepted: {', '.join(f'logger.{n}' for n in Loggers.__annotations__)}"


def _no_choice() -> str | None:
    """Of a null or a number that is chosen of a group: which, and what is accepted."""
    for argument in sys.argv[1:]:
        group, _, chosen = argument.lstrip("+").partition("=")
        names = names_of(group) if group and not group.startswith(("-", "/", ".")) else []
        for choice in chosen.split(","):
            if names and choice not in names:
                return f"{group}={choice}: unknown; accepted: {', '.join(names)}"
    return None
