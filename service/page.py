"""What does a person see of a model?

One page: a form made from the signature, the answer with its interval, a plot of the answer along one feature, what the
model is worth, and the same request as commands. All of its words are made here, so it works without JavaScript; with
it, static/page.js asks for the page again as one types, puts the new answer in place, and draws the plot.
"""

import json
import math
import re
import shlex
from urllib.parse import urlencode

from flask import render_template

import mlib
from service import plot
from toolkit import card
from toolkit.options import names as option_names

# Nothing from elsewhere, nothing inline, in no frame.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

MOST_OPTIONS = 50  # of a list that one can look through; of more one types a part
MOST_FIELDS = 24  # that are shown at once; more unfold
MOST_FACTS = 300  # characters of a fact that is still read
LONGEST_QUERY = 2_000  # characters: servers and proxies take a line of 4,000 at least, and what is typed may grow


def render(model, args, url, has_keys=False):
    """Render the page.

    Parameters
    ----------
    model : mlib.Model
    args : werkzeug.datastructures.MultiDict
        What the form was sent with; with no feature among it, the signature's example is answered.
    url : str
        Of the service, as the browser sees it, with a slash at its end.
    has_keys : bool
        Whether requests need a bearer key.

    Returns
    -------
    html : str
    status : int
        200, or 422 where the row cannot be predicted.
    """
    signature = model.signature
    features = {feature.name: feature for feature in signature.features}
    vary = control_name("vary", features)
    given = {name: args.getlist(name)[-1] for name in features if name in args}
    given = given or {feature.name: example_text(feature) for feature in signature.features}
    varied = features.get(args.get(vary)) or default_varied(signature)
    context = {
        "signature": signature,
        "vary": vary,
        "varied": varied,
        "method": "get" if len(urlencode({**given, vary: varied.name})) <= LONGEST_QUERY else "post",
        "most_fields": MOST_FIELDS,
        "worth": card.worth(signature),
        "facts": other_facts(signature),
    }
    row = {name: parse(features[name], text) for name, text in given.items()}
    has_interval = bool(signature.interval) and signature.interval["half_width"] is not None
    try:
        prediction = mlib.predict(row, model, interval=has_interval)
    except mlib.InputError as error:
        fields = [field(feature, given, error.errors) for feature in signature.features]
        problems = [mlib.problem_text(each) for each in error.errors]
        return render_template("page.html", fields=fields, problems=problems, plot={}, snippets={}, **context), 422
    return (
        render_template(
            "page.html",
            fields=[field(feature, given) for feature in signature.features],
            **answer(prediction, signature),
            warnings=[mlib.problem_text(warning) for warning in prediction.get("warnings", [])],
            probabilities=probabilities(prediction),
            plot=plot.along(model, row, varied),
            snippets=snippets(signature, row, url, has_keys),
            **context,
        ),
        200,
    )


def control_name(name, taken):
    """Name a control of the form that is no feature.

    Parameters
    ----------
    name : str
    taken : sequence of str
        The features' names, which can be any.

    Returns
    -------
    str
        The name, or the name with underscores.
    """
    while name in taken:
        name += "_"
    return name


def default_varied(signature):
    """The feature that the plot goes along unless told: the first number or date, else the first."""
    numbers = (feature for feature in signature.features if feature.kind in ("number", "date"))
    return next(numbers, signature.features[0])


def other_facts(signature):
    """What the model's card has beside what it is worth; a fact of thousands of names is nothing to read."""
    facts = card.facts(signature)
    worth = card.worth(signature)
    return {
        label: text if len(text) <= MOST_FACTS else text[:MOST_FACTS].rpartition(" ")[0] + " ..."
        for label, text in facts.items()
        if label not in worth
    }


# ----------------------------------------------------------------------------------------------------- the form


def parse(feature, text):
    """Make of a text that a person typed what JSON has.

    Parameters
    ----------
    feature : mlib.Signature's Column
    text : str
        A decimal comma does (telephones in half of Europe offer no point), but not where it may part thousands.

    Returns
    -------
    JSON value
        Whole numbers as int.
    """
    value = feature.parse(text, has_commas=not re.search(r",\d{3}(?!\d)", text))
    if feature.kind == "number" and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def form_text(feature, text):
    """Write what was given as the form's widgets have it.

    Parameters
    ----------
    feature : mlib.Signature's Column
    text : str

    Returns
    -------
    str
        ``true`` for yes, a category as its option has it, a date as browsers want it; else the text.
    """
    value = None if feature.kind == "number" else feature.read(parse(feature, text))
    if value is None or math.isnan(value):
        return text
    if feature.kind == "category":
        return feature.texts[int(value)]
    if feature.kind == "boolean":
        return "true" if value else "false"
    day, _, time = feature.say(value).partition("T")
    return f"{day}T{time or '00:00'}" if "hour" in feature.parts else day


