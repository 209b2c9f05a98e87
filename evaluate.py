"""Evaluate trained networks: python evaluate.py checkpoint=runs/bn_x5/scale-smoke/seed_0 (see --help).

Hydra composes the config from configs/evaluate.yaml, and `bn.evaluate.config` checks it. Checkpoints are
evaluated by `bn.evaluate.checkpoints`; your own images are classified by `bn.evaluate.classify`.
"""

import sys
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from bn import cli
from bn.evaluate.config import evaluation_from

PROGRAM = "evaluate.py"


@hydra.main(version_base="1.3", config_path="configs", config_name="evaluate")
def main(composed: DictConfig) -> None:
    with cli.one_line_errors(PROGRAM):
        mapping: Any = OmegaConf.to_container(composed, resolve=True)
        data = mapping.pop("data", {})
        evaluation = evaluation_from(mapping)

        # These import torch, which --help and config errors do not need.
        if evaluation.images is not None:
            from bn.evaluate.classify import classify_images

            return classify_images(evaluation, data)
        from bn.evaluate.checkpoints import evaluate_checkpoints

        print(f"{PROGRAM}: {evaluate_checkpoints(evaluation, data)}")


if __name__ == "__main__":
    sys.argv[1:] = ["json=true" if argument == "--json" else argument for argument in sys.argv[1:]]
    with cli.one_line_errors(PROGRAM):
        main()
