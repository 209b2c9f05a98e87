"""Collects wheels of the packages that a GPU machine with PyTorch but without a network lacks.

    python scripts/gpu_wheels.py                       writes .wheels/*.whl, for Python 3.12 on Linux, x86-64

On the other machine:

    python3 -m pip install --no-index --no-deps --target FOLDER .wheels/*.whl
    export PYTHONPATH=FOLDER:$PWD

The versions are those installed here. W&B is not included; logger=none, the default, does not need it.
"""

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import ArgumentParser
from bn.files import REPOSITORY

FOLDER = REPOSITORY / ".wheels"
PACKAGES = ("hydra-core", "omegaconf", "hydra-joblib-launcher", "simplejpeg", "tqdm", "pyyaml", "joblib")
FROM_SOURCE = ("antlr4-python3-runtime",)  # needed by omegaconf; pure Python, and published without a wheel
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
LIMIT_MIB = 64  # wheels and checkout together


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="Python of the other machine (default: 3.12)")
    arguments = parser.parse_args()
    pip = [sys.executable, "-m", "pip", "-q"]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", arguments.python]
    for platform in PLATFORMS:
        target += ["--platform", platform]
    subprocess.run([*pip, "download", "--no-deps", *target, "-d", str(FOLDER), *pinned(PACKAGES)], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(FOLDER), *pinned(FROM_SOURCE)], check=True)
    wheels = sum(path.stat().st_size for path in FOLDER.glob("*.whl"))
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    paths = [REPOSITORY / name for name in listed.split("\0") if name]
    checkout = sum(path.stat().st_size for path in paths if path.is_file())
    print(f"{FOLDER}: {wheels / 2**20:.1f} MiB of wheels; the checkout has {checkout / 2**20:.1f} MiB")
    if wheels + checkout > LIMIT_MIB << 20:
        sys.exit(f"gpu_wheels.py: more than {LIMIT_MIB} MiB together")


def pinned(packages: tuple[str, ...]) -> list[str]:
    return [f"{name}=={version(name)}" for name in packages]


if __name__ == "__main__":
    main()
