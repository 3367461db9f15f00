"""What the tests of objectives on pairs share: features of three inputs, some of them missing."""

import pytest
import torch

from mmkit.contract import Features, ModelOutput

WIDTHS = {"audio": 3, "image": 4, "text": 6}
MASKS = {
    "audio": [1, 1, 0, 1, 0, 1, 1, 1],
    "image": [1, 1, 1, 0, 0, 1, 1, 0],
    "text": [1, 0, 1, 1, 1, 1, 1, 1],
}


class Given:
    """Widths, masks, and what a model gives of them."""

    widths = WIDTHS
    masks = MASKS

    def output(self, masks=None, names=tuple(WIDTHS), dtype=torch.float64, seed=0):
        """Random features of the named inputs, which ask for gradients; two tokens a row, the second in some."""
        masks = masks or MASKS
        generator = torch.Generator().manual_seed(seed)
        features = {}
        for name in names:
            there = torch.tensor(masks[name], dtype=torch.bool)
            mask = torch.stack([there, there & (torch.arange(len(there)) % 3 == 0)], 1)
            tokens = torch.randn(len(there), 2, WIDTHS[name], generator=generator, dtype=torch.float64)
            features[name] = Features.of(tokens.to(dtype), mask)
            features[name].tokens.requires_grad_()
        size = len(masks[names[0]])
        return ModelOutput(features, features[names[0]], torch.zeros(size, 3))

    def truth(self, size):
        return {"label": torch.zeros(size, dtype=torch.long), "mask": torch.zeros(size, dtype=torch.bool)}

    def rows(self, output, a, b):
        """The rows that have both inputs, and the two vectors of each: all that a slow form sees."""
        first, second = output.features[a], output.features[b]
        both = (first.present() & second.present()).tolist()
        kept = [row for row, there in enumerate(both) if there]
        return kept, first.vector()[kept], second.vector()[kept]


@pytest.fixture
def given():
    return Given()
