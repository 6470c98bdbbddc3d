"""What each verb does, as functions without a command line's arguments, printing and exit codes: the Python API.

All of them take the same words: `run` is a run directory, one of its checkpoints, or a `Run`; `config` is a YAML file,
a run directory, sections as a mapping, or a `Config`; `overrides` are laid over its options, as `section.key=value`
texts or as sections; `reporter` hears of progress and warnings, and None stands for Python's logging. What is missing,
damaged or does not fit together raises a `UserError`, which names it and what to do.
"""
