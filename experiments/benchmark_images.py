"""The speed of BN-Inception at 224, as scripts/benchmark_images.py measured it.

    python scripts/benchmark_images.py --compiled --save

The floor is the network's multiply-adds over the throughput of a large matrix product in the same process and
precision; training counts three times the forward pass (the gradients of inputs and of weights). The record
of a GPU also gives the cost of Figure 3: the paper's steps times 32 images, over the images per second.
"""

from typing import Any

STEPS_OF_FIGURE_3 = {  # to 72.2% top-1, in mini-batches of 32
    "Inception": 31.0e6,
    "BN-Baseline": 13.3e6,
    "BN-x5": 2.1e6,
    "BN-x30": 2.7e6,
}
PASSES = {"training": 3, "inference": 1}  # each of the forward pass's multiply-adds


def table(document: dict[str, Any]) -> str:
    """Images per second, the ratio to plain eager float32, and the share of the floor, for both uses."""
    lines = []
    for use, passes in PASSES.items():
        rows = document[use]
        plain = rows[0]["images_per_second"]  # plain eager float32 NCHW comes first
        memory = rows[0]["memory"] is not None
        lines += [
            f"| {use}, {document['size']} x {document['size']}, {document['batch']} a mini-batch "
            f"| precision | images/s | x plain eager | of the floor's rate |{' memory (GB) |' * memory}",
            f"|---|---|--:|--:|--:|{'--:|' * memory}",
        ]
        for name in ("float32", "bf16"):
            floor = document["matrix_rate"][name] / (passes * document["multiply_adds"])
            lines.append(
                row("floor: its multiply-adds at the matrix rate", name, floor, plain, floor, None, memory)
            )
        for found in rows:
            rate = document["matrix_rate"][found["precision"]]
            floor = rate / (passes * document["multiply_adds"])
            speed = found["images_per_second"]
            lines.append(row(found["name"], found["precision"], speed, plain, floor, found["memory"], memory))
        lines.append("")
    return "\n".join(lines + notes(document)) + "\n"


def row(
    name: str, precision: str, speed: float, plain: float, floor: float, memory: int | None, with_memory: bool
) -> str:
    used = f" {memory / 1e9:.1f} |" if memory is not None else " - |"
    return (
        f"| {name} | {precision} | {speed:,.1f} | {speed / plain:.2f} | {100 * speed / floor:.0f}% |"
        f"{used if with_memory else ''}"
    )


def notes(document: dict[str, Any]) -> list[str]:
    rate = document["matrix_rate"]
    env = document["environment"]
    threads = document["threads"]
    tf32 = " (TF32, in convolutions too)" if document["tf32"] else ""
    lines = [
        f"{document['multiply_adds'] / 1e6:,.0f}M multiply-adds a forward pass; matrix products reach "
        f"{2 * rate['float32'] / 1e9:,.0f} GFLOP/s in float32{tf32}, {2 * rate['bf16'] / 1e9:,.0f} in bf16.",
        f"{document['device']}, {threads} thread{'s' * (threads > 1)}, torch {env['torch']}, "
        f"{env['time'][:10]}; median of {document['rounds']} rounds.",
    ]
    lines += [
        f"Failed: {row['name']}, {row['precision']}: {row['failed']}" for row in document.get("failed", ())
    ]
    best = max(document["training"], key=lambda found: found["images_per_second"])
    if best["top_five"]:
        kernels = "; ".join(f"{name} {100 * share:.0f}%" for name, share in best["top_five"])
        lines.append(f"The kernels that take most of the fastest training step: {kernels}.")
        lines += ["", *costs(best["images_per_second"])]
    return lines


def costs(speed: float) -> list[str]:
    """GPU hours of each network of Figure 3 on LSVRC2012."""
    lines = ["| Figure 3 on LSVRC2012 | steps of 32 to 72.2% (the paper) | GPU hours here |", "|---|--:|--:|"]
    for name, steps in STEPS_OF_FIGURE_3.items():
        lines.append(f"| {name} | {steps / 1e6:.1f}M | {steps * 32 / speed / 3600:,.0f} |")
    return lines
