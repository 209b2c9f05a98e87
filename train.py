"""Train one network of the paper: python train.py experiment=mnist_bn (see --help).

Hydra composes the config from configs/; `bn.launch` checks it and opens the run directory; the training loop
is `bn.train.train`.
"""

import hydra
from omegaconf import DictConfig

from bn import launch
from bn.config import Config
from bn.ranks import ranks_here
from bn.records import RunDirectory
from bn.signals import stop_signal


def work(config: Config, run: RunDirectory) -> None:
    from bn.distributed import joined  # imports torch, which --help and a refused config do without
    from bn.train import train

    with joined(config, run, ranks_here(), stop_signal) as team:
        train(config, run, stop_signal, launch.wants_progress(), team)


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(composed: DictConfig) -> launch.Outcome:
    return launch.member(composed, work)


if __name__ == "__main__":
    launch.entry(main)