def example_text(feature):
    """The signature's example, as one would type it; of a long median few digits do."""
    value = feature.example
    if isinstance(value, bool):
        return str(value).lower()
    if feature.kind != "number":
        return str(value)
    text = short(value)
    return text if feature.first <= float(text) <= feature.last else mlib.plain(value)


def short(value):
    """Write a number in the digits that one would: whole ones in all of theirs."""
    return mlib.plain(value) if float(value).is_integer() else mlib.rounded(value, 4)


def hint(feature):
    """Say what values training saw: ``145 to 300 pounds in training``."""
    if feature.kind == "category":
        return f"one of {len(feature.texts):,}"
    if feature.kind == "number":
        unit = f" {feature.unit}" if feature.unit else ""
        return f"{short(feature.min)} to {short(feature.max)}{unit} in training"
    return feature.possible


def field(feature, given, errors=()):
    """Make what the form shows of a feature.

    Parameters
    ----------
    feature : mlib.Signature's Column
    given : dict of str to str
        What the form was sent with.
    errors : sequence of dict
        As of `mlib.InputError`.

    Returns
    -------
    dict
        ``widget`` ("input", "select" or "checkbox"), ``type`` of an input, ``name``, ``label``, ``hint``, ``options``
        (of a select, or what is offered to an input), ``optional``, ``keyboard`` (what a telephone shows, or ""),
        what was ``given``, and whether it is ``wrong``.
    """
    widget, kind, options, keyboard = "input", "text", [], ""
    if feature.kind == "category":
        options = feature.texts
        widget = "select" if len(options) <= MOST_OPTIONS else "input"
    elif feature.kind == "boolean":
        widget, options = ("select", ["true", "false"]) if feature.missing else ("checkbox", [])
    elif feature.kind == "date":
        kind = "datetime-local" if "hour" in feature.parts else "date"
    elif feature.positive:
        keyboard = "decimal"  # without a minus on some telephones
    return {
        "widget": widget,
        "type": kind,
        "keyboard": keyboard,
        "name": feature.name,
        "label": feature.name + (f", {feature.unit}" if feature.unit else ""),
        "hint": hint(feature) + (", or empty" if feature.missing else "") if widget == "input" else "",
        "options": options,
        "optional": feature.missing,
        "given": form_text(feature, given.get(feature.name, "")),
        "wrong": any(error["field"] == feature.name for error in errors),
    }


# --------------------------------------------------------------------------------------------------- the answer


def answer(prediction, signature):
    """Say an answer.

    Parameters
    ----------
    prediction : dict
        As of `mlib.predict`.
    signature : mlib.Signature

    Returns
    -------
    dict of str to str
        ``answer``, and ``between``, how sure it is: ``90% interval: 5 foot, 10 inches to 6 foot, 4 inches``, or of a
        class ``probability 0.98``; "" where nothing is known of that.
    """
    words, sure = signature.words(prediction), ""
    if signature.task == "classification":
        words, _, sure = words.removesuffix(")").rpartition(" (")
    if "interval" in prediction:
        interval = prediction["interval"]
        low = signature.words(interval["low"]) if signature.human else mlib.rounded(interval["low"], 6)
        sure = f"{interval['coverage']:.0%} interval: {low} to {signature.words(interval['high'])}"
    return {"answer": words, "between": sure}


def probabilities(prediction):
    """The classes and their probabilities, the most probable first; none where the answer is a number."""
    found = prediction.get("probabilities", {})
    return sorted(found.items(), key=lambda item: -item[1])


def snippets(signature, row, url, has_keys=False):
    """Write the same request for elsewhere.

    Parameters
    ----------
    signature : mlib.Signature
    row : dict of str to JSON value
    url : str
        Of the service, with a slash at its end.
    has_keys : bool
        Whether it needs a bearer key, which MLOPS_API_KEY then has.

    Returns
    -------
    dict of str to str
        For the shell with curl, for Python with requests, for the shell with ``utilscli.py``, which finds a key itself.
    """
    url += "predict"
    row = {name: value for name, value in row.items() if value is not None}
    options = dict(zip((feature.name for feature in signature.features), option_names(signature), strict=True))
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
    given = [f"--{options[name]} {shlex.quote(text)}" for name, text in texts.items()]
    body = json.dumps(row, ensure_ascii=False)
    lines = [f"curl -s {shlex.quote(url)}", "-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    code = [
        "import requests",
        "",
        "response = requests.post(",
        f"    {url!r},",
        f"    json={row!r},",
        "    timeout=10,",
    ]
    if has_keys:
        lines.insert(1, '-H "Authorization: Bearer $MLOPS_API_KEY"')
        code.insert(0, "import os\n")
        code.append("    headers={'Authorization': f\"Bearer {os.environ['MLOPS_API_KEY']}\"},")
    return {
        "curl": " \\\n  ".join(lines),
        "Python": "\n".join([*code, ")", "print(response.json())"]),
        "utilscli.py": " \\\n  ".join(["./utilscli.py predict", *given, f"--host {shlex.quote(url)}"]),
    }
