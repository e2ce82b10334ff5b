"""What schemathesis cannot know from JSON Schema: it is told here, and makes of it requests that are to be answered."""

import random

import schemathesis


@schemathesis.hook
def before_call(_, case, __):
    """Make a valid CSV of what is to be one, and let a tensor's shape tell how many its data are."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.media_type == "text/csv":
        case.body = some_csv(case)
    elif case.path.endswith("/infer"):
        agree(case.body)


def some_csv(case):
    """Draw lines of the example, as a spreadsheet may write them."""
    draw = random.Random(repr(case.body))
    example = case.operation.definition.raw["requestBody"]["content"]["text/csv"]["example"]
    header, *lines = example.splitlines()
    end = draw.choice(["\n", "\r\n"])
    text = end.join([header, *draw.choices(lines, k=draw.randint(1, 20))]) + draw.choice(["", end])
    return draw.choice(["", "\ufeff"]) + text


def agree(body):
    """Cut all tensors to the rows of the shortest; ask for each output once."""
    rows = min(len(tensor["data"]) for tensor in body["inputs"])
    for tensor in body["inputs"]:
        tensor["data"] = tensor["data"][:rows]
        tensor["shape"] = [rows, *tensor["shape"][1:]]
    if body.get("outputs"):
        body["outputs"] = list({output["name"]: output for output in body["outputs"]}.values())
