"""Align the words of given translations by a run's cross-attention: a line each, 0-0 1-2 …, in Pharaoh format.

    transformer align runs/multi30k_en_de --source sentences.en --target translations.de
    transformer align runs/multi30k_en_de --source s.en --target t.de --layer 1 --gold gold.align

Words are what spaces separate, counted from 0; text without spaces wants its words set apart first. With --gold (0-0
for a sure link, 1p2 for a possible one) the alignment error rate goes to standard error."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformer.data.corpus import read_lines
from transformer.decoding.inspection.alignment import word_alignment
from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.errors import UserError
from transformer.evaluation.alignment import GoldAlignment, alignment_error_rate, in_pharaoh_format, parse_gold
from transformer.tasks.translators import check_counts, open_translator, read_matching_lines, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--source", required=True, metavar="FILE", help="source sentences")
    parser.add_argument("--target", required=True, metavar="FILE", help="their translations")
    parser.add_argument("--layer", type=int, metavar="N", help="decoder layer, from 0 (default: the last but one)")
    parser.add_argument("--gold", metavar="FILE", help="alignments to compare with")


def run(arguments: argparse.Namespace) -> int:
    sources, targets = read_matching_lines(arguments.source, arguments.target)
    gold = None if arguments.gold is None else _gold(arguments.gold, len(sources), arguments.source)
    translator = open_translator(arguments.run, arguments.overrides, alone=True)
    decoder = translator.model.decoder
    layers = len(decoder.layers)
    layer = decoder.aligning_layer if arguments.layer is None else arguments.layer
    if not 0 <= layer < layers:
        raise UserError(f"--layer {layer}: the decoder has layers 0 to {layers - 1}")
    found = []
    for source_ids, target_ids in translator.encode_pairs(sources, targets):
        cross = attention_maps(translator.model, source_ids, target_ids)[f"cross.{layer}"]
        pieces = translator.source_tokenizer.pieces(source_ids), translator.target_tokenizer.pieces(target_ids)
        found.append(word_alignment(cross, *pieces))
        print(in_pharaoh_format(found[-1]))
    if gold is not None:
        say(f"alignment error rate {alignment_error_rate(found, gold):.4f}, {len(found):,} sentences, layer {layer}")
    return 0


def _gold(path: str, count: int, source: str) -> list[GoldAlignment]:
    lines = list(read_lines(Path(path)))
    check_counts(path, len(lines), source, count)
    gold = []
    for number, line in enumerate(lines, 1):
        try:
            gold.append(parse_gold(line))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
    return gold
