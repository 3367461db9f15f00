"""Types of Arrow: the many ways to say one thing are made one before anything is asked."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat


def usual(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in a type that all of Arrow's functions take; the column itself where it has one.

    Views, values of one length, runs, half floats and decimals become plain strings, bytes, lists and float64; the
    values of a dictionary are decoded where they are no strings.
    """
    kind = column.type
    wanted: pa.DataType | None = None
    if isinstance(kind, pa.RunEndEncodedType):
        chunks = [pc.run_end_decode(chunk) for chunk in column.chunks]
        return usual(pa.chunked_array(chunks, type=kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        return usual(pa.chunked_array([chunk.storage for chunk in column.chunks], type=kind.storage_type))
    if pat.is_dictionary(kind) and not is_text(kind.value_type):
        return usual(pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], type=kind.value_type))
    if pat.is_list_view(kind) or pat.is_large_list_view(kind):  # Arrow's cast of a slice loses values
        lists = pa.large_list(kind.value_type)
        return pa.chunked_array([pa.array(chunk.to_pylist(), lists) for chunk in column.chunks], type=lists)
    if pat.is_string_view(kind):
        wanted = pa.large_string()
    elif pat.is_binary_view(kind) or pat.is_fixed_size_binary(kind):
        wanted = pa.large_binary()
    elif pat.is_float16(kind) or pat.is_decimal(kind):
        wanted = pa.float64()
    return column if wanted is None else column.cast(wanted, safe=False)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of strings."""
    return pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is one of bytes."""
    return (
        pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind) or pat.is_binary_view(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of lists."""
    return pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is one of numbers, or of yes and no."""
    return pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind) or pat.is_boolean(kind)


def is_plain(kind: pa.DataType) -> bool:
    """Whether each value of a type can be written as one string."""
    return not (pat.is_nested(kind) or pat.is_interval(kind))
