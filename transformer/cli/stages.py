"""Trainings, translations and evaluations that build on one another, as one YAML file says.

    transformer stages configs/plans/multi30k_diversified.yaml

A plan reads:

    directory: runs/distillation          # a folder for each stage below it
    stages:
      - name: teacher
        train: configs/multi30k_en_de.yaml
      - name: taught
        translate: ${teacher}             # what an earlier stage left: here its run
        input: data/multi30k-en-de/train.en
      - name: student
        train: configs/multi30k_en_de.yaml
        change:
          model: {num_encoder_layers: 6, num_decoder_layers: 1}
          data: {train: {source: data/multi30k-en-de/train.en, target: "${taught}"}}
      - name: student_2
        train: ${student}/config.yaml     # the same once more, with other random numbers
        change: {run: {seed: 2}}
      - name: student_scores
        evaluate: ${student}

Each stage runs as the verb of its name would. The same command goes on where it was stopped; finished stages stay as
they are, and are not looked into again: where a corpus or a config changed since, delete the stage's folder and its
entry in finished.json, and those of the stages that build on it. A stage that the plan changed after it was finished is
refused, and so is what builds on it."""

from __future__ import annotations

import argparse

from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.stages import SIGNALLED, run_stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", help="a YAML file of stages")
    parser.add_argument("--until", metavar="NAME", help="the last stage to be done now; the others can follow later")


def run(arguments: argparse.Namespace) -> int:
    reporter = TerminalReporter()
    result = run_stages(arguments.plan, arguments.until, reporter)
    if result.code > SIGNALLED:  # else the verb itself has said what is wrong
        until = "" if arguments.until is None else f" --until {arguments.until}"
        reporter.info(f"{result.stopped}: stopped by a signal; go on with: transformer stages {arguments.plan}{until}")
    if result.stopped is None:
        for name, output in result.outputs.items():
            print(f"{name}\t{output}")
    return result.code
