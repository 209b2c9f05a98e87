"""Composes configs, checks them, and derives the run directory of each."""

import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bn.cli.arguments import CONFIGS, choices_of
from bn.cli.errors import message_of
from bn.config import Config, config_from, flatten, to_dict
from bn.config.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.files import REPOSITORY
from bn.run.directory import RECORDED, RunDirectory, is_compared

NAME_LENGTH = 150
SWITCHES = ("ablation", "switch")  # groups whose choices are the changes of section 4.2.1


def composed_config(overrides: Sequence[str], name: str = "train") -> DictConfig:
    """Compose the config, including Hydra's node, inside or outside a running Hydra program."""
    if GlobalHydra.instance().is_initialized():
        return compose(name, list(overrides), return_hydra_config=True)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=True)


def plain_values(composed: DictConfig) -> dict[str, Any]:
    """The plain values of a composed config, resolved, without Hydra's node."""
    return OmegaConf.to_container(_without_hydra(composed), resolve=True)  # type: ignore[return-value]


def interpolates_seed(composed: DictConfig) -> bool:
    """Whether a value refers to the seed, as `start='runs/mnist_bn/default/seed_${seed}'` does."""
    return re.search(r"\$\{[^}]*\bseed\b", OmegaConf.to_yaml(_without_hydra(composed))) is not None


def _without_hydra(composed: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def run_directory_of(composed: DictConfig, choices: Mapping[str, Any]) -> RunDirectory:
    """Check a composed config and return its run directory, which is not created yet."""
    config = _checked(composed, choices)
    for group in SWITCHES:
        _check_switch(config, group, choices.get(group, "none"))
    return RunDirectory(_path(config, run_name(config, choices)), config)


def records_note(run: RunDirectory, choices: Mapping[str, Any]) -> str:
    """A line if an existing run differs from this new one only in what is recorded; otherwise ""."""
    config = run.config
    twin = _path(config, run_name(config, choices, besides=RECORDED))
    if run.path.exists() or twin == run.path or not twin.exists():
        return ""
    base, _ = _compose_base(_base_overrides(config))
    values = flatten(to_dict(config)).items()
    keys = ", ".join(key for key, value in values if key.startswith(RECORDED) and base.get(key) != value)
    return f"{keys}: changes the records, so this is a different run from {os.path.relpath(twin)}"


def _path(config: Config, name: str) -> Path:
    return REPOSITORY / config.output / config.experiment / name / f"seed_{config.seed}"


def _checked(composed: DictConfig, choices: Mapping[str, Any]) -> Config:
    try:
        values = plain_values(composed)
    except OmegaConfBaseException as error:
        raise UserError(message_of(error)) from None
    for line in _invalid_choices(values, choices):
        raise UserError(line)
    values.pop("members", None)  # the choices of `member`, which are already applied
    config = config_from({**values, "experiment": choices["experiment"], "scale": choices.get("scale")})
    from bn.run.loggers import check_loggers

    check_loggers(config)
    return config


def _invalid_choices(values: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    """Messages for missing or incompatible choices, where the schema would name keys of the chosen files."""
    experiment, scale = choices.get("experiment"), choices.get("scale")
    if experiment is None:
        yield f"experiment: required; accepted: {', '.join(choices_of('experiment'))}"
        return
    model, data = ((values.get(group) or {}).get("name") for group in ("model", "data"))
    takes_images = model == "inception"
    if takes_images == (scale is None):  # compose the experiment alone to tell which of the two is wrong
        expected = composed_config((f"experiment={experiment}",)).model.name
        if expected != model:
            yield f"model={model}: accepted with experiment={experiment}: {expected}"
        elif takes_images:
            yield f"scale: required by experiment={experiment}; accepted: {', '.join(choices_of('scale'))}"
        else:
            yield f"scale={scale}: experiment={experiment} takes no scale (its data is fixed)"
    if takes_images and data in IDX_SETS:
        accepted = ", ".join(name for name in choices_of("data") if name not in IDX_SETS)
        yield f"data={data}: accepted with experiment={experiment}: {accepted}"
    for group in SWITCHES:
        if (choice := choices.get(group, "none")) != "none" and not takes_images:
            yield f"{group}={choice}: accepted with experiment={experiment}: none"
    member, members = values.get("member"), values.get("members")
    if members is not None and str(member) not in members:
        shown = "required" if member is None else f"{member}"
        yield f"member: {shown}; accepted with experiment={experiment}: {', '.join(members)}"


def _check_switch(config: Config, group: str, choice: str) -> None:
    """UserError for a choice of a `SWITCHES` group that does not change the experiment."""
    base = _base_overrides(config)
    experiment, _ = _compose_base(base)

    def changes(name: str) -> bool:
        return _compose_base((*base, f"{group}={name}"))[0] != experiment

    if choice != "none" and not changes(choice):
        accepted = ", ".join(("none", *filter(changes, choices_of(group))))
        raise UserError(
            f"{group}={choice}: does not change experiment={config.experiment}; accepted: {accepted}"
        )


def run_name(config: Config, choices: Mapping[str, Any], besides: tuple[str, ...] = ()) -> str:
    """The name of a run: its differences from the experiment, `model.init_std-0.01__optim.lr-1.0`.

    "default" if there are none. An image experiment is compared at its scale (and member), which come first
    in the name. Keys that begin with one of `besides` are ignored.
    """
    overrides = _base_overrides(config)
    base, base_choices = _compose_base(overrides)
    groups = sorted(
        f"{group}={choice}"
        for group, choice in choices.items()
        if base_choices.get(group) != choice
        and not group.startswith(("hydra", "experiment", "sweep", "logger"))
    )
    if groups:
        base, _ = _compose_base((*overrides, *groups))
    parts = [each.replace("=", "-") for each in sorted((*overrides[1:], *groups))]
    for key, value in flatten(to_dict(config)).items():
        named = key != "seed" and is_compared(key, config) and not key.startswith(besides)
        if named and base.get(key, object()) != value:
            parts.append(f"{key}-{_format(value)}")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", "__".join(parts)) or "default"
    if len(name) > NAME_LENGTH:
        name = f"{name[: NAME_LENGTH - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def _base_overrides(config: Config) -> tuple[str, ...]:
    """The overrides that select the experiment, and its scale and member if it has them."""
    keys = ("experiment", "scale", "member")
    return tuple(f"{key}={value}" for key in keys if (value := getattr(config, key)) is not None)


@functools.lru_cache
def _compose_base(overrides: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The flattened values and the choices composed from these overrides."""
    composed = composed_config(overrides)
    choices = dict(composed.hydra.runtime.choices)
    return flatten(to_dict(_checked(composed, choices))), choices


def _format(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_format, value))
    return "null" if value is None else str(value)
