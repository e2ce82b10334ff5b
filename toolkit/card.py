"""What does a model say of itself?

>>> print_facts(facts(mlib.Signature.read()))
Model         htwtmlb-height, version ...
"""

import mlib
from toolkit import console


def worth(signature):
    """Tell what a model is worth, beside always answering the mean or the commonest class.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    dict of str to str
        A label and a text a fact: R², MAE, RMSE and the prediction interval; of classes accuracy and its kin.
    """
    model, other, n = signature.metrics, signature.baseline, signature.metrics["n"]
    always = "always answering the mean" if signature.task == "regression" else "always answering the commonest class"
    facts_ = {}
    for name, (label, _) in mlib.METRICS[signature.task].items():
        on = "" if facts_ else f" on {n} held-out rows"
        facts_[label] = f"{figure(signature, name, model[name])}{on}; {always}: {figure(signature, name, other[name])}"
    if signature.cv:
        facts_[f"{signature.cv['folds']}-fold"] = ", ".join(
            f"{label} {figure(signature, name, signature.cv['metrics'][name]['mean'])}"
            f" ± {figure(signature, name, signature.cv['metrics'][name]['std'])}"
            for name, (label, _) in mlib.METRICS[signature.task].items()
        )
    if signature.search:
        found = ", ".join(f"{name}={value}" for name, value in signature.search["parameters"].items())
        facts_["Search"] = f"the best of {signature.search['tries']}: {found or 'the defaults'}"
    if signature.interval:
        facts_[f"{signature.interval['coverage']:.0%} interval"] = _interval(signature)
    return facts_


def _interval(signature):
    interval = signature.interval
    if interval["half_width"] is None:
        return "none: too few held-out rows"
    return f"± {signature.amount(interval['half_width'])} (split conformal, {interval['n']} held-out rows)"


def figure(signature, name, value):
    """Say a figure of merit.

    Parameters
    ----------
    signature : mlib.Signature
    name : str
        Such as ``"mae"``.
    value : float or None

    Returns
    -------
    str
        An error in the target's unit, a share in three decimals.
    """
    if value is None:
        return "not defined"
    return signature.amount(value) if name in ("mae", "rmse") else f"{value:.3f}"


def compiled(signature):
    """Tell how well a model's compiled form agrees with the original.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    str
    """
    result = signature.compiled
    if result["refused"]:
        return f"no: {result['refused']}"
    what = "of the target's range of scikit-learn"
    if signature.task == "classification":
        what = "of scikit-learn's probabilities, with the same classes,"
    return f"within {result['tolerance']:g} {what} on {result['rows']:,} rows (the worst: {result['worst']:.1g})"


def values(column):
    """Tell what values a column had.

    Parameters
    ----------
    column : mlib.Signature's Column

    Returns
    -------
    str
        Such as ``145 to 300 pounds in training``.
    """
    return column.possible + (", or nothing" if column.missing else "")


def facts(signature):
    """Tell what a model card tells.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    dict of str to str
        A label and a text a fact, in the order of a card.
    """
    data, training, estimator = signature.data, signature.training, signature.estimator
    calibrated = ", calibrated" if estimator["calibrated"] else ""
    rows = f"{data['rows']:,} rows"
    if "sampled" in data:
        rows = f"{data['sampled']['rows']:,} rows, a uniform sample of the {rows}"
    notices = {"Notices": " ".join(training["notices"])} if training["notices"] else {}
    return {
        "Model": f"{signature.name}, version {signature.version}",
        "Predicts": f"{signature.target.name} ({values(signature.target)})",
        "From": ", ".join(f"{feature.name} ({values(feature)})" for feature in signature.features),
        "Estimator": f"{estimator['name']} ({estimator['class']}){calibrated}",
        "Trained on": f"{training['n']:,} of {rows} of {data['file']} (seed {training['seed']})",
        "Data sha256": data["sha256"],
        **worth(signature),
        "Compiled": compiled(signature),
        "Packages": ", ".join(f"{name} {version}" for name, version in signature.packages.items()),
        **notices,
    }


def print_facts(labelled):
    """Print labels and texts as two columns.

    Parameters
    ----------
    labelled : dict of str to str
    """
    width = max(map(len, labelled))
    for label, text in labelled.items():
        console.answer(f"{label:<{width}}  {text}")


def markdown(signature):
    """Write a model card in Markdown.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    str
    """
    features = [[feature.name, feature.kind, values(feature), str(feature.example)] for feature in signature.features]
    told = {label: text for label, text in facts(signature).items() if label not in ("Model", "From")}
    return "\n\n".join(
        [
            f"# {_cell(signature.title)}",
            f"Model {_cell(signature.name)}, version {signature.version}.",
            _table(["Feature", "Kind", "Values", "Example"], features),
            _table(["", ""], list(told.items())),
        ]
    )


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text):
    """Keep a text from ending its cell, whatever names stand in it."""
    return "".join(f"\\{char}" if char in "\\|*_`[]<>#" else char for char in text) if text != "---" else text


def comparison(result):
    """Write how estimators compare as a table of text.

    Parameters
    ----------
    result : dict
        As `mlib.compare` gives it.

    Returns
    -------
    list of str
        Its lines: the best first, mean ± standard deviation over the folds.
    """
    labels = mlib.METRICS[result["task"]]
    rows = [["estimator", *(label for label, _ in labels.values()), "seconds"]]
    for each in result["estimators"]:
        if each["refused"]:
            rows.append([each["estimator"], f"refused: {each['refused']}"])
            continue
        figures = [each["metrics"][name] for name in labels]
        shown = [
            "-" if each["mean"] is None else f"{mlib.rounded(each['mean'], 4)} ± {mlib.rounded(each['std'], 2)}"
            for each in figures
        ]
        rows.append([each["estimator"], *shown, f"{each['seconds']:.2g}"])
    widths = [max(len(row[i]) for row in rows if len(row) == len(rows[0])) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]  # noqa: B905
