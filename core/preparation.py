"""What is done with columns before an estimator sees them?

>>> preparation(signature.features, goal, seed=3)
StandardScaler()
"""

MANY_CATEGORIES = 50  # of one column: up to here each has a column of its own, beyond they are target-encoded


def preparation(columns, goal, seed):
    """Make the step before the estimator: numbers scaled, gaps filled, categories made columns.

    Parameters
    ----------
    columns : list of core.signature.Column
        The features. A date is as many numbers as it has parts.
    goal : core.columns.Found
        The target, which categories of many values are encoded by.
    seed : int
        Of the folds of that.

    Returns
    -------
    transformer
        Of scikit-learn, unfitted.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

    kind = "continuous" if goal.kind == "number" else "binary" if len(goal.categories) == 2 else "multiclass"
    groups = {"number": [], "number_with_gaps": [], "category": [], "category_of_many": []}
    place = 0
    for column in columns:
        width = len(column.parts) if column.kind == "date" else 1
        groups[_group(column)] += range(place, place + width)
        place += width
    if len(groups["number"]) == place:
        return StandardScaler()
    steps = {
        "number": StandardScaler(),
        "number_with_gaps": make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
        "category": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        "category_of_many": TargetEncoder(target_type=kind, cv=KFold(5, shuffle=True, random_state=seed)),
    }
    transformers = [(name, steps[name], places) for name, places in groups.items() if places]
    return ColumnTransformer(transformers, sparse_threshold=0)


def _group(column):
    """Tell how a column is prepared."""
    if column.kind == "category":
        return "category_of_many" if column.last >= MANY_CATEGORIES else "category"
    if column.kind == "boolean" and column.missing:
        return "category"  # true, false and missing
    return "number_with_gaps" if column.missing else "number"
