"""Score a run, or a file of translations, with BLEU, chrF2++ and TER: `python scripts/evaluate.py RUN --split test`."""

import sys

from transformer.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
