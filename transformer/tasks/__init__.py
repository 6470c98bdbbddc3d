"""What each verb does, as functions that parse no arguments, print nothing and return values: the Python API.

Parameters have the same meaning everywhere. `run` is a run directory, one of its checkpoints, or a `Run`. `config` is a
YAML file, a run directory, sections as a mapping, or a `Config`. `overrides` change its options, as `section.key=value`
texts or as sections. `reporter` receives progress and warnings; None stands for Python's logging. Anything missing,
damaged or inconsistent raises a `UserError` that names it and says what to do."""
