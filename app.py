"""The HTTP service: ``python app.py``, then http://localhost:8080 in a browser, or ``./predict.sh``.

| route | answer |
| --- | --- |
| GET / | a page with a form, for people |
| POST /predict | ``{"prediction": {...}}`` for a row, ``{"predictions": [...]}`` for a list of rows |

Whatever is refused is answered with problem details (RFC 9457, application/problem+json).
"""

import functools
import json
import logging
import os
import sys

from flask import Flask, Response, render_template_string, request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

import mlib
from toolkit import console

MAX_BODY = 1_000_000  # bytes: some 50,000 rows of one feature, parsed and answered well within a second

MOST_OPTIONS = 50  # of a list that one can look through; of more one types a part

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Predict the {{ signature.title }}</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark }
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem }
  input, select, button { font: inherit; padding: .3rem .6rem }
  input:not([type=checkbox]) { width: 10rem }
  th { text-align: left; padding-right: 1rem }
  h1 { font-size: 1.4rem }
  output { display: block; font-size: 1.6rem }
  small { opacity: .8 }
  [role=alert] { border-left: .3rem solid #c33; padding-left: .7rem }
</style>
<h1>Predict the {{ signature.title }}</h1>
<form>
{% for field in fields %}
  <p>{% if field.widget == "checkbox" %}
  <input type="hidden" name="{{ field.name }}" value="false">
  <input type="checkbox" id="f{{ loop.index }}" name="{{ field.name }}" value="true"
    {%- if field.given == "true" %} checked{% endif %}>
  <label for="f{{ loop.index }}">{{ field.name }}</label>
  {% else %}
  <label for="f{{ loop.index }}">{{ field.label }}</label><br>
  {% if field.widget == "select" %}
  <select id="f{{ loop.index }}" name="{{ field.name }}">
    {% if field.optional %}<option value="">not known</option>{% endif %}
    {% for option in field.options %}<option value="{{ option }}"
      {%- if option == field.given %} selected{% endif %}>{{ option }}</option>
    {% endfor %}
  </select>
  {% else %}
  <input id="f{{ loop.index }}" name="{{ field.name }}" type="{{ field.type }}" autocomplete="off"
    value="{{ field.given }}" aria-describedby="r{{ loop.index }}"
    {%- if field.type == "datetime-local" %} step="1"{% endif %}
    {%- if field.type == "text" and not field.options %} inputmode="decimal"{% endif %}
    {%- if field.options %} list="l{{ loop.index }}"{% endif %}{% if not field.optional %} required{% endif %}>
  {% if field.options %}<datalist id="l{{ loop.index }}">
    {% for option in field.options %}<option value="{{ option }}">{% endfor %}</datalist>{% endif %}
  <small id="r{{ loop.index }}">{{ field.hint }}</small>
  {% endif %}{% endif %}</p>
{% endfor %}
  <p><button>Predict</button></p>
</form>
{% if problem %}<p role="alert">{{ problem }}</p>{% endif %}
{% if answer %}<p><output>{{ answer }}</output>{% if between %}{{ between }}{% endif %}</p>{% endif %}
{% if probabilities %}<table>{% for name, probability in probabilities.items() %}
  <tr><th scope="row">{{ name }}</th><td>{{ "%.3f" % probability }}</td></tr>{% endfor %}</table>{% endif %}
{% for warning in warnings %}<p role="alert">{{ warning }}; the answer is an extrapolation.</p>{% endfor %}
</html>
"""


def create_app(model_path=None):
    """Make the application, with its model loaded.

    Parameters
    ----------
    model_path : path, optional
        As for `mlib.load_model`.

    Returns
    -------
    flask.Flask

    Raises
    ------
    mlib.ModelError
        The model cannot be loaded.

    Examples
    --------
    >>> client = create_app().test_client()
    >>> client.post("/predict", json={"Weight": 200}).json
    {'prediction': {'height_inches': 73.23, 'height_human_readable': '6 foot, 1 inches'}}
    """
    model = mlib.load_model(model_path)
    flask_app = Flask(__name__)
    flask_app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1  # of a body without a length it reads so much, and no more
    flask_app.json.sort_keys = False  # the published order

    @flask_app.get("/")
    def home():
        return page(model, request.args)

    @flask_app.post("/predict")
    def predict():
        rows = json_body()
        if isinstance(rows, list):
            return {"predictions": mlib.predict(check_rows(rows), model)}
        if not isinstance(rows, dict):
            raise BadRequest(f"The body is {json.dumps(rows)[:80]}; expected {example(model.signature)}.")
        return {"prediction": mlib.predict(rows, model)}

    def check_rows(rows):
        """Refuse bare numbers, which mlib takes: HTTP has one form, that which names its values."""
        for i, row in enumerate(rows, start=1):
            if not isinstance(row, dict):
                got = json.dumps(row)[:80]
                raise BadRequest(f"Row {i} is {got}; expected an object such as {example(model.signature)}.")
        if not rows:
            raise BadRequest(f"The list is empty; expected objects such as {example(model.signature)}.")
        return rows

    @flask_app.errorhandler(mlib.InputError)
    def refuse(error):
        return problem(422, "Unprocessable Content", str(error), error.errors)

    @flask_app.errorhandler(HTTPException)
    def http_error(error):
        response = problem(error.code, error.name, error.description)
        response.headers.extend({k: v for k, v in error.get_headers() if k not in ("Content-Type", "Content-Length")})
        return response

    return flask_app


def json_body():
    """Parse the request's body as JSON, whatever its declared type; curl -d declares a form."""
    body = request.get_data()
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge()
    if not body:
        raise BadRequest("The body is empty; expected JSON.")
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # no Unicode, a number of thousands of digits, lists in lists in lists
        raise BadRequest(
            "The body is not JSON that can be read: its text, a number or its depth is beyond limits."
        ) from error


def example(signature):
    """A body that is answered, such as ``{"Weight": 205}``."""
    return json.dumps(signature.example())


def problem(status, title, detail, errors=()):
    """Make a problem document.

    Parameters
    ----------
    status : int
    title, detail : str
        The status in words, and what was wrong this time.
    errors : sequence of dict
        ``field``, ``got``, ``expected`` of each, and ``row`` where there were several.

    Returns
    -------
    flask.Response

    Source
    ------
    RFC 9457, Problem Details for HTTP APIs.
    """
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "errors": list(errors)}
    return Response(json.dumps(document, allow_nan=False) + "\n", status, mimetype="application/problem+json")


