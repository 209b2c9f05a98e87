"""Fold batch normalization into the layer before it, for inference."""

import copy
from collections import Counter
from typing import TypeGuard

import torch
from torch import fx, nn

from bn.norm.layers import is_normalization, is_plain, normalization_layers
from bn.norm.module import BatchNorm


def fold(model: nn.Module) -> fx.GraphModule:
    """Return a copy of `model`, in evaluation mode, with each BN folded into the layer before it.

    At inference BN is a fixed affine map (Algorithm 2, step 11), and its composition with the layer
    W u + b before it is again such a layer, W' u + b', with

        W' = W * gamma / sqrt(Var[x] + eps),
        b' = beta + (b - E[x]) * gamma / sqrt(Var[x] + eps).

    Both are computed in float64 and rounded once. A layer without a bias gains one. BN means `BatchNorm` and
    torch's own layers. A BN is folded if it directly follows an nn.Linear or nn.Conv2d, grouped or not, that
    is used once and whose output goes nowhere else. Any other BN stays, such as the per-activation form after
    a convolution. A BN also stays if it or the layer is of a subclass or has hooks, which torch's older
    weight_norm, spectral_norm and pruning add. Tracing sees no shapes: the output of an nn.Linear before a BN
    must be (N, C), since with more dimensions the folded layer would be wrong.

    `model` is unchanged. It must be traceable by torch.fx: no control flow may depend on values. Submodules
    keep their names; one with an `as_conv2d()` method, such as a separable convolution, is replaced by the
    nn.Conv2d that the method returns. Raises ValueError if there is no BN, if a BN keeps no statistics, or if
    `model` itself has hooks, which tracing does not see; RuntimeError if a BN has no statistics yet.
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
    _replace_with_conv2d(network)
    norms = normalization_layers(network)
    graph = _Tracer().trace(network)
    uses = Counter(_used_module(node) for node in graph.nodes)
    for node in list(graph.nodes):
        if not _feeds_only_one_module(node, uses):
            continue
        follower = next(iter(node.users))
        layer = network.get_submodule(str(node.target))
        norm = norms.get(str(follower.target))
        if norm is not None and _can_fold(layer, norm):
            _fold_into(layer, norm)
            follower.replace_all_uses_with(node)
            graph.erase_node(follower)
    return fx.GraphModule(network, graph, class_name=type(model).__name__).eval()


def _replace_with_conv2d(network: nn.Module) -> None:
    for name, module in list(network.named_modules()):
        # Defined by the class itself: a subclass, or a module with hooks, may compute something else.
        as_conv2d = vars(type(module)).get("as_conv2d")
        if name and as_conv2d and all(map(is_plain, module.modules())):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, as_conv2d(module))


class _Tracer(fx.Tracer):
    """Traces each BN as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_normalization(m) or super().is_leaf_module(m, module_qualified_name)


def _used_module(node: fx.Node) -> str | None:
    """Return the name of the module that `node` calls or whose parameter it reads."""
    if node.op == "call_module":
        return str(node.target)
    return str(node.target).rpartition(".")[0] if node.op == "get_attr" else None


def _feeds_only_one_module(node: fx.Node, uses: Counter[str | None]) -> bool:
    """Return whether `node` is its module's only use and a single module is its output's only user."""
    return (
        node.op == "call_module"
        and uses[_used_module(node)] == 1
        and [user.op for user in node.users] == ["call_module"]
    )


def _can_fold(layer: nn.Module, norm: BatchNorm) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Return whether the outputs of `layer` are the channels that `norm` normalizes."""
    norms = {
        nn.Linear: (BatchNorm, nn.BatchNorm1d, nn.SyncBatchNorm),
        nn.Conv2d: (BatchNorm, nn.BatchNorm2d, nn.SyncBatchNorm),
    }
    # Compare exact types: a subclass may use its weight in another way.
    return (
        isinstance(layer, nn.Linear | nn.Conv2d)
        and type(norm) in norms.get(type(layer), ())
        and is_plain(layer)
        and is_plain(norm)
        and norm.running_mean.shape == layer.weight.shape[:1]
    )


@torch.no_grad()
def _fold_into(layer: nn.Linear | nn.Conv2d, norm: BatchNorm) -> None:
    """Make `layer` compute norm(layer(u)), with new parameters, since the old ones may be shared."""
    weight, mean, var = layer.weight.double(), norm.running_mean.double(), norm.running_var.double()
    gamma = 1.0 if norm.weight is None else norm.weight.double()  # torch's layers may have no gamma and beta
    beta = 0.0 if norm.bias is None else norm.bias.double()
    bias = 0.0 if layer.bias is None else layer.bias.double()
    scale = gamma / torch.sqrt(var + norm.eps)
    shift = beta + (bias - mean) * scale
    scaled = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    layer.bias = nn.Parameter(shift.to(layer.weight.dtype), layer.weight.requires_grad)
    layer.weight = nn.Parameter(scaled.to(layer.weight.dtype), layer.weight.requires_grad)
