"""From a composed config to the run directory that it names."""

import functools
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bn.cli.explaining import explain
from bn.cli.help import names_of
from bn.config import Config, config_from, flatten, to_dict
from bn.data.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.run.directory import RECORDED, REPOSITORY, RunDirectory, is_compared

CONFIGS = str(REPOSITORY / "configs")
NAME_LENGTH = 150
NAMED_EARLIER = ("checkpoint_every",)  # keys that were part of a run's name before it was found by fewer
SWITCHES = ("ablation", "switch")  # groups, each choice of which is a change of section 4.2.1


def composed_config(overrides: Sequence[str], name: str = "train") -> DictConfig:
    """The composed config with Hydra's own part, outside a running Hydra program too."""
    if GlobalHydra.instance().is_initialized():
        return compose(name, list(overrides), return_hydra_config=True)
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=True)


def run_of(composed: DictConfig, choices: Mapping[str, Any]) -> RunDirectory:
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


def other_records(run: RunDirectory, choices: Mapping[str, Any]) -> str:
    """One line where a new run would train as one that is there, and only record otherwise; else empty."""
    config = run.config
    twin = _named(config, choices, lambda key: is_compared(key, config) and not key.startswith(RECORDED))
    if run.path.exists() or twin == run.path or not twin.exists():
        return ""
    base, _ = _composed_alone(_alone(config))
    own = flatten(to_dict(config)).items()
    keys = ", ".join(key for key, value in own if key.startswith(RECORDED) and base.get(key) != value)
    return f"{keys}: changes the records, so this is not the same run as {os.path.relpath(twin)}"


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