def page(model, args):
    """Render the page for people; with a feature in the query, its answer too."""
    signature = model.signature
    given = {feature.name: args.getlist(feature.name)[-1] for feature in signature.features if feature.name in args}
    show = functools.partial(
        render_template_string, PAGE, signature=signature, fields=[field(f, given) for f in signature.features]
    )
    if not given:
        return show()
    has_interval = bool(signature.interval) and signature.interval["half_width"] is not None
    try:
        prediction = mlib.predict(signature.parse_row(given), model, interval=has_interval)
    except mlib.InputError as error:
        return show(problem=str(error)), 422
    return show(
        answer=signature.words(prediction),
        between=between(prediction, signature),
        probabilities=prediction.get("probabilities"),
        warnings=map(mlib.problem_text, prediction.get("warnings", [])),
    )


def field(feature, given):
    """Make what the form shows of a feature.

    Parameters
    ----------
    feature : mlib.Signature's Column
    given : dict of str to str
        What the form was sent with.

    Returns
    -------
    dict
        ``widget`` ("input", "select" or "checkbox"), ``type`` of an input, ``name``, ``label``, ``hint``, ``options``
        (of a select, or what is offered to an input), ``optional``, and what was ``given``.
    """
    widget, kind, options, hint = "input", "text", [], ""
    if feature.kind == "category":
        options = feature.texts
        widget, hint = ("select", "") if len(options) <= MOST_OPTIONS else ("input", f"one of {len(options):,}")
    elif feature.kind == "boolean":
        widget, options = ("select", ["true", "false"]) if feature.missing else ("checkbox", [])
    else:
        hint = feature.possible
        if feature.kind == "date":
            kind = "datetime-local" if "hour" in feature.parts else "date"
    return {
        "widget": widget,
        "type": kind,
        "name": feature.name,
        "label": feature.name + (f", {feature.unit}" if feature.unit else ""),
        "hint": hint + (", or empty" if feature.missing else ""),
        "options": options,
        "optional": feature.missing,
        "given": given.get(feature.name, ""),
    }


def between(prediction, signature):
    """Say the interval: ``90% of such cases lie between ...``."""
    if "interval" not in prediction:
        return ""
    interval = prediction["interval"]
    low, high = signature.words(interval["low"]), signature.words(interval["high"])
    return f"{interval['coverage']:.0%} interval: {low} to {high}"


def main():
    """Serve on HOST and PORT (127.0.0.1 and 8080 unless set), without a debugger whatever the environment says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    port = os.environ.get("PORT") or "8080"
    if not (port.isdecimal() and len(port) <= 5 and int(port) < 2**16):
        console.notice(f"Error: PORT is {port!r}, expected a number from 0 to 65535.", fg="red")
        sys.exit(2)
    with console.errors():
        served = create_app()
    served.run(os.environ.get("HOST") or "127.0.0.1", int(port), debug=False, use_reloader=False)


def __getattr__(name):
    """Make `app` when a server first asks for it: who imports create_app may have no default model."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with console.errors():
        globals()["app"] = create_app()
    return globals()["app"]


if __name__ == "__main__":
    main()
