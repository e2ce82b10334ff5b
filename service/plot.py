"""What does a model answer along one feature?

A line where the feature is a number or a date, else a point a category; of classes one a class. What is drawn, and
how it is said in a sentence and as a table for who does not see it, is made here; static/page.js only draws.
"""

import math

import mlib

STEPS = 100  # of a line
TABLE_ROWS = 10  # of them in the table
MOST_CATEGORIES = 30
MOST_CLASSES = 5

# What tells the classes apart beside their colours, of lines and of points; as SVG, which a canvas draws too.
DASHES = ["", "9 5", "2 4", "12 4 2 4", "5 3"]
MARKERS = [
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-4-4h8v8h-8z",
    "M0-6l6 10h-12z",
    "M0-6l6 6-6 6-6-6z",
    "M-6-4h12l-6 10z",
]


def along(model, row, varied):
    """Answer along one feature, the others as they are.

    Parameters
    ----------
    model : mlib.Model
    row : dict of str to JSON value
        One that can be predicted.
    varied : mlib.Signature's Column

    Returns
    -------
    dict
        ``data``, what page.js draws; ``label``, the same in a sentence; ``title``, ``axis``, ``legend`` and ``notes``;
        and a table: ``header``, ``rows``.
    """
    import numpy as np

    signature = model.signature
    values, place = np.array(signature.check(row)[0]), signature.features.index(varied)
    own = float(values[place])
    is_line = varied.kind in ("number", "date")
    steps = line_steps(varied, own) if is_line else name_steps(varied, own)
    rows = np.tile(values, (len(steps) + 1, 1))
    rows[:-1, place] = steps
    answers = mlib.predict(rows, model).reshape(len(rows), -1)
    series = answer_series(signature, answers)
    interval = signature.interval if signature.interval and signature.interval["half_width"] is not None else None
    half = interval["half_width"] if interval else None
    said = [say(varied, value) for value in steps]
    data = {
        "kind": varied.kind,
        "x": json_numbers(axis_values(varied, steps)) if is_line else list(range(len(steps))),
        "names": None if is_line else said,
        "label": with_unit(varied),
        "shares": signature.task == "classification",
        "series": [{**each, "values": json_numbers(answers[:-1, each["column"]])} for each in series],
        "half": half,
        "own": own_point(varied, steps, own, answers[-1, [each["column"] for each in series]]),
        "trained": axis_values(varied, [varied.first, varied.last]) if is_line else None,
        **(sample_points(signature, place) if is_line else {}),
    }
    chosen = shown_steps(len(steps), is_line)
    return {
        "data": data,
        "title": f"{signature.target.name} along {varied.name}",
        "axis": "Probability" if data["shares"] else with_unit(signature.target),
        "label": sentence(signature, varied, series, steps, answers, own),
        "legend": legend(data, series, interval),
        "notes": notes(signature, varied, steps),
        "header": [with_unit(varied), *table_header(signature, series, interval)],
        "rows": [[said[i], *table_row(signature, series, half, answers[i])] for i in chosen],
    }


def line_steps(feature, own):
    """Choose at which values of a number or a date to answer.

    Parameters
    ----------
    feature : mlib.Signature's Column
    own : float
        One's own value, which is among them; NaN where there is none.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        Increasing: training's range, widened to hold one's own value. Of dates it is days or weeks, counted from
        one's own, so that the weekday and the hour stay.
    """
    import numpy as np

    is_known = not math.isnan(own)
    low, high = (min(feature.first, own), max(feature.last, own)) if is_known else (feature.first, feature.last)
    steps = np.linspace(low, high, STEPS)
    if feature.kind == "date" and (high - low > STEPS / 10 or "hour" not in feature.parts):
        start, stride = own if is_known else low, 1 if high - low <= STEPS else 7 * math.ceil((high - low) / STEPS / 7)
        steps = start + stride * np.arange(math.ceil((low - start) / stride), math.floor((high - start) / stride) + 1)
    return np.union1d(steps, own) if is_known else steps


def name_steps(feature, own):
    """Choose which categories to answer: the commonest, and one's own.

    Parameters
    ----------
    feature : mlib.Signature's Column
    own : float

    Returns
    -------
    list of float
        As the model computes on them, in the signature's order; NaN for what is missing, where it may be.
    """
    counts = feature.histogram["counts"]
    places = sorted(range(len(counts)), key=lambda place: (place != own, -counts[place]))[:MOST_CATEGORIES]
    return [float(place) for place in sorted(places)] + [math.nan] * feature.missing


def answer_series(signature, answers):
    """Choose what is drawn: the answer; of classes those that are the most probable at one's own row, the last."""
    if signature.task == "regression":
        return [{"name": "The model's answer", "column": 0, "color": 1, "dash": DASHES[0], "marker": MARKERS[0]}]
    texts = signature.target.texts
    best = sorted(range(len(texts)), key=lambda place: -answers[-1, place])[:MOST_CLASSES]
    return [
        {"name": texts[place], "column": place, "color": i + 1, "dash": DASHES[i], "marker": MARKERS[i]}
        for i, place in enumerate(sorted(best))
    ]


def own_point(feature, steps, own, answers):
    """Where one's own row stands in the plot; None where its value is missing on an axis of numbers."""
    if feature.kind in ("number", "date"):
        return None if math.isnan(own) else {"x": axis_values(feature, [own])[0], "y": json_numbers(answers)}
    is_own = [step == own or (math.isnan(step) and math.isnan(own)) for step in steps]
    return {"x": is_own.index(True), "y": json_numbers(answers)}


