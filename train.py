"""Train a network of the paper: python train.py experiment=mnist_bn (see --help).

Hydra composes the config from configs/, `bn.cli` checks it and opens the run directory, and `bn.train.train`
is the training loop.
"""

import hydra
from omegaconf import DictConfig

from bn import cli
from bn.config import Config
from bn.distributed.ranks import ranks_from_env
from bn.run.directory import RunDirectory
from bn.signals import stop_signal


def work(config: Config, run: RunDirectory) -> None:
    from bn.distributed.team import join_team  # imports torch, which --help and a refused config do without
    from bn.train import train

    with join_team(config, run, ranks_from_env(), stop_signal) as team:
        train(config, run, stop_signal, cli.wants_progress(), team)


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(composed: DictConfig) -> cli.Outcome:
    return cli.member(composed, work)


if __name__ == "__main__":
    cli.entry(main)
