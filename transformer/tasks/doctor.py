"""A look at this machine, and a ten-second training on it."""

import json
import os
import platform
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from transformer import __version__
from transformer.config import SPLITS, Config, parse_config
from transformer.data.corpus import read_pairs
from transformer.errors import UserError
from transformer.runtime.device import choose_device, choose_precision, cpu_flags, physical_cores, precision_name
from transformer.runtime.memory import available_memory
from transformer.runtime.records import read_records
from transformer.runtime.reporting import SilentReporter
from transformer.tasks.train import train
from transformer.tasks.translators import load_translator
from transformer.tasks.verify import Check, carried_out

_PACKAGES = ("torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pyarrow", "pydantic", "datasets")
# what matrix products in fp32, bf16 and int8 are made of
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm", "sve")
_FALLS_TO = 0.9  # of the first update's loss at most
_GB = 1e9
# a language of which each word has one translation, in the same place
WORDS = {
    **{"der": "the", "die": "those", "das": "that", "ein": "a", "Hund": "dog", "Katze": "cat", "Haus": "house"},
    **{"Baum": "tree", "rot": "red", "blau": "blue", "groß": "big", "klein": "small", "sieht": "sees", "hat": "has"},
}
_CONFIG = """
run: {directory: run}
data:
  source_language: de
  target_language: en
  prepared_directory: prepared
  train: {source: train.de, target: train.en}
  validation: {source: validation.de, target: validation.en}
tokenizer: {vocab_size: 300, normalization: identity}
model: {d_model: 32, d_ff: 64, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, norm: pre, dropout: 0.0}
training:
  max_updates: 200
  max_minutes: 0.17
  batch_tokens: 256
  schedule: constant
  learning_rate: 0.01
  warmup_updates: 1
  log_every: 1
  keep_checkpoints: 1
  average_checkpoints: 0
validation: {every: 200}
"""


def diagnose(config: Config | None = None) -> Iterator[Check]:
    """Check the machine as a config (None: the defaults) uses it: device, threads, precision, disk, corpora, and a
    training. Yields each `Check` as it is done."""
    checks: dict[str, Callable[[], str]] = {
        "python": lambda: f"{platform.python_version()}, {platform.platform()}, transformer {__version__}",
        "packages": _packages,
        "processor": lambda: _processor(config),
        "memory": _memory,
        "disk": lambda: _disk(config),
        "devices": lambda: ", ".join(_devices()),
        "precision": lambda: _precision(config),
        "compiler": _compiler,
        "distributed": _distributed,
        **({} if config is None else {"corpora": lambda: _corpora(config)}),
        "training": lambda: _training(config),
    }
    # errors of PyTorch and the system are findings too
    return carried_out(checks, (UserError, RuntimeError, OSError))


def _packages() -> str:
    installed = {distribution.name for distribution in metadata.distributions()}
    missing = [name for name in _PACKAGES if name not in installed]
    if missing:
        raise UserError(f"{', '.join(missing)} not installed; pip install {' '.join(missing)}")
    return ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)


def _processor(config: Config | None) -> str:
    flags = cpu_flags()
    known = ", ".join(flag for flag in _FLAGS if flag in flags) or "features unknown"
    cores, threads = physical_cores(), config.run.threads if config is not None else None
    return f"{platform.machine()} ({known}), cores for this process: {cores}, threads: {threads or cores}"


def _memory() -> str:
    free = available_memory()
    return "not told by this system" if free is None else f"{free / _GB:.1f} GB free"


def _disk(config: Config | None) -> str:
    wanted = Path() if config is None else Path(config.run.directory)
    place = next(path for path in (wanted.absolute(), *wanted.absolute().parents) if path.is_dir())
    if not os.access(place, os.W_OK):
        raise UserError(f"{place} cannot be written to; name another run.directory or mend permissions")
    return f"{shutil.disk_usage(place).free / _GB:.1f} GB free at {place}"


def _devices() -> Iterator[str]:
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {properties.name}, {properties.total_memory / _GB:.1f} GB"
    if torch.backends.mps.is_available():
        yield "mps"
    yield "cpu"


