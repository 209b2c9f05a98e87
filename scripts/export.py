"""Exports a trained network, with its batch normalization folded, to ONNX and torch.export.

    python scripts/export.py runs/bn_x5/scale-smoke/seed_0
    python scripts/export.py runs/bn_x5/scale-smoke/seed_0 --statistics population --format onnx
    python scripts/export.py bn_inception.pth --output exported

RUN is a run directory (its last checkpoint), a checkpoint, or public BN-Inception weights. Before a file is
written, its logits on random inputs are compared with those of the network. The input is a batch of any size:
images (batch, 3, crop, crop) as (RGB - (128, 117, 104)) / 58, or MNIST (batch, 784) with values 0 or 1. ONNX
needs pip install -e ".[onnx]".
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import ArgumentParser, UserError, reason_of


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument(
        "--statistics", choices=("moving", "population"), default="moving",
        help="BN statistics: moving averages from the file (default), or Algorithm 2's, which needs the data",
    )  # fmt: skip
    parser.add_argument(
        "--format", nargs="+", choices=("onnx", "torch"), default=["onnx", "torch"], help="default: both"
    )
    parser.add_argument("--output", type=Path, help="folder; default: export/ in RUN, or beside the file")
    arguments = parser.parse_args()
    run = arguments.run
    folder = arguments.output or (run if run.is_dir() else run.parent) / "export"
    # These import torch, which --help does not need.
    from bn.evaluate.export import export
    from bn.evaluate.trained import load_trained

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from the exporters, about their internals
            written = export(load_trained(run), arguments.statistics, arguments.format, folder)
    except (UserError, OSError) as error:
        sys.exit(f"export.py: {reason_of(error)}")
    for path, difference in written:
        print(
            f"export.py: {os.path.relpath(path)}: its logits on random inputs differ from the network's by "
            f"{difference:.1e} of the largest"
        )


if __name__ == "__main__":
    main()
