"""Starts ranks quickly, by forking a process that has done the slow imports.

A job is a line of JSON on stdin: `environment`, `output` (a folder for stdout and stderr), and either
`arguments` of train.py, or a `function` of rank_work.py with its `arguments`, whose result goes to `output`.
The answer is a line with the pid; the answer to `{"wait": pid}` is its exit code.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import hydra  # noqa: F401
import torch
from torch import distributed  # noqa: F401

import bn.cli
import bn.distributed.peers
import bn.tasks.images
import bn.train

TRAIN = Path(__file__).resolve().parents[2] / "train.py"


def run(job):
    os.setsid()
    output = Path(job["output"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(job["environment"])
    bn.distributed.peers.GRACE_S, bn.distributed.peers.SETTLE_S, bn.distributed.peers.PATIENCE_S = 1, 1, 4
    if "function" in job:
        work = importlib.import_module("rank_work")
        torch.save(getattr(work, job["function"])(*job["arguments"]), output / "result")
        os._exit(0)
    if "trouble" in job:
        importlib.import_module("rank_work").trouble(*job["trouble"])
    sys.argv = ["train.py", *job["arguments"]]
    runpy.run_path(str(TRAIN), run_name="__main__")


def main():
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # the first optimizer imports modules for a second
    bn.cli.planned_run(["experiment=mnist_bn"])  # so does this
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            print(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        try:
            run(job)
        except SystemExit:
            raise  # as in the program itself
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        return


if __name__ == "__main__":
    main()
