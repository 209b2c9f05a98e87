"""Records up to a checkpoint are on disk before the checkpoint, so a power cut leaves no gap."""

import os

from bn import train as loop
from bn.run.directory import read_lines


def test_metrics_are_synced_before_each_checkpoint(trained, planned, monkeypatch) -> None:
    path = planned("experiment=mnist_bn").path / "metrics.jsonl"
    synced = {"lines": 0}
    at_checkpoint = []
    real_fsync, real_save = os.fsync, loop.save_checkpoint

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            synced["lines"] = len(read_lines(path))

    def save_checkpoint(folder, step, state):
        at_checkpoint.append((synced["lines"], len(read_lines(path))))
        return real_save(folder, step, state)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(loop, "save_checkpoint", save_checkpoint)
    trained("experiment=mnist_bn")
    assert len(at_checkpoint) == 3  # at 40, 80 and 120
    assert all(on_disk == written > 0 for on_disk, written in at_checkpoint)
