"""Build `mmkit/tasks/data/clipart.npz` from the drawings of the Debian package openclipart-svg.

    apt-get download openclipart-svg=1:0.18+dfsg-19
    dpkg -x openclipart-svg_*.deb openclipart
    python benchmarks/data/build_clipart.py openclipart/usr/share/openclipart/svg

needs numpy, pillow, cairosvg and libcairo2. cairosvg stays in its safe mode: a drawing cannot open paths or addresses.
Another version of cairo, or other fonts, may change pixels, and with them a few groups; `--check` says how many.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import cairosvg
import numpy as np
from defusedxml import ElementTree
from PIL import Image
from twins import TARGET, groups

SIDE = 64
COLOURS = 256  # of an image: a palette takes a third off the file and moves a channel by 0.3 of 255 in the mean
DRAWN = 256  # longer side of the rendering, which is then scaled down
# Greatest number of drawings a class; the class is the first folder.
CLASSES = {
    "animals": 160,
    "buildings": 160,
    "computer": 160,
    "food": 160,
    "geography": 160,
    "office": 160,
    "people": 160,
    "plants": 160,
    "recreation": 160,
    "shapes": 160,
    "signs_and_symbols": 160,
    "tools": 160,
    "transportation": 160,
}
A_TITLE = 3  # drawings with one raw title in a class: whole icon sets have a single one
A_FOLDER = 60  # drawings of one folder: card games would fill their class
LARGEST = 400_000  # bytes
PUBLIC_DOMAIN = {"http://web.resource.org/cc/PublicDomain", "http://creativecommons.org/licenses/publicdomain/"}
RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"


class Drawing(NamedTuple):
    """One drawing that was taken."""

    path: str
    label: str
    title: str
    author: str
    pixels: bytes
    png: bytes


def metadata(svg: bytes) -> tuple[str, str] | None:
    """Raw title and author of a drawing that states a public-domain dedication; None for any other."""
    if b"<!ENTITY" in svg:
        return None
    try:
        root = ElementTree.fromstring(svg)
    except (ElementTree.ParseError, ValueError):
        return None
    work = next((node for node in root.iter() if node.tag.endswith("}Work")), None)
    if work is None:
        return None
    licences = {node.get(RESOURCE) for node in work if node.tag.endswith("}license")}
    if not licences or not licences <= PUBLIC_DOMAIN:
        return None
    title = next((node.text or "" for node in work if node.tag.endswith("}title")), "")
    creator = next((node for node in work if node.tag.endswith("}creator")), ())
    author = next((node.text or "" for agent in creator for node in agent if node.tag.endswith("}title")), "")
    return " ".join(title.split()), " ".join(author.split())


def cleaned(title: str, author: str) -> str:
    """The title without what tells the author, and so the class: "Clipart by AUTHOR", the name, an address."""
    title = re.sub(r"(?i)\bclip ?art by\b[^-]*(-|$)", " ", title).replace("_", " ")
    title = without_address(title)
    names = [re.escape(name) for name in re.findall(r"\w{4,}", author)]
    return " ".join(re.sub(rf"(?i)\b({'|'.join([*names, '(open)?clip ?art'])})\b", " ", title).split())


def without_address(text: str) -> str:
    """The text without addresses of electronic mail, nor the brackets in which one stands."""
    return " ".join(re.sub(r"\([^)]*@[^)]*\)|\S+@\S+", " ", text).split())


def rendered(svg: bytes) -> Image.Image | None:
    """What is drawn, without the empty page around it, fitted into a white square; None if there is nothing to see."""
    try:
        page = Image.open(io.BytesIO(cairosvg.svg2png(svg, output_width=DRAWN)))
        if page.height > page.width:
            page = Image.open(io.BytesIO(cairosvg.svg2png(svg, output_height=DRAWN)))
    except Exception:  # noqa: BLE001  a drawing that fails in any way is replaced by the next
        return None
    page = page.convert("RGBA")
    box = page.getchannel("A").getbbox()
    if box is None:
        return None
    image = page.crop(box)
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    scale = SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    small = white.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    square.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    if all(low == high for low, high in square.getextrema()):
        return None
    return square.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def drawings(root: Path) -> list[Drawing]:
    """What is taken of each class, in the order of the paths."""
    taken = []
    for label, most in CLASSES.items():
        titles: Counter[str] = Counter()
        folders: Counter[Path] = Counter()
        count = 0
        for path in sorted(root.glob(f"{label}/**/*.svg"), key=lambda path: path.relative_to(root).as_posix()):
            folder = path.parent
            if count == most or path.is_symlink() or path.stat().st_size > LARGEST or folders[folder] == A_FOLDER:
                continue
            svg = path.read_bytes()
            found = metadata(svg)
            if found is None or titles[found[0]] == A_TITLE or not cleaned(*found):
                continue
            image = rendered(svg)
            if image is None:
                print(f"cannot be drawn: {path}", file=sys.stderr)
                continue
            file = io.BytesIO()
            image.save(file, "PNG", optimize=True)
            name = path.relative_to(root).with_suffix("").as_posix()
            taken.append(
                Drawing(name, label, cleaned(*found), found[1], image.convert("RGB").tobytes(), file.getvalue())
            )
            titles[found[0]] += 1
            folders[folder] += 1
            count += 1
    return taken


def in_one_class(taken: list[Drawing]) -> list[Drawing]:
    """Those whose pixels do not stand in another class as well."""
    labels = defaultdict(set)
    for drawing in taken:
        labels[drawing.pixels].add(drawing.label)
    return [drawing for drawing in taken if len(labels[drawing.pixels]) == 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder that holds animals/, food/, ...")
    parser.add_argument("--check", action="store_true", help="compare with the file that ships; write nothing")
    arguments = parser.parse_args()
    taken = in_one_class(drawings(arguments.root))
    labels = sorted(CLASSES)
    pictures = [Image.frombytes("RGB", (SIDE, SIDE), drawing.pixels) for drawing in taken]
    grouped = groups([drawing.title for drawing in taken], pictures)
    arrays: dict[str, Any] = {
        "png": np.frombuffer(b"".join(drawing.png for drawing in taken), dtype=np.uint8),
        "png_start": np.cumsum([0, *(len(drawing.png) for drawing in taken)]).astype(np.int32),
        "title": np.array([drawing.title for drawing in taken]),
        "path": np.array([drawing.path for drawing in taken]),
        "author": np.array([without_address(drawing.author) for drawing in taken]),
        "label": np.array([labels.index(drawing.label) for drawing in taken], dtype=np.uint8),
        "label_name": np.array(labels),
        "group": np.array(grouped, dtype=np.int32),
    }
    if arguments.check:
        with np.load(TARGET, allow_pickle=False) as file:
            differ = [name for name, array in arrays.items() if not np.array_equal(file[name], array)]
        sys.exit(f"differ from {TARGET}: {', '.join(differ)}" if differ else 0)
    np.savez_compressed(TARGET, allow_pickle=False, **arrays)
    print(f"{TARGET}: {len(taken)} drawings, {len(set(grouped))} groups, {TARGET.stat().st_size} bytes")
    print(dict(Counter(drawing.label for drawing in taken)))


if __name__ == "__main__":
    main()
