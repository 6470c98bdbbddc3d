"""Translate a file with CTranslate2 and the weights of a run, to compare speed and text.

    PYTHON scripts/lab/benchmarks/ctranslate2_peer.py RUN SOURCE --output FILE [--beam 5] [--batch 64] [--one]

PYTHON is an interpreter with ctranslate2, sentencepiece, safetensors, torch and pyyaml; it does not need this package.
Converts the best checkpoint into a temporary folder, translates once to warm up, then three times. Prints `key=value`
pairs on one line: the median sentences per second, and with --one milliseconds per sentence. The search is
CTranslate2's own: a sentence ends when beam_size hypotheses are finished.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ctranslate2
import sentencepiece
import torch
import yaml
from ctranslate2.specs import transformer_spec
from safetensors.torch import load_file

BOS, EOS = "<s>", "</s>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--type", default="float32", help="CTranslate2's compute type (default: float32)")
    parser.add_argument("--workers", type=int, default=1, help="translators that share the two threads (default: 1)")
    parser.add_argument("--one", action="store_true", help="one sentence at a time")
    arguments = parser.parse_args()
    model_file = arguments.run / "tokenizer" / "shared.model"
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    lines = arguments.source.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        convert(arguments.run, tokenizer, Path(folder) / "model")
        translator = ctranslate2.Translator(
            str(Path(folder) / "model"),
            compute_type=arguments.type,
            inter_threads=arguments.workers,
            intra_threads=2 // arguments.workers,
        )
        options: dict[str, Any] = {"beam_size": arguments.beam, "length_penalty": 1.0, "max_decoding_length": 80}

        def translate() -> list[str]:
            sources = [[*pieces, EOS] for pieces in tokenizer.encode(lines, out_type=str)]
            if arguments.one:
                found = [translator.translate_batch([source], **options)[0] for source in sources]
            else:
                found = translator.translate_batch(sources, max_batch_size=arguments.batch, **options)
            return tokenizer.decode([result.hypotheses[0] for result in found])  # type: ignore[no-any-return]

        translate()
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            texts = translate()
            seconds.append(time.perf_counter() - start)
    arguments.output.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    median = statistics.median(seconds)
    speed = f"milliseconds={1000 * median / len(lines):.2f}" if arguments.one else ""
    print(f"peer=ctranslate2-{ctranslate2.__version__} sentences_per_second={len(lines) / median:.1f} {speed}")


def convert(run: Path, tokenizer: Any, target: Path) -> None:
    """Write a run's best checkpoint in CTranslate2's format."""
    options = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["model"]
    assert options["tied_embeddings"] == "three_way"
    name = (run / "best").read_text().strip()
    weights = load_file(run / "checkpoints" / name / "model.safetensors")
    layers = options["num_encoder_layers"], options["num_decoder_layers"]
    spec = transformer_spec.TransformerSpec.from_config(layers, options["num_heads"], pre_norm=options["norm"] == "pre")
    embedding = next(value for key, value in weights.items() if "embedding" in key).numpy()
    for side, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        embeddings = stack.embeddings[0] if side == "encoder" else stack.embeddings
        embeddings.weight = embedding
        stack.scale_embeddings = True
        stack.position_encodings.encodings = sinusoids(512, options["d_model"]).numpy()
        if options["norm"] == "pre":
            norm(stack.layer_norm, weights, f"{side}.norm")
        for index, layer in enumerate(stack.layer):
            fill_layer(layer, weights, f"{side}.layers.{index}")
    spec.decoder.projection.weight = embedding
    pieces = [tokenizer.id_to_piece(i) for i in range(tokenizer.get_piece_size())]
    spec.register_source_vocabulary(pieces)
    spec.register_target_vocabulary(pieces)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = BOS, EOS, "<unk>"
    spec.config.decoder_start_token = BOS
    spec.validate()
    spec.optimize()
    target.mkdir()
    spec.save(str(target))


def fill_layer(layer: Any, weights: dict[str, torch.Tensor], prefix: str) -> None:
    attention = layer.self_attention
    linear(attention.linear[0], weights, f"{prefix}.self_attention.query_key_value")
    linear(attention.linear[1], weights, f"{prefix}.self_attention.output")
    norm(attention.layer_norm, weights, f"{prefix}.self_attention_residual.norm")
    if f"{prefix}.cross_attention.query.weight" in weights:
        cross = layer.attention
        linear(cross.linear[0], weights, f"{prefix}.cross_attention.query")
        linear(cross.linear[1], weights, f"{prefix}.cross_attention.key_value")
        linear(cross.linear[2], weights, f"{prefix}.cross_attention.output")
        norm(cross.layer_norm, weights, f"{prefix}.cross_attention_residual.norm")
    linear(layer.ffn.linear_0, weights, f"{prefix}.feed_forward.expand")
    linear(layer.ffn.linear_1, weights, f"{prefix}.feed_forward.contract")
    norm(layer.ffn.layer_norm, weights, f"{prefix}.feed_forward_residual.norm")


def linear(spec: Any, weights: dict[str, torch.Tensor], name: str) -> None:
    spec.weight, spec.bias = weights[f"{name}.weight"].numpy(), weights[f"{name}.bias"].numpy()


def norm(spec: Any, weights: dict[str, torch.Tensor], name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"].numpy(), weights[f"{name}.bias"].numpy()


def sinusoids(length: int, width: int) -> torch.Tensor:
    frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


if __name__ == "__main__":
    main()
