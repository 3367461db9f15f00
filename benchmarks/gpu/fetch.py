"""Fetch what a machine with PyTorch, but without a network, needs besides to run mmkit.

    python benchmarks/gpu/fetch.py [--python 3.12] [--into benchmarks/gpu/wheels] [--limit 64]

Run it where there is a network. Wheels of the versions in constraints.txt go to a folder that git ignores; what has to
be built from its source is built here, and must be the same for every machine. Large wheels are packed anew, which
takes a minute and saves a quarter of them. Ends with 1 where they and the tree that travels with them are too large.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONSTRAINTS = ROOT / "constraints.txt"

LACKING = (
    "annotated-types",
    "av",
    "bm25s",
    "cffi",
    "defusedxml",
    "docstring-parser",
    "ftfy",
    "nltk",
    "open-clip-torch",
    "pycparser",
    "pydantic",
    "pydantic-core",
    "setuptools",
    "simplejpeg",
    "snowballstemmer",
    "soundfile",
    "transformers",
    "typing-extensions",
    "typing-inspection",
    "wcwidth",
)
"""What mmkit and its plugins need, with all that these need, but for what an image with torch, torchvision, torchaudio,
torchmetrics, timm, sacrebleu, typer, rich and pytest holds. Some that such an image has too may be too old in it."""
FROM_SOURCE = ("rouge-score",)
"""Of which there is no wheel of the version asked for."""
LARGE = 16 << 20
"""Bytes of a wheel that is packed anew."""
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)


def fetch(python: str, folder: Path) -> None:
    """Fill the folder.

    Raises:
        SystemExit: something cannot be fetched, or what was built is not the same everywhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()  # two versions of one package cannot be installed
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    common = ["--quiet", "--no-deps", "--constraint", str(CONSTRAINTS)]
    where = [part for platform in PLATFORMS for part in ("--platform", platform)]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *where]
    subprocess.run([*pip, "download", *common, *target, "--dest", str(folder), *LACKING], check=True)
    subprocess.run([*pip, "wheel", *common, "--wheel-dir", str(folder), *FROM_SOURCE], check=True)
    for name in FROM_SOURCE:
        (wheel,) = folder.glob(f"{name.replace('-', '_')}-*.whl")
        if not wheel.name.endswith("-none-any.whl"):
            raise SystemExit(f"{wheel.name} was built for this machine; it must be the same for every one")
    for wheel in folder.glob("*.whl"):
        if wheel.stat().st_size > LARGE:
            repack(wheel)


def repack(wheel: Path) -> None:
    """The same content packed more tightly, by a method that pip reads as well but no builder uses."""
    fresh = wheel.with_suffix(".fresh")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(fresh, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            member.compress_type = zipfile.ZIP_LZMA
            new.writestr(member, content)
    fresh.replace(wheel)


def tree() -> float:
    """MiB of the files that git tracks here."""
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sum(path.stat().st_size for name in told.split("\0") if name and (path := ROOT / name).exists()) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="of the machine that they are for")
    parser.add_argument("--into", type=Path, default=HERE / "wheels")
    parser.add_argument("--limit", type=float, default=64.0, help="MiB that may travel")
    asked = parser.parse_args()
    fetch(asked.python, asked.into)
    sizes = {wheel.name: wheel.stat().st_size / 2**20 for wheel in sorted(asked.into.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size:7.2f} MiB  {name}")
    wheels, files = sum(sizes.values()), tree()
    total = wheels + files
    print(
        f"{total:7.2f} MiB  of {asked.limit:g} that may travel: {wheels:.2f} in {asked.into}, {files:.2f} of this tree"
    )
    return int(total > asked.limit)


if __name__ == "__main__":
    sys.exit(main())
