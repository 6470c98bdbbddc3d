"""What attends to what when a model reads a source and writes a given target.

L layers, H heads, S source pieces and the end mark, T target pieces and the end mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from transformer.data.batch import collate
from transformer.errors import UserError
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.transformer import Transformer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BEGIN = "<s>"
_INCHES = 0.3  # of a figure per piece
# matplotlib's own font lacks these scripts; those that are installed stand in
_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans",
          "Microsoft YaHei", "Malgun Gothic", "Noto Sans Arabic", "Arial Unicode MS")  # fmt: skip


@torch.inference_mode()
def attention_maps(model: Transformer, source_ids: Sequence[int], target_ids: Sequence[int]) -> dict[str, Tensor]:
    """The weights of every attention for one pair, whichever kernel is in use.

    The model is in evaluation mode, and the ids are without special ids.

    Returns:
        `encoder.N` (H, S, S), `decoder.N` (H, T, T) and `cross.N` (H, T, S) of each layer N, from 0, on the CPU. Row t
        of the last two is what the decoder attends to when it predicts target piece t; the columns of `decoder.N` are
        the begin mark and all target pieces but the end mark.
    """
    batch = collate([source_ids], [target_ids]).to(model.device)
    record = AttentionRecord()
    encoder_output = model.encode(batch.source_ids, record=record)
    model.decode(batch.decoder_input_ids, encoder_output, record=record)
    return {name: weights[0].float().cpu() for name, (weights,) in record.maps.items()}


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The attention weights of one sentence and its translation.

    Attributes:
        source, target: the pieces of both sides, end marks included.
        maps: weights [head][row][column] by name, see `attention_maps`.
    """

    source: Sequence[str]
    target: Sequence[str]
    maps: Mapping[str, Tensor]

    @property
    def encoder(self) -> Tensor:
        """(L, H, S, S): layer, head, attending source piece, attended source piece."""
        return self._stacked("encoder")

    @property
    def decoder(self) -> Tensor:
        """(L, H, T, T): layer, head, target piece, attended beginning or earlier piece; (0, 0, T, T) in a decoder
        without self-attention."""
        return self._stacked("decoder")

    @property
    def cross(self) -> Tensor:
        """(L, H, T, S): layer, head, target piece, attended source piece."""
        return self._stacked("cross")

    def _stacked(self, kind: str) -> Tensor:
        found = [weights for name, weights in self.maps.items() if name.startswith(f"{kind}.")]
        rows, columns = self._pieces(kind)
        return torch.stack(found) if found else torch.empty(0, 0, len(rows), len(columns))

    def _pieces(self, kind: str) -> tuple[Sequence[str], Sequence[str]]:
        """The pieces of the rows and of the columns of a kind of map."""
        if kind == "cross":
            return self.target, self.source
        return (self.source, self.source) if kind == "encoder" else (self.target, [_BEGIN, *self.target[:-1]])

    def to_json(self) -> dict[str, object]:
        """The object that `transformer translate --attention` writes: `source`, `target` and `maps`, with weights
        rounded to four digits, in the types of JSON."""
        maps = {
            name: [[[round(weight, 4) for weight in row] for row in head] for head in weights.tolist()]
            for name, weights in self.maps.items()
        }
        return {"source": list(self.source), "target": list(self.target), "maps": maps}

    def plot(self, name: str | None = None, head: int | None = None) -> Figure:
        """Draw one map. Notebooks show the figure after `%matplotlib inline`.

        Args:
            name: of the map, such as `cross.1`; None: the cross-attention that aligns words best, that of the last
                layer but one.
            head: from 0; None: the mean over the heads.

        Raises:
            UserError: matplotlib is not installed.
            ValueError: there is no such map or head.
        """
        try:
            from matplotlib import font_manager
            from matplotlib.figure import Figure  # not pyplot, which keeps state
        except ImportError:
            raise UserError("plot: matplotlib is not installed; pip install matplotlib") from None
        name = f"cross.{max(0, len(self.cross) - 2)}" if name is None else name
        if name not in self.maps:
            raise ValueError(f"no map {name!r}; there are {', '.join(self.maps)}")
        heads = self.maps[name]  # (H, rows, columns)
        if head is not None and not 0 <= head < len(heads):
            raise ValueError(f"head {head}: {name} has heads 0 to {len(heads) - 1}")
        rows, columns = self._pieces(name.partition(".")[0])
        figure = Figure(figsize=(2 + _INCHES * len(columns), 1.5 + _INCHES * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.imshow((heads.mean(dim=0) if head is None else heads[head]).numpy(), cmap="Blues", vmin=0, vmax=1)
        installed = font_manager.fontManager.get_font_names()
        fonts = ["DejaVu Sans", *(font for font in _FONTS if font in installed)]
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontfamily=fonts)
        axes.set_yticks(range(len(rows)), rows, fontfamily=fonts)
        axes.set_title(name if head is None else f"{name}.{head}")
        return figure
