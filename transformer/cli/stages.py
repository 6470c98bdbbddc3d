"""Run trainings, translations and evaluations that build on one another, from one YAML file.

    transformer stages configs/plans/multi30k_diversified.yaml

A plan looks like this:

    directory: runs/distillation          # has a folder for each stage
    stages:
      - name: teacher
        train: configs/multi30k_en_de.yaml
      - name: taught
        translate: ${teacher}             # the output of an earlier stage: here its run
        input: data/multi30k-en-de/train.en
      - name: student
        train: configs/multi30k_en_de.yaml
        change:
          model: {num_encoder_layers: 6, num_decoder_layers: 1}
          data: {train: {source: data/multi30k-en-de/train.en, target: "${taught}"}}
      - name: student_2
        train: ${student}/config.yaml     # the same again, with another seed
        change: {run: {seed: 2}}
      - name: student_scores
        evaluate: ${student}

Each stage runs as the verb of its name would. Repeat the command to resume after an interruption. Finished stages are
kept and not checked again: if a corpus or a config has changed, delete the stage's folder and its entry in
finished.json, and those of the stages that build on it. If the plan changed a finished stage, that stage and those that
build on it are refused."""

import argparse

from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.stages import SIGNALLED, run_stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", help="a YAML file of stages")
    parser.add_argument("--until", metavar="NAME", help="last stage to run now; the others can follow later")


def run(arguments: argparse.Namespace) -> int:
    reporter = TerminalReporter()
    result = run_stages(arguments.plan, arguments.until, reporter)
    if result.code > SIGNALLED:  # otherwise the verb itself has reported the error
        until = "" if arguments.until is None else f" --until {arguments.until}"
        command = f"transformer stages {arguments.plan}{until}"
        reporter.info(f"{result.stopped}: stopped by a signal; resume with: {command}")
    if result.stopped is None:
        for name, output in result.outputs.items():
            print(f"{name}\t{output}")
    return result.code
