"""Batch normalization by hand, compared with torch's, in the MNIST network of section 4.1.

    python examples/batch_norm_by_hand.py [STEPS]

Both networks start from the same weights and see the same mini-batches, so they reach the same accuracy.
"""

import gzip
import sys
from pathlib import Path

import torch
from torch import nn

MNIST, BATCH = Path(__file__).parents[1] / "data" / "mnist", 60


class BatchNorm(nn.Module):
    def __init__(self, features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(features))
        self.beta = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))  # used at inference: moving averages
        self.register_buffer("var", torch.ones(features))  # during training, Algorithm 2's at the end
        self.eps, self.momentum = eps, momentum

    def forward(self, x):  # (m, features)
        if self.training:
            # Algorithm 1. Autograd differentiates through mean and var, which are functions of x.
            mean = x.mean(0)
            var = ((x - mean) ** 2).mean(0)  # biased: over m
            self.batch_mean, self.batch_var = mean.detach(), var.detach() * len(x) / (len(x) - 1)  # unbiased
            self.mean += self.momentum * (self.batch_mean - self.mean)
            self.var += self.momentum * (self.batch_var - self.var)
        else:
            mean, var = self.mean, self.var
        xhat = (x - mean) / torch.sqrt(var + self.eps)
        return self.gamma * xhat + self.beta


@torch.no_grad()
def algorithm2(net, batches):
    """Replace the moving averages by E[x] = E[mu_B] and Var[x] = m / (m - 1) E[sigma2_B]."""
    norms, batch_statistics = [layer for layer in net if isinstance(layer, BatchNorm)], []
    net.train()  # each mini-batch is normalized by its own statistics, as in training
    for batch in batches:
        net(batch)
        batch_statistics.append([(norm.batch_mean, norm.batch_var) for norm in norms])
    for norm, statistics in zip(norms, zip(*batch_statistics, strict=True), strict=True):
        norm.mean, norm.var = (torch.stack(each).mean(0) for each in zip(*statistics, strict=True))


def network(norm):
    """784-100-100-100-10, with BN before each sigmoid. The layer before BN has no bias: beta replaces it."""
    torch.manual_seed(0)
    hidden = [(nn.Linear(inputs, 100, bias=False), norm(100), nn.Sigmoid()) for inputs in (784, 100, 100)]
    net = nn.Sequential(*[layer for layers in hidden for layer in layers], nn.Linear(100, 10))
    for linear in net[::3]:
        nn.init.normal_(linear.weight, std=0.1)
    return net


def train(net, images, labels, steps):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = torch.randint(len(images), (BATCH,), generator=draw)
        loss = nn.functional.cross_entropy(net(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def accuracy(net, images, labels):
    return (net.eval()(images).argmax(1) == labels).double().mean().item()


def mnist(split):
    """Return binary images (N, 784) and labels (N,)."""
    files = (f"{split}-images-idx3-ubyte.gz", 16), (f"{split}-labels-idx1-ubyte.gz", 8)  # name, header
    images, labels = (bytearray(gzip.decompress((MNIST / name).read_bytes())[skip:]) for name, skip in files)
    images = torch.frombuffer(images, dtype=torch.uint8).view(-1, 784)
    return (images > 127).float(), torch.frombuffer(labels, dtype=torch.uint8).long()


def main(steps=3000):
    torch.set_num_threads(1)  # the matrices are small: more threads gain little
    (images, labels), test = mnist("train"), mnist("t10k")
    by_hand, by_torch = network(BatchNorm), network(nn.BatchNorm1d)
    train(by_hand, images, labels, steps)
    train(by_torch, images, labels, steps)
    print(f"torch.nn.BatchNorm1d, moving averages: {accuracy(by_torch, *test):.2%}")
    print(f"by hand, moving averages:              {accuracy(by_hand, *test):.2%}")
    algorithm2(by_hand, images[torch.randperm(len(images))[: 300 * BATCH]].split(BATCH))
    print(f"by hand, Algorithm 2:                  {accuracy(by_hand, *test):.2%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
