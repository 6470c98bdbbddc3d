"""The command `transformer`, and `python -m transformer`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (this process's by default) and return its exit code; see `transformer.cli.main`."""
    from transformer.cli import main as run  # here, so that importing this module loads no command line

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
