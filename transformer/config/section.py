"""What every section of a config shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_MOST = 2**31 - 1  # what every library below can count to

Positive = Annotated[int, Field(gt=0, le=_MOST)]
NonNegative = Annotated[int, Field(ge=0, le=_MOST)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A frozen group of options that refuses what it does not know."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),  # the tokenizer's `model_type` is SentencePiece's own word for it
    )
