"""Small archives in the format of LSVRC2012, with three classes of four images, and the expected tree."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image
from torchvision.datasets.imagenet import ARCHIVE_META

WNIDS = ("n00000030", "n00000010", "n00000020")  # ordered by ILSVRC2012_ID 1 to 3, not by name
INTERNAL = "n00000005"  # a synset with children: in meta.mat, not a class
TRUTH = (2, 3, 1, 1, 2, 3, 3)  # the ILSVRC2012_ID of each validation image
PER_CLASS = 4
TRAIN, VAL, DEVKIT = (ARCHIVE_META[name][0] for name in ("train", "val", "devkit"))


def jpeg(number):
    """An image that is different for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (9 + number % 5, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def packed(members):
    """The bytes of a tar with members (name, bytes) or (TarInfo, bytes)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def meta_mat():
    """The synsets as in the devkit: first the classes, then synsets with children."""
    names = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height",
             "num_train_images")  # fmt: skip
    synsets = np.empty((len(WNIDS) + 1, 1), [(name, object) for name in names])
    for row, wnid in enumerate((*WNIDS, INTERNAL)):
        children = [1.0, 2.0, 3.0] if wnid == INTERNAL else []
        words = f"{wnid} word, another"
        synsets[row, 0] = (row + 1.0, wnid, words, "gloss", float(len(children)), children, 1.0, 4.0)
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


PHOTOGRAPHS = {
    wnid: {f"{wnid}_{7 * n}.JPEG": jpeg(100 * i + n) for n in range(PER_CLASS)}
    for i, wnid in enumerate(WNIDS)
}
INNER = {f"{wnid}.tar": packed(images.items()) for wnid, images in PHOTOGRAPHS.items()}
VALIDATION = {f"ILSVRC2012_val_{n:08}.JPEG": jpeg(1000 + n) for n in range(1, len(TRUTH) + 1)}
EXPECTED = {
    f"train/{wnid}/{name}": image for wnid, images in PHOTOGRAPHS.items() for name, image in images.items()
} | {
    f"val/{WNIDS[truth - 1]}/{name}": image
    for truth, (name, image) in zip(TRUTH, VALIDATION.items(), strict=True)
}


def write_archives(folder: Path) -> None:
    (folder / TRAIN).write_bytes(packed(INNER.items()))
    # reversed: numbers determine the class, not the order in the archive
    (folder / VAL).write_bytes(packed(reversed(VALIDATION.items())))
    with tarfile.open(folder / DEVKIT, "w:gz") as tar:
        for name, content in {
            "readme.txt": b"",
            "data/meta.mat": meta_mat(),
            "data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{n}\n" for n in TRUTH).encode(),
        }.items():
            info = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
