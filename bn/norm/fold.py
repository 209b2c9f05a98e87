"""Folds batch normalization into the layer before it, for inference."""

import copy
from collections import Counter
from typing import TypeGuard

import torch
from torch import fx, nn

from bn.norm.layers import is_normalization, is_plain, normalization_layers
from bn.norm.module import BatchNorm


def fold(model: nn.Module) -> fx.GraphModule:
    """Return a copy of `model`, in evaluation mode, with each BN composed into the layer before it.

    At inference BN is one fixed linear map (Algorithm 2, step 11). After a layer W u + b the two
    are one layer, so with E[x] and Var[x] as kept by BN

        W' = W * gamma / sqrt(Var[x] + eps),
        b' = beta + (b - E[x]) * gamma / sqrt(Var[x] + eps),

    computed in float64 and rounded once. Layers without a bias gain one. BN means `BatchNorm` and
    torch's own. It is folded where it directly follows an nn.Linear or an nn.Conv2d, grouped or not,
    that is used once and whose output goes nowhere else. Any other BN stays as it is, the
    per-activation form after a convolution among them, and so does a BN where it or the layer has
    hooks, as torch's older weight_norm, spectral_norm and pruning add them, or is of a subclass.
    Precondition: what an nn.Linear before a BN puts out is (N, C). Tracing sees no shapes, and with
    further dimensions the fold would be wrong.

    `model` is unharmed, and must be traceable by torch.fx: no control flow that depends on values.
    Submodules keep their names; one that offers `as_conv2d()`, as a separable convolution does, gives
    way to the nn.Conv2d that this returns. Raises ValueError if there is no BN, or one that keeps no
    statistics, or `model` itself has hooks, which tracing does not see; RuntimeError if a BN has no
    statistics yet.
    """
    if not is_plain(model):
        raise ValueError(
            f"{type(model).__name__} itself has hooks, which a fold would lose: remove them first"
        )
    for name, norm in normalization_layers(model).items():
        if norm.num_batches_tracked == 0:
            raise RuntimeError(
                f"{name} has no statistics to fold: train the network or call population_statistics"
            )
    network = copy.deepcopy(model).eval()
    _replace_by_convolutions(network)
    norms = normalization_layers(network)
    graph = _Tracer().trace(network)
    uses = Counter(_module_used(node) for node in graph.nodes)
    for node in list(graph.nodes):
        if not _feeds_one_module_only(node, uses):
            continue
        follower = next(iter(node.users))
        layer = network.get_submodule(str(node.target))
        norm = norms.get(str(follower.target))
        if norm is not None and _composable(layer, norm):
            _compose(layer, norm)
            follower.replace_all_uses_with(node)
            graph.erase_node(follower)
    return fx.GraphModule(network, graph, class_name=type(model).__name__).eval()


def _replace_by_convolutions(network: nn.Module) -> None:
    for name, module in list(network.named_modules()):
        # The class's own: a subclass may compute something else, and so may a module with hooks.
        as_conv2d = vars(type(module)).get("as_conv2d")
        if name and as_conv2d and all(map(is_plain, module.modules())):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, as_conv2d(module))


class _Tracer(fx.Tracer):
    """Sees each BN as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_normalization(m) or super().is_leaf_module(m, module_qualified_name)


def _module_used(node: fx.Node) -> str | None:
    """Name the module that `node` calls or whose parameter it reads: both are a use of it."""
    if node.op == "call_module":
        return str(node.target)
    return str(node.target).rpartition(".")[0] if node.op == "get_attr" else None


def _feeds_one_module_only(node: fx.Node, uses: Counter[str | None]) -> bool:
    """Whether `node` is the only use of a module, and its output goes to one module and no more."""
    return (
        node.op == "call_module"
        and uses[_module_used(node)] == 1
        and [user.op for user in node.users] == ["call_module"]
    )


def _composable(layer: nn.Module, norm: BatchNorm) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether the outputs of `layer` are the channels that `norm` normalizes."""
    followers = {
        nn.Linear: (BatchNorm, nn.BatchNorm1d, nn.SyncBatchNorm),
        nn.Conv2d: (BatchNorm, nn.BatchNorm2d, nn.SyncBatchNorm),
    }
    # The exact types: a subclass may compute something else of its weight.
    return (
        isinstance(layer, nn.Linear | nn.Conv2d)
        and type(norm) in followers.get(type(layer), ())
        and is_plain(layer)
        and is_plain(norm)
        and norm.running_mean.shape == layer.weight.shape[:1]
    )


@torch.no_grad()
def _compose(layer: nn.Linear | nn.Conv2d, norm: BatchNorm) -> None:
    """Make `layer` compute norm(layer(u)), with new parameters: the old may be shared."""
    weight, mean, var = layer.weight.double(), norm.running_mean.double(), norm.running_var.double()
    gamma = 1.0 if norm.weight is None else norm.weight.double()  # torch's may have neither
    beta = 0.0 if norm.bias is None else norm.bias.double()
    bias = 0.0 if layer.bias is None else layer.bias.double()
    scale = gamma / torch.sqrt(var + norm.eps)
    shift = beta + (bias - mean) * scale
    scaled = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    layer.bias = nn.Parameter(shift.to(layer.weight.dtype), layer.weight.requires_grad)
    layer.weight = nn.Parameter(scaled.to(layer.weight.dtype), layer.weight.requires_grad)
