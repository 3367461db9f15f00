"""Drawings with their titles and what is known of their files: all real, from the clip-art collection inside mmkit.

    python benchmarks/scenarios/catalogue/make.py FOLDER

The folder of the collection that a drawing stands in is what is to be told. Author and series come with the drawing;
its bytes, colours and the share of white are counted here.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmkit.tasks.shipped import shipped

SIZE = 32


def make(folder: Path) -> None:
    """Write FOLDER/drawings.csv and FOLDER/images."""
    data = shipped("clipart.npz")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "drawings.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "title", "author", "bytes", "colours", "white", "series", "section"])
        for row, label in enumerate(data["label"]):
            png = data["png"][data["png_start"][row] : data["png_start"][row + 1]].tobytes()
            image = Image.open(io.BytesIO(png)).convert("RGB")
            pixels = np.asarray(image).reshape(-1, 3)
            colours = len(np.unique(pixels, axis=0))
            white = (pixels == 255).all(1).mean()
            name = f"images/{row:04}.png"
            image.resize((SIZE, SIZE), Image.Resampling.BOX).save(folder / name)
            title, author = str(data["title"][row]), str(data["author"][row])
            series, section = f"s{data['group'][row]:04}", str(data["label_name"][label])
            table.writerow([name, title, author, len(png), colours, f"{white:.3f}", series, section])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
