"""Text by a causal language model, with the fused features as its prefix.

Mokady, Hertz and Bermano, "ClipCap: CLIP Prefix for Image Captioning", 2021, https://arxiv.org/abs/2111.09734; for
several fused tokens Liu et al., "Visual Instruction Tuning", NeurIPS 2023, https://arxiv.org/abs/2304.08485. What
differs: the prefix is normalised to the mean and scale of the model's own embeddings, and the model may be adapted by
LoRA.

The model reads: begin of text, prefix, prompt, answer.

Axes: B batch, P tokens of the prefix, T tokens of an answer, E width of the language model, H width of the features.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from mmkit.contract import Batch, Features, Target
from mmkit.errors import DataError
from mmkit.pretrained.tuning import Rank, Tune, Tuned
from mmkit_transformers.generation_transform import GenerationTransform
from mmkit_transformers.network import REPORTED, misfits, tuning_blocks
from mmkit_transformers.source import NO_ADAPTER, read


class GenerationHead(nn.Module):
    """A trained projector from features to embeddings of the language model, which then writes the answer.

    Args:
        of: what the prefix is made of: the fused "vector", or all fused "tokens".
        length: number of prefix tokens for the vector, or for each of the tokens.
        tune: what is trained of the language model: "frozen" is nothing, "lora" and "dora" adapters, "full" everything,
            "partial:N" the last N layers and what follows them.
        rank: rank of the adapters, with tune=lora or dora.
        beams: number of beams of beam search; 1 is greedy decoding.

    Raises:
        ValueError: the target is no text, or the model takes no embeddings.
        DataError: the weights are not available on this machine, or some are missing.
    """

    reads: ClassVar[type[GenerationTransform]] = GenerationTransform

    def __init__(
        self,
        width: int,
        target: Target,
        transform: GenerationTransform,
        *,
        of: Literal["vector", "tokens"] = "vector",
        length: Annotated[int, Gt(0)] = 8,
        tune: Tune = "frozen",
        rank: Rank = 8,
        beams: Annotated[int, Gt(0)] = 1,
    ) -> None:
        super().__init__()
        if target.kind != "text":
            raise ValueError(f"this head writes texts; the target is of kind {target.kind}")
        model = _model(transform)
        # What its generation_config.json says (sampling, penalties) would come in wherever `_how` says nothing, and a
        # saved head, which is built without that file, would write other texts.
        model.generation_config = GenerationConfig()
        takes = inspect.signature(model.forward).parameters
        if not {"inputs_embeds", "logits_to_keep", "position_ids"} <= set(takes):
            raise ValueError(f"{type(model).__name__} takes no inputs_embeds, logits_to_keep or position_ids")
        embedded: nn.Embedding = model.get_input_embeddings()
        wide = embedded.weight.shape[1]
        blocks, after, _ = tuning_blocks(model.eval(), {"input_ids": torch.zeros(1, 2, dtype=torch.long)})
        self.tuned = Tuned(model, tune, blocks=blocks, after=after, rank=rank, through=True)
        self.projector = nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, length * wide))
        self.norm = nn.LayerNorm(wide)
        # The scale and mean of the model's embeddings, which are far from centred; without them, learning is slow.
        with torch.no_grad():
            self.norm.weight.copy_(embedded.weight.std(0))
            self.norm.bias.copy_(embedded.weight.mean(0))
        self.of = of
        self.length = length
        self.beams = beams
        self.begin, self.end, self.most = transform.begin, transform.end, transform.max_length
        self.register_buffer("opening", torch.tensor(transform.opening, dtype=torch.long), persistent=False)

    opening: Tensor
    """Tokens of the prompt."""

    def forward(self, features: Features) -> Tensor:
        """[B P E], the prefix; zero where the features are masked, so that it carries the mask as well."""
        tokens = features.tokens if self.of == "tokens" else features.vector().unsqueeze(1)
        mask = features.mask if self.of == "tokens" else features.present().unsqueeze(1)
        prefix = self.norm(self.projector(tokens).unflatten(2, (self.length, -1)))  # [B tokens length E]
        return prefix.masked_fill(~mask[..., None, None], 0).flatten(1, 2)

    def loss(self, output: Tensor, truth: Batch) -> Tensor:
        """[B], the mean cross-entropy of a sample's tokens in nats, each predicted from the true ones before it."""
        tokens, real = truth["tokens"], truth["real"]
        if not torch.compiler.is_compiling():  # nothing beyond the longest answer is computed
            longest = max(int(real.sum(1).amax()), 1)
            tokens, real = tokens[:, :longest], real[:, :longest]
        given, mask = self._before(output)
        shown = torch.cat([given, self._embedded(tokens[:, :-1])], 1)
        mask = torch.cat([mask, real[:, :-1]], 1)
        logits = self.tuned(
            inputs_embeds=shown,
            attention_mask=mask.long(),
            position_ids=_places(mask),
            use_cache=False,
            logits_to_keep=tokens.shape[1],
        ).logits  # [B T C]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        token_loss = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")  # [B T]
        return token_loss.masked_fill(~real, 0).sum(1) / real.sum(1).clamp(min=1)

    @torch.no_grad()
    def predict(self, output: Tensor) -> Batch:
        """`tokens` [B T] of the answers that the model makes, and their `mask`, False from the end of text on."""
        given, mask = self._before(output)
        model: Any = self.tuned.backbone
        found = model.generate(inputs_embeds=given, attention_mask=mask.long(), generation_config=self._how())
        tokens = F.pad(found, (0, self.most - found.shape[1]), value=self.end)
        return {"tokens": tokens, "mask": (tokens != self.end).cumprod(1).bool()}

    def _how(self) -> GenerationConfig:
        return GenerationConfig(
            max_new_tokens=self.most,
            do_sample=False,
            num_beams=self.beams,
            eos_token_id=self.end,
            pad_token_id=self.end,
            bos_token_id=self.begin,
        )

    def _before(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What precedes the answer [B N E], and its mask [B N]; masked positions come first."""
        begin = self._embedded(output.new_full((len(output), 1), self.begin, dtype=torch.long))
        prompt = self._embedded(self.opening.expand(len(output), -1))
        there = output.ne(0).any(-1)
        values, mask = torch.cat([begin, output], 1), F.pad(there, (1, 0), value=True)
        order = mask.long().argsort(dim=1, stable=True)  # the answer then follows a real token, whatever is missing
        values = values.gather(1, order.unsqueeze(-1).expand_as(values))
        mask = mask.gather(1, order)
        return torch.cat([values, prompt], 1), F.pad(mask, (0, prompt.shape[1]), value=True)

    def _embedded(self, tokens: Tensor) -> Tensor:
        model: Any = self.tuned.backbone
        embedded: nn.Embedding = model.get_input_embeddings()
        return embedded(tokens)


def _places(mask: Tensor) -> Tensor:
    """[B N], the number of each real token among the real ones."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def _model(transform: GenerationTransform) -> Any:
    if transform.restored:
        config = dict(transform.config)
        made = AutoConfig.for_model(config.pop("model_type"), **config)
        return AutoModelForCausalLM.from_config(made, dtype=torch.float32)
    model, report = read(
        AutoModelForCausalLM.from_pretrained,
        transform.model,
        transform.revision,
        dtype=torch.float32,
        **REPORTED,
        **NO_ADAPTER,
        **transform.named,
    )
    if found := misfits(report, set(model.state_dict())):
        raise DataError(f"{transform.model} {'; it '.join(found)}")
    return model
