"""What does a model say of itself?

>>> print_facts(facts(mlib.Signature.read()))
Model         htwtmlb-height, version ...
"""

from toolkit import console


def worth(signature):
    """Tell what a model is worth, beside always answering the mean.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    dict of str to str
        A label and a text a fact: R², MAE, RMSE and the prediction interval.
    """
    model, mean, interval, amount = signature.metrics, signature.baseline, signature.interval, signature.amount
    width = "none: too few held-out rows"
    if interval["half_width"] is not None:
        width = f"± {amount(interval['half_width'])} (split conformal, {interval['n']} held-out rows)"
    return {
        "R²": f"{model['r2']:.3f} on {model['n']} held-out rows; always answering the mean: {mean['r2']:.3f}",
        "MAE": f"{amount(model['mae'])}; always answering the mean: {amount(mean['mae'])}",
        "RMSE": f"{amount(model['rmse'])}; always answering the mean: {amount(mean['rmse'])}",
        f"{interval['coverage']:.0%} interval": width,
    }


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
    return (
        f"within {result['tolerance']:g} of the target's range of scikit-learn on {result['rows']:,} rows "
        f"(the worst: {result['worst']:.1g})"
    )


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
    return {
        "Model": f"{signature.name}, version {signature.version}",
        "Predicts": f"{signature.target.name} ({signature.target.range} in training)",
        "From": ", ".join(f"{feature.name} ({feature.range} in training)" for feature in signature.features),
        "Estimator": f"{estimator['name']} ({estimator['class']})",
        "Trained on": f"{training['n']:,} of {data['rows']:,} rows of {data['file']} (seed {training['seed']})",
        "Data sha256": data["sha256"],
        **worth(signature),
        "Compiled": compiled(signature),
        "Packages": ", ".join(f"{name} {version}" for name, version in signature.packages.items()),
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
