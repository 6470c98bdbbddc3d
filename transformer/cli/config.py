"""Print the JSON Schema of config files, for editors, or a config with all defaults filled in.

transformer config schema > configs/schema.json
transformer config show configs/demo.yaml training.max_updates=100"""

import argparse
import json

from transformer.config import config_schema, dump_config, load_config
from transformer.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("schema", "show"), help="the schema, or a resolved config")
    parser.add_argument("arguments", nargs="*", default=[], metavar="CONFIG section.key=value", help="for show")


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == "schema":
        if arguments.arguments:
            raise UserError(f"config schema takes no arguments, not {arguments.arguments[0]}")
        print(json.dumps(config_schema(), indent=2, ensure_ascii=False))
        return 0
    if not arguments.arguments:
        raise UserError("config show needs a config file or a run directory")
    path, *overrides = arguments.arguments
    print(dump_config(load_config(path, overrides)), end="")
    return 0
