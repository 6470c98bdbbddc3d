"""Model options: the paper's Transformer and its common variants."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from transformer.config.section import Probability, Section
from transformer.reading import JsonObject

Positions = Literal[
    "sinusoidal", "learned", "shaw_keys", "shaw_keys_values", "t5_bias", "alibi", "rotary", "none"
]  # fmt: skip
Preset = Literal[
    "transformer-base", "transformer-big", "iwslt", "tiny", "modern", "deep-shallow", "deep-norm", "portable"
]  # fmt: skip
PRESETS = Path(__file__).with_name("presets")


def preset_options(name: object) -> JsonObject:
    """The options of a preset; empty for an unknown name."""
    path = PRESETS / f"{name}.yaml"
    options: JsonObject = yaml.safe_load(path.read_text("utf-8")) if path in PRESETS.glob("*.yaml") else {}
    return options


class ModelSection(Section):
    """The encoder-decoder of Vaswani et al. 2017; the defaults are its base model (Table 3)."""

    preset: Preset | None = None
    """A named shape whose options apply where none is given: the files in `transformer/config/presets`."""
    d_model: int = Field(default=512, gt=0, le=65_536)
    """Width of the residual stream."""
    d_ff: int = Field(default=2048, gt=0, le=1_048_576)
    """Width of the feed-forward layer."""
    num_heads: int = Field(default=8, gt=0, le=1024)
    """Attention heads; must divide d_model."""
    num_key_value_heads: int | None = Field(default=None, gt=0, le=1024)
    """Heads of keys and values, shared by groups of query heads (Ainslie et al. 2023); 1 is multi-query attention
    (Shazeer 2019). Empty: as many as num_heads."""
    num_encoder_layers: int = Field(default=6, gt=0, le=1000)
    """Encoder layers (N in the paper)."""
    num_decoder_layers: int = Field(default=6, gt=0, le=1000)
    """Decoder layers (N in the paper)."""
    positions: Positions = "sinusoidal"
    """How the model knows word order. Added to the embeddings: `sinusoidal` (the paper), `learned`. Part of
    self-attention: `shaw_keys`, `shaw_keys_values` (Shaw et al. 2018), `t5_bias` (Raffel et al. 2020), `alibi` (Press
    et al. 2022), `rotary` (Su et al. 2021). `none`: no positions."""
    max_positions: int = Field(default=1024, gt=0, le=1_000_000)
    """Rows of the table for `positions: learned`, which refuses longer sentences. The other schemes have no limit."""
    shaw_distance: int = Field(default=16, gt=0, le=10_000)
    """Largest distance that Shaw's positions tell apart; longer ones count as this."""
    norm: Literal["post", "pre", "sandwich", "deep"] = "post"
    """Where the norm stands: `post`, after the residual addition (the paper); `pre`, before the sub-layer, plus a final
    norm (Xiong et al. 2020), which needs no long warm-up; `sandwich`, before and after the sub-layer (Ding et al.
    2021); `deep`, post-norm with a scaled residual and smaller initial weights, for deep stacks (Wang et al. 2022)."""
    norm_kind: Literal["layer", "rms"] = "layer"
    """Layer norm, or RMS norm (Zhang and Sennrich 2019), which only scales."""
    query_key_norm: bool = False
    """Normalise each head's queries and keys (Henry et al. 2020), which bounds the attention scores."""
    feed_forward: Literal["relu", "gelu", "silu", "geglu", "swiglu"] = "relu"
    """Activation of the feed-forward layer, or a gated layer (`geglu`, `swiglu`; Shazeer 2020), which has half as many
    weights again at the same d_ff."""
    decoder_self_attention: Literal["attention", "average", "ssru"] = "attention"
    """The decoder's self-attention, or a replacement: the average attention network (Zhang et al. 2018) or the simpler
    simple recurrent unit (Kim et al. 2019). The replacements cost the same at every step, however long the
    translation."""
    dropout: Probability = 0.1
    """Dropout on each sub-layer's output and on the embeddings (section 5.4)."""
    attention_dropout: Probability = 0.0
    """Dropout on the attention weights. Unless 0, training computes attention with the reference kernel."""
    activation_dropout: Probability = 0.0
    """Dropout on the feed-forward layer's hidden units."""
    layer_drop: Probability = 0.0
    """Probability of skipping a layer in a forward and backward (Fan et al. 2020)."""
    tied_embeddings: Literal["three_way", "decoder", "none"] = "three_way"
    """Share one matrix between source, target and output embeddings (`three_way`, section 3.4), between target and
    output (`decoder`), or not at all."""
    attention_kernel: Literal["auto", "reference", "sdpa"] = "auto"
    """How attention is computed: `reference`, two batched products; `sdpa`, PyTorch's fused kernels; `auto`, the faster
    one for the device (`reference` on CPUs, `sdpa` elsewhere). The results agree."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: object) -> object:
        return preset_options(given.get("preset")) | given if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _consistent(self) -> ModelSection:
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}")
        if self.num_heads % (keys := self.key_value_heads):
            raise ValueError(f"num_heads {self.num_heads} is not divisible by num_key_value_heads {keys}")
        if self.num_key_value_heads not in {None, self.num_heads} and self.positions.startswith("shaw"):
            raise ValueError(f"positions {self.positions} needs a head of keys for each head of queries")
        if self.decoder_self_attention == "average" and self.positions not in {"sinusoidal", "learned"}:
            added = "positions sinusoidal or learned, which are added to the embeddings"
            raise ValueError(f"decoder_self_attention average needs {added}, and it is {self.positions}")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"d_model {self.d_model} is odd; sinusoidal positions need an even width")
        if self.positions == "rotary" and (self.d_model // self.num_heads) % 2:
            raise ValueError(f"a head of width {self.d_model // self.num_heads} is odd; rotary positions turn pairs")
        return self

    @property
    def key_value_heads(self) -> int:
        """`num_key_value_heads`, with the default for empty."""
        return self.num_key_value_heads or self.num_heads