def _precision(config: Config | None) -> str:
    device = choose_device("auto" if config is None else config.run.device)
    precision = choose_precision("auto" if config is None else config.training.precision, device)
    multiplies = choose_precision("auto", device) == torch.bfloat16
    can = "multiplies" if multiplies else "does not multiply"
    return f"{device.type} {can} in bf16; trains in {precision_name(precision)}"


def _compiler() -> str:
    found = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++", "c++"))), None)
    return (
        f"{found}, which torch.compile needs on a CPU" if found else "none for C++: torch.compile cannot work on a CPU"
    )


def _distributed() -> str:
    if not torch.distributed.is_available():
        return "not in this build of PyTorch"
    backends = [name for name in ("nccl", "gloo", "mpi", "ucc") if torch.distributed.is_backend_available(name)]
    return ", ".join(backends) or "no backend"


def _corpora(config: Config) -> str:
    """Read the first pair of each corpus file; corpora of the hub would have to be downloaded."""
    corpora = [corpus for split in (*SPLITS, "guard") for corpus in getattr(config.data, split)]
    files = [corpus for corpus in corpora if corpus.hub is None]
    for corpus in files:
        next(read_pairs([corpus]), None)
    there = f"{len(files)} there"
    return there if len(files) == len(corpora) else f"{there}, {len(corpora) - len(files)} of the hub not looked for"


def _training(config: Config | None) -> str:
    overrides = []
    if config is not None:
        overrides = [f"run.device={config.run.device}", f"training.precision={config.training.precision}"]
        overrides += [f"run.threads={json.dumps(config.run.threads)}"]
    with tempfile.TemporaryDirectory() as directory:
        smoke = smoke_training(Path(directory), overrides)
    losses = f"loss {smoke.first_loss:.2f} → {smoke.last_loss:.2f} in {smoke.updates} updates and {smoke.seconds:.1f} s"
    if not smoke.last_loss < _FALLS_TO * smoke.first_loss:
        raise UserError(f"{losses}: it does not learn; another device (run.device) or precision may")
    return f"{losses}; {smoke.source!r} → {smoke.translation!r}"


@dataclass(frozen=True)
class Smoke:
    """The result of a smoke training; losses are label-smoothed, per target token."""

    updates: int
    seconds: float  # validation included
    first_loss: float  # of the first update
    last_loss: float  # of the last update
    source: str
    translation: str  # of `source`, by the trained model


def smoke_training(directory: Path, overrides: Sequence[str] = ()) -> Smoke:
    """Create a corpus in an empty folder, train a tiny model on it for at most ten seconds, and translate a
    sentence."""
    draw = random.Random(1)
    paths = {"run.directory": "run", "data.prepared_directory": "prepared"}
    for split, pairs in (("train", 400), ("validation", 12)):
        write_corpus(directory / split, draw, pairs)
        sides = {"source": str(directory / f"{split}.de"), "target": str(directory / f"{split}.en")}
        overrides = [*overrides, f"data.{split}={json.dumps(sides)}"]
    places = [f"{key}={json.dumps(str(directory / name))}" for key, name in paths.items()]
    config = parse_config(_CONFIG, "smoke training", [*overrides, *places])
    silent = SilentReporter()  # its narration is that of a run, which this is not
    run = train(config, reporter=silent).run
    records = read_records(run.directory.metrics)
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    source = (directory / "validation.de").read_text("utf-8").splitlines()[0]
    (translation,) = load_translator(run, silent).translate([source])
    return Smoke(records[-1]["update"], records[-1]["seconds"], losses[0], losses[-1], source, translation)


def write_corpus(path: Path, draw: random.Random, pairs: int) -> None:
    """Write sentences of two to seven words to `path`.de and their translations to `path`.en."""
    sentences = [draw.choices(sorted(WORDS), k=draw.randint(2, 7)) for _ in range(pairs)]
    translations = [[WORDS[word] for word in words] for words in sentences]
    for side, lines in (("de", sentences), ("en", translations)):
        path.with_suffix(f".{side}").write_text("".join(" ".join(words) + "\n" for words in lines), "utf-8")