def axis_values(feature, values):
    """The numbers of an axis: dates in seconds since 1970."""
    return [value * 86_400 for value in values] if feature.kind == "date" else list(values)


def json_numbers(values):
    """Numbers as JSON has them: in ten digits, which are more than pixels, and None for what is none."""
    return [float(f"{value:.10g}") if math.isfinite(value) else None for value in values]


def sample_points(signature, place):
    """The sample of training's rows: as points where the plotted feature is all there is, else where they lie on it."""
    feature, sample = signature.features[place], signature.sample
    pairs = zip((row[place] for row in sample["rows"]), sample["target"], strict=True)
    pairs = [(x, y) for x, y in pairs if x is not None]
    x = axis_values(feature, [x for x, _ in pairs])
    if len(signature.features) == 1 and signature.task == "regression":
        return {"sample": [x, [y for _, y in pairs]]}
    return {"rug": x}


def say(feature, number):
    """Say a value of a feature as one reads it: ``200`` or ``true`` or ``2024-05-01``."""
    if math.isnan(number):
        return "not known"
    if feature.kind == "number":
        return mlib.rounded(number, 6)
    if feature.kind == "date":
        return feature.say(number).replace("T", " ")
    return feature.texts[int(number)] if feature.kind == "category" else str(bool(number)).lower()


def with_unit(column):
    """Name a column and its unit: ``Weight, pounds``."""
    return f"{column.name}, {column.unit}" if column.unit else column.name


def sentence(signature, feature, series, steps, answers, own):
    """Say in a sentence what the plot shows, for who does not see it."""
    unit = f" {feature.unit}" if feature.unit else ""
    if feature.kind in ("number", "date"):
        where = f"{feature.name} from {say(feature, steps[0])} to {say(feature, steps[-1])}{unit}"
    else:
        where = f"{len(steps)} values of {feature.name}"
    at = f"; with {feature.name} {say(feature, own)}{'' if math.isnan(own) else unit}"
    if signature.task == "classification":
        most = ", ".join(f"{each['name']} {answers[-1, each['column']]:.2f}" for each in series)
        return f"Plot: the probability of {len(series)} classes for {where}{at}: {most}."
    low, high = answers[:-1].min(), answers[:-1].max()
    spans = f"between {mlib.rounded(low, 4)} and {signature.amount(high)}"
    return f"Plot: {signature.target.name} for {where} is {spans}{at} it is {signature.amount(answers[-1, 0])}."


def legend(data, series, interval):
    """Make the entries of the legend: what is drawn, and its text."""
    kind = "marker" if data["names"] else "line"
    entries = [{"kind": kind, "text": each["name"], **each} for each in series]
    if interval:
        text = f"{interval['coverage']:.0%} interval"
        entries.append({"kind": "whisker" if data["names"] else "band", "text": text})
    if data["own"]:
        is_row = data["names"] and data["shares"]  # points of several classes have shapes of their own
        entries.append({"kind": "beyond" if is_row else "own", "text": "Yours"})
    if data.get("sample") and data["sample"][0]:
        entries.append({"kind": "sample", "text": f"{len(data['sample'][0])} training rows"})
    if data.get("rug"):
        entries.append({"kind": "rug", "text": f"{len(data['rug'])} training rows"})
    if is_beyond(data):
        entries.append({"kind": "beyond", "text": "Beyond training"})
    return entries


def is_beyond(data):
    """Whether one's own value lies outside of what training saw."""
    if not (data["own"] and data["trained"]):
        return False
    first, last = data["trained"]
    return not first <= data["own"]["x"] <= last


def notes(signature, feature, steps):
    """Say what the plot leaves out."""
    found = []
    if feature.kind == "category" and len(feature.texts) > MOST_CATEGORIES:
        found.append(f"The {MOST_CATEGORIES} commonest of {len(feature.texts):,} values, yours among them.")
    if signature.task == "classification" and len(signature.target.texts) > MOST_CLASSES:
        found.append(f"The {MOST_CLASSES} most probable of {len(signature.target.texts):,} classes.")
    if feature.kind == "date" and "weekday" in feature.parts and len(steps) > 2 and steps[1] - steps[0] >= 7:
        found.append("In whole weeks, so that the weekday stays.")
    return " ".join(found)


def shown_steps(n, is_line):
    """Which steps stand in the table: of a line about ten, of categories all."""
    if not is_line or n <= TABLE_ROWS:
        return range(n)
    return [round(i * (n - 1) / (TABLE_ROWS - 1)) for i in range(TABLE_ROWS)]


def table_header(signature, series, interval):
    """Head the table's columns beside the first."""
    if signature.task == "classification":
        return [each["name"] for each in series]
    return [with_unit(signature.target)] + ([f"{interval['coverage']:.0%} interval"] if interval else [])


def table_row(signature, series, half, answer):
    """Say an answer in the table's columns."""
    if signature.task == "classification":
        return [f"{answer[each['column']]:.3f}" for each in series]
    value = answer[0]
    told = [] if half is None else [f"{mlib.rounded(value - half, 4)} to {mlib.rounded(value + half, 4)}"]
    return [mlib.rounded(value, 4), *told]
