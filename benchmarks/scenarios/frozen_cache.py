"""A frozen encoder runs once: what it gives is kept on the disk, and shared by fusions, heads, seeds and later suites.

The few images that the second suite encodes are those of its dry run, which tries each combination on some samples, and
of the estimate of its time.
"""

from torch import nn

import mmkit
from mmkit.transforms.image import ImageTransform


class Thumbnail(nn.Module):
    """8 x 8 average colours. `frozen` says that nothing is trained; pretrained encoders say it by default."""

    reads = ImageTransform  # brings images to one size; the core fits it on the training split
    frozen = True
    images = 0

    def __init__(self, transform):
        super().__init__()
        self.width = transform.channels * 8 * 8

    def forward(self, batch):
        Thumbnail.images += len(batch["mask"])
        pixels = batch["pixels"].float() / 255
        return mmkit.Features.of(nn.functional.adaptive_avg_pool2d(pixels, 8).flatten(1), batch["mask"])


def bench(out, fusion):
    """A suite on drawings and their titles, the drawings through the frozen encoder."""
    before = Thumbnail.images
    suite = mmkit.bench(
        task="clipart",
        encoders={"image": Thumbnail},
        fusion=fusion,
        training={"epochs": 2, "lr": 0.002},
        seeds=2,
        cost=False,
        limit=300,
        cache="features",  # None, the default, is the folder of `mmkit cache`
        out=out,
    )
    print(f"{out}: {len(suite.records)} runs, {Thumbnail.images - before} images encoded")


bench("runs/first", ["concat", "late"])
bench("runs/second", ["gated", "sum"])  # another suite, other fusions, the same features
