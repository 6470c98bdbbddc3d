"""What was written in an older format, brought to today's: every format that a release wrote can be read for ever.

Whoever raises `store.FORMAT_VERSION` adds here the function that brings a payload of the format before to the new one.
"""

from __future__ import annotations

from collections.abc import Callable

from transformer.reading import JsonObject

Payload = JsonObject

# By the format that a function reads: it gives a payload of the next one. No format has been left behind yet.
MIGRATIONS: dict[int, Callable[[Payload], Payload]] = {}


def can_migrate(version: int, to: int) -> bool:
    """Whether there is a function for every step from one format to another."""
    return all(step in MIGRATIONS for step in range(version, to)) if version < to else version == to


def migrate(payload: Payload, to: int) -> Payload:
    """Bring the content of a `state.json` to a format, step by step.

    Args:
        payload: whole, its checksum compared before; it is left as it is.
        to: a format for which `can_migrate` holds.
    """
    for version in range(payload["format_version"], to):
        payload = MIGRATIONS[version](dict(payload)) | {"format_version": version + 1}
    return payload
