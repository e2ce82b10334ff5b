"""How are columns written as lines of CSV, or of JSON?

>>> lines_of_csv([pa.array(["Joe", "Lee, Bo"])], ",").to_pylist()
['Joe', '"Lee, Bo"']

A column at a time, by Arrow; Python sees only the texts that hold what has to be escaped.
"""

import json

import pyarrow as pa
import pyarrow.compute as pc

TO_QUOTE = r'["\r\n]|^\s|\s$'  # and the separator
TO_ESCAPE = r'["\\\x00-\x1f]'


def joined(parts):
    """Join columns of texts, and texts that are the same in each row, into one text a row.

    Parameters
    ----------
    parts : list of pyarrow.StringArray or str
        Null stands for nothing.

    Returns
    -------
    pyarrow.StringArray
    """
    return pc.binary_join_element_wise(*parts, "", null_handling="replace", null_replacement="")


def content(texts):
    """Give the bytes of all texts of an array, one behind another.

    Parameters
    ----------
    texts : pyarrow.StringArray

    Returns
    -------
    memoryview
    """
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if len(texts) == 0:
        return memoryview(b"")
    offsets = memoryview(texts.buffers()[1]).cast("i")
    return memoryview(texts.buffers()[2])[offsets[texts.offset] : offsets[texts.offset + len(texts)]]


def cells_of_csv(column, separator, has_commas=False):
    """Write a column as CSV does: what holds a separator, a quote or a line end stands in quotes.

    Parameters
    ----------
    column : pyarrow.Array
    separator : str
    has_commas : bool
        Whether numbers have decimal commas.

    Returns
    -------
    pyarrow.StringArray
        Null for what is missing.
    """
    if pa.types.is_dictionary(column.type):
        return cells_of_csv(column.dictionary, separator, has_commas).take(column.indices)
    texts = _texts(column)
    if has_commas and (pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        texts = pc.replace_substring(texts, ".", ",")
    if not _may_need_quotes(column.type, separator, has_commas):
        return texts
    needs = pc.match_substring_regex(texts, f"{TO_QUOTE}|[{_in_class(separator)}]")
    if not pc.any(needs).as_py():
        return texts
    quoted = joined(['"', pc.replace_substring(texts, '"', '""'), '"'])
    return pc.if_else(needs, quoted, texts)


def lines_of_csv(columns, separator, has_commas=False, is_rest=False):
    """Write columns as lines of CSV, without line ends.

    Parameters
    ----------
    columns : list of pyarrow.Array
    separator : str
    has_commas : bool
        As of `cells_of_csv`.
    is_rest : bool
        Whether other columns stand before: else a line that has one cell, which is empty, would be blank and so no row.

    Returns
    -------
    pyarrow.StringArray
    """
    cells = [cells_of_csv(column, separator, has_commas) for column in columns]
    lines = joined([part for cell in cells for part in (separator, cell)][1:])
    return pc.if_else(pc.equal(lines, ""), '""', lines) if len(columns) == 1 and not is_rest else lines


def members_of_json(columns):
    """Write columns as the members of objects: ``"x": 1, "y": null``, without braces.

    Parameters
    ----------
    columns : dict of str to pyarrow.Array

    Returns
    -------
    pyarrow.StringArray
    """
    parts = []
    for name, column in columns.items():
        parts += [f"{', ' if parts else ''}{json.dumps(name, ensure_ascii=False)}: ", _values_of_json(column)]
    return joined(parts)


def _texts(column):
    """A column as texts, null for what is missing."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_nested(kind):
        return pa.array([None if cell is None else _json(cell) for cell in column.to_pylist()], pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.array([None if cell is None else cell.hex() for cell in column.to_pylist()], pa.string())
    return pc.cast(column, pa.string())


def _json(cell):
    return json.dumps(cell, ensure_ascii=False, default=str)


def _may_need_quotes(kind, separator, has_commas):
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    return not is_number or separator == ("," if has_commas else ".")


def _in_class(separator):
    return "\\" + separator if separator in r"\^]-" else separator


def _values_of_json(column):
    kind = column.type
    if pa.types.is_dictionary(kind):
        return pc.fill_null(_values_of_json(column.dictionary).take(column.indices), "null")
    if pa.types.is_nested(kind):
        return pc.fill_null(_texts(column), "null")
    texts = _texts(column)
    is_plain = pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)
    if is_plain or pa.types.is_floating(kind):
        texts = texts if is_plain else pc.if_else(pc.is_finite(column), texts, None)  # JSON has no NaN
        return pc.fill_null(texts, "null")
    quoted = joined(['"', texts, '"'])
    needs = pc.fill_null(pc.match_substring_regex(texts, TO_ESCAPE), False)
    if pc.any(needs).as_py():
        escaped = pa.array(
            [json.dumps(text, ensure_ascii=False) for text in texts.filter(needs).to_pylist()], pa.string()
        )
        quoted = pc.replace_with_mask(quoted, needs, escaped)
    return pc.if_else(pc.is_null(texts), "null", quoted)
