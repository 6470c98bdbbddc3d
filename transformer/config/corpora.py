"""Where a corpus is and in which form: text files, a table, or a data set on the Hugging Face hub."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from transformer.config.section import Positive, Section


def _name_or_number(value: object) -> object:
    if (type(value) is int and value > 0) or (isinstance(value, str) and value):
        return value
    raise ValueError("needs a field's name, or a column's number counted from 1")


FieldName = Annotated[str | Positive, BeforeValidator(_name_or_number)]


class CorpusSection(Section):
    """One parallel corpus: two line-aligned text files, one table, or a data set on the Hugging Face hub."""

    source: str | None = None
    """Source sentences: a UTF-8 text file, plain or `.gz`, one sentence per line."""
    target: str | None = None
    """Their translations, aligned line by line, in the same form."""
    table: str | None = None
    """Instead of `source` and `target`: one `.tsv`, `.jsonl` or `.parquet` file (also `.tsv.gz`, `.jsonl.gz`)."""
    hub: str | None = None
    """Instead of files: a data set on the Hugging Face hub, or a local folder in the hub's layout."""
    hub_config: str | None = None
    """Configuration of the hub data set, e.g. `de-en`."""
    hub_split: str | None = None
    """Split of the hub data set, e.g. `train` or `train[:10000]`."""
    source_prefix: str | None = Field(default=None, min_length=1, max_length=100)
    """Put before each source sentence, with a space, to mark its kind: back-translated pairs (`<BT>`, Caswell et al.
    2019), domains or target languages. When translating, start sentences with the prefix you want."""
    source_field: FieldName | None = None
    """Table or hub: name of the source field, dotted if nested (`translation.de`); in a TSV without a header, its
    column number, counted from 1."""
    target_field: FieldName | None = None
    """Table or hub: the target field, given like `source_field`."""

    @model_validator(mode="after")
    def _one_kind(self) -> CorpusSection:
        text = self.source is not None or self.target is not None
        if sum((text, self.table is not None, self.hub is not None)) != 1:
            raise ValueError("give either source and target, or table, or hub")
        if text and (self.source is None or self.target is None):
            raise ValueError("source and target belong together; one is missing")
        if text and (self.source_field is not None or self.target_field is not None):
            raise ValueError("source_field and target_field belong to table or hub, not to text files")
        if not text and (self.source_field is None or self.target_field is None):
            raise ValueError("table and hub need source_field and target_field")
        if self.hub is not None and self.hub_split is None:
            raise ValueError("hub needs hub_split, e.g. train")
        if self.hub == "pandas":
            raise ValueError("hub pandas would read pickles, which run code; name a data set or a folder")
        if self.hub is None and (self.hub_config is not None or self.hub_split is not None):
            raise ValueError("hub_config and hub_split belong to hub")
        if self.table is not None and not table_format(self.table):
            raise ValueError(f"table {self.table} must end in .tsv, .jsonl or .parquet (the first two also .gz)")
        if isinstance(self.source_field, int) is not isinstance(self.target_field, int):
            raise ValueError("source_field and target_field must both be names or both be column numbers")
        if isinstance(self.source_field, int) and table_format(self.table or "") != "tsv":
            raise ValueError("column numbers are for .tsv tables; name the fields")
        return self


def uncompressed_name(path: str) -> str:
    """The name of a file without its folder and `.gz`."""
    return PurePath(path).name.removesuffix(".gz")


def table_format(path: str) -> str | None:
    """`tsv`, `jsonl` or `parquet` by the file's extension, None for any other."""
    _, dot, ending = uncompressed_name(path).rpartition(".")
    if not dot or (ending == "parquet" and path.endswith(".gz")):
        return None
    return ending if ending in {"tsv", "jsonl", "parquet"} else None


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, dict | CorpusSection) else value


Corpora = Annotated[
    tuple[CorpusSection, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=CorpusSection | tuple[CorpusSection, ...]),
]
