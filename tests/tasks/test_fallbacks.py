"""Fallbacks if compiling or capturing fails or GPU memory runs out, tested without a GPU."""

import importlib
import shutil
from pathlib import Path

import pytest
import torch

from bn.cli.single_run import attempt
from bn.distributed.ranks import Ranks
from bn.errors import CaptureFailed, UserError
from bn.tasks import build_task, compiling, cuda_graph
from bn.tasks.compiling import should_compile
from bn.tasks.memory import report_out_of_memory

importlib.import_module("bn.tasks.images")  # before a test patches what it imports
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which "
    "1.00 GiB is free. Of the allocated memory 70.00 GiB is allocated by PyTorch, and 1.00 GiB is reserved."
)


@pytest.fixture
def task(planned, monkeypatch):
    """Build tasks with a small network; torch.compile is replaced by the identity."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    tasks = []

    def make(*overrides):
        config = planned("experiment=bn_x5", "scale=smoke", "model.width=0.01", *overrides).config
        tasks.append(build_task(config, CPU, 0))
        return tasks[-1]

    yield make
    for one in tasks:
        one.close()


@pytest.fixture
def graph(monkeypatch):
    """Replace `CudaGraphStep`: raise the given errors in turn, then return the step itself."""

    def failing(*errors):
        remaining = iter(errors)

        def capture(step, _model, *_inputs):
            if error := next(remaining, None):
                raise error
            return step

        monkeypatch.setattr(cuda_graph, "CudaGraphStep", capture)

    return failing


def test_a_step_that_cannot_be_captured_runs_without_a_graph(task, graph, capfd):
    graph(CaptureFailed("RuntimeError: it is not permitted"))
    one = task()
    step = one.step
    one.capture()
    assert one.step is step
    assert capfd.readouterr().err == (
        "no CUDA graph, kernels are launched one by one: RuntimeError: it is not permitted\n"
    )


def test_the_mlps_step_that_cannot_be_captured_runs_without_a_graph(planned, graph, capfd):
    graph(CaptureFailed("RuntimeError: it is not permitted"))
    one = build_task(planned("experiment=mnist_bn").config, CPU, 0)
    step = one.step
    one.capture()
    assert one.step is step
    assert capfd.readouterr().err.startswith("no CUDA graph")


def test_a_step_that_cannot_be_compiled_is_captured_uncompiled(task, graph, capfd):
    graph(RuntimeError("no\nkernel"))
    one = task("compile=never")
    one.step(*one.draw(1))
    momenta = [tensor.clone() for tensor in one.step.state_tensors()]
    compiled, one.compiled = one.step, True
    one.capture()
    assert one.step is not compiled
    assert not one.compiled
    assert all(map(torch.equal, one.step.state_tensors(), momenta))
    assert capfd.readouterr().err == "not compiled: RuntimeError: no kernel\n"


def test_compile_always_fails_if_compiling_fails(task, graph):
    graph(RuntimeError("no kernel"))
    one = task("compile=always")
    with pytest.raises(UserError, match=r"^compile=always: RuntimeError: no kernel; accepted: auto, never$"):
        one.capture()


def test_compile_always_fails_if_the_inputs_cannot_be_compiled(task, graph, monkeypatch):
    def broken(_):
        def raises(*_, **__):
            raise RuntimeError("no compiler")

        return raises

    graph()
    monkeypatch.setattr(torch, "compile", broken)
    one = task("compile=always")
    with pytest.raises(UserError, match=r"^compile=always: RuntimeError: no compiler; "):
        one.capture()


@pytest.mark.parametrize("compile", ["never", "always"])
def test_out_of_memory_causes_no_fallback(task, graph, compile):
    graph(torch.cuda.OutOfMemoryError(OUT_OF_MEMORY))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        task(f"compile={compile}").capture()


def test_out_of_memory_is_one_line_that_names_batch_and_memory(planned, capfd):
    @report_out_of_memory
    def work(*_):
        raise torch.cuda.OutOfMemoryError(OUT_OF_MEMORY)

    run = planned("experiment=mnist_bn", "optim.batch=60")
    state, line = attempt(run, Ranks(), {}, work)
    assert state == "interrupted"
    assert line == (
        f"{run.name}: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 "
        "GiB of which 1.00 GiB is free; reduce optim.batch=60 or share it among more processes (torchrun): "
        "the same command resumes it"
    )
    assert "Traceback" not in capfd.readouterr().err


def test_auto_compiles_on_a_gpu_if_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(compiling, "missing_requirement", lambda device: None)
    assert [should_compile(CUDA, wanted) for wanted in ("auto", "always", "never")] == [True, True, False]
    assert [should_compile(CPU, wanted) for wanted in ("auto", "always", "never")] == [False, True, False]


@pytest.fixture
def complete(monkeypatch):
    """Simulate a machine with everything that compiling for a GPU requires."""
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(Path, "exists", lambda path: True)
    assert compiling.missing_requirement(CUDA) is None


MISSING = {
    "a C++ compiler": (shutil, "which", lambda name: None),
    "Triton": (compiling.importlib.util, "find_spec", lambda name: None),
    "a C compiler": (shutil, "which", lambda name: name if "++" in name else None),
    "Python's headers": (Path, "exists", lambda path: False),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_for_compiling_is_named(complete, monkeypatch, what):
    monkeypatch.setattr(*MISSING[what])
    assert not should_compile(CUDA, "auto")
    with pytest.raises(UserError, match="^compile=always: needs " + what.replace("+", r"\+")):
        should_compile(CUDA, "always")
