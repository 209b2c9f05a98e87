"""Time full whitening of the input of each convolution of Inception against the convolution itself.

    python benchmarks/whitening.py           takes about a minute
    python benchmarks/whitening.py --save    also write results/whitening/cost.json

Full whitening computes the covariance of the input's channels, with the locations of a mini-batch of 32
images as examples, and its inverse square root (section 2); experiments/whitening.py lists what this leaves
out. Layer and whitening take turns, in CPU time of this process on one thread; the median round counts.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.scaffold import options
from bn.files import REPOSITORY, write_atomically
from bn.models import inception
from bn.models.inception import Unit
from bn.models.separable import SeparableConv2d
from bn.run.environment import environment
from experiments.whitening import Cost

EPS = 1e-5
IMAGES, SIDE = 32, 224
SAVED = REPOSITORY / "results" / "whitening" / "cost.json"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write results/whitening/cost.json")
    parser.add_argument("--tiny", action="store_true", help="rehearse in seconds; the numbers mean nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, side = (2, 32) if arguments.tiny else (IMAGES, SIDE)
    costs = measure(images, side, 1 if arguments.tiny else arguments.rounds)
    for cost in costs:
        print(f"{cost.name}: {cost.whitening_s / cost.layer_s:.2f} times as long as the layer")
    if arguments.save:
        document = {
            "layers": [cost._asdict() for cost in costs],
            "images": images, "side": side, "rounds": arguments.rounds, "environment": environment(),
        }  # fmt: skip
        SAVED.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(SAVED, json.dumps(document, indent=1) + "\n")


@torch.no_grad()
def measure(images: int, side: int, rounds: int) -> list[Cost]:
    """Measure each convolution of the network with BN, in order, on its input in a forward pass."""
    torch.manual_seed(0)
    network = inception(size=side).train()
    found: list[Cost] = []

    def hook(name: str):
        def look(unit: Unit, args: tuple[Tensor, ...]) -> None:
            found.append(cost_of(name, unit, args[0], rounds))

        return look

    for name, unit in network.units.items():
        unit.register_forward_pre_hook(hook(name))
    network(torch.randn(images, 3, side, side))
    return found


def cost_of(name: str, unit: Unit, u: Tensor, rounds: int) -> Cost:
    conv = unit.conv.as_conv2d() if isinstance(unit.conv, SeparableConv2d) else unit.conv
    output = conv(u)
    layer, whitening = [], []
    for _ in range(rounds):
        began = time.process_time()
        conv(u)
        between = time.process_time()
        inverse_root(u)
        layer.append(between - began)
        whitening.append(time.process_time() - between)
    channels, locations = u.shape[1], u.numel() // u.shape[1]
    return Cost(
        name, channels, conv.kernel_size[0],
        output.numel() * conv.weight[0].numel(), locations * channels**2 + 10 * channels**3,
        statistics.median(layer), statistics.median(whitening),
    )  # fmt: skip


def inverse_root(u: Tensor) -> Tensor:
    """Cov[u]^(-1/2), (C, C), of the channels of u (N, C, H, W), with EPS added to the variances."""
    by_channel = u.transpose(0, 1).flatten(1)
    centerd = by_channel - by_channel.mean(1, keepdim=True)
    covariance = centerd @ centerd.T / centerd.shape[1]
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * torch.rsqrt(values.clamp(min=0) + EPS) @ vectors.T


if __name__ == "__main__":
    main()
