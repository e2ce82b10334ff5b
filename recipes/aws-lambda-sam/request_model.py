#!/usr/bin/env python3
"""What may a request to the API be, as API Gateway reads it? Made from the signature of model.onnx, into template.yaml.

    ./request_model.py

API Gateway has JSON Schema of 2013 (draft 4), within OpenAPI 3.0: limits that are excluded are so by a second keyword,
what may be null is so by a list of values, and examples have no place. It does not know all of it: it lets the limits
themselves pass. The function checks again.

Source
------
JSON Schema draft 4 (json-schema.org/draft-04); docs.aws.amazon.com: "Data models for REST APIs", "Amazon API Gateway
important notes".
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TEMPLATE = HERE / "template.yaml"
BEGIN, END = "        # --- request model\n", "        # --- end of the request model\n"
LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
BARE_EXPONENT = r'^( *(?:"(?:[^"\\]|\\.)*": )?-?\d+)(e[-+]\d+,?)$'
NULL = {"enum": [None]}  # OpenAPI 3.0 has no type of that name


def models(signature, max_rows):
    """Describe a row, and a request: a row, or a list of rows.

    Parameters
    ----------
    signature : mlib.Signature
    max_rows : int
        Rows of a request that are taken at most.

    Returns
    -------
    dict of str to dict
    """
    from service import schemas

    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    return {"Row": draft4(schemas.row(signature)), "Request": {"anyOf": [row, rows]}}


def draft4(schema):
    """Write a schema in the older words.

    Parameters
    ----------
    schema : dict
        JSON Schema 2020-12, as `service.schemas` has it.

    Returns
    -------
    dict
    """
    old = {}
    for keyword, value in schema.items():
        if keyword in LIMITS:
            old |= {LIMITS[keyword]: value, keyword: True}
        elif keyword == "properties":
            old[keyword] = {name: draft4(described) for name, described in value.items()}
        elif keyword == "anyOf":
            old[keyword] = [NULL if choice == {"type": "null"} else draft4(choice) for choice in value]
        elif keyword != "examples" and (keyword, value) != ("required", []):  # which draft 4 does not have empty
            old[keyword] = value
    kinds = old.get("type")
    if isinstance(kinds, list):  # such as number and null
        told = {keyword: old.pop(keyword) for keyword in ("description",) if keyword in old}
        old = {"anyOf": [{**old, "type": kind} for kind in kinds if kind != "null"] + [NULL], **told}
    return old


def written(template, found):
    """Write models into a template.

    Parameters
    ----------
    template : str
        Its text.
    found : dict of str to dict

    Returns
    -------
    str
    """
    before, rest = template.split(BEGIN)
    after = rest.split(END)[1]
    lines = json.dumps({"schemas": found}, indent=2, ensure_ascii=False).splitlines()
    lines = [re.sub(BARE_EXPONENT, r"\1.0\2", line) for line in lines]  # JSON is YAML, but 1e-07 is a text there
    return before + BEGIN + "        components: " + "\n        ".join(lines) + "\n" + END + after


def main():
    """Write the models into template.yaml, if they are others."""
    sys.path.insert(0, str(ROOT))
    import mlib
    from toolkit import wire

    try:
        signature = mlib.Signature.read(ROOT / "model.onnx")
    except mlib.ModelError as error:
        sys.exit(f"The request model was not made. {error}")
    old = TEMPLATE.read_text(encoding="utf-8")
    new = written(old, models(signature, wire.MAX_ROWS))
    if new != old:
        TEMPLATE.write_text(new, encoding="utf-8")
        sys.stderr.write(f"{TEMPLATE.name} has the request of {signature.name} now.\n")


if __name__ == "__main__":
    main()
