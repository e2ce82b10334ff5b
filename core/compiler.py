"""How is a trained scikit-learn model written as an ONNX graph?

>>> write_graph(trained, width=1).graph.output[0].name
'y'

Only training needs this file; what predicts runs the graph. Whether it is faithful is for `mlib` to measure.

It reads from top to bottom: the graph, the preparation of the features, the estimators, the parts that they share.
"""

# pylint: disable=protected-access  # scikit-learn keeps a kernel's gamma and boosting's first answer there only

from itertools import combinations, groupby

import numpy as np
from onnx import TensorProto, compose, helper, numpy_helper
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import SGDRegressor
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

OPSET = {"": 18, "ai.onnx.ml": 3}  # what skl2onnx writes
TABLES_VERSION = 4  # of ai.onnx.ml: the first whose tables have float64 codes; it knows all of the third's operators
TREES_VERSION = 5  # of ai.onnx.ml: the first whose trees compare and add in float64; older trees are gone
IR_VERSION = 10


def write_graph(model, width):
    """Write a fitted model as an ONNX model, in float64, with all that it does to its features and its target.

    Parameters
    ----------
    model : sklearn.compose.TransformedTargetRegressor or sklearn.pipeline.Pipeline
        Fitted. A regression is a TransformedTargetRegressor of a Pipeline, with a StandardScaler for the target; a
        classification is a Pipeline, fitted on the codes 0, 1, ... of its classes. The Pipeline has two steps: a
        StandardScaler, or a ColumnTransformer of scaled numbers (their gaps filled with the median, or without gaps),
        one-hot categories and target-encoded categories; then an estimator, calibrated or not.
    width : int
        How many features it was fitted on, for example 10. The codes of a category are features; NaN is a gap.

    Returns
    -------
    onnx.ModelProto
        From ``x``, float64 of shape (rows, width), to ``y``, float64: of a regression the target in its unit, of shape
        (rows,); of a classification the probabilities, of shape (rows, classes).

    Raises
    ------
    NotImplementedError
        If a part of the model is not written here, for example an SVR whose kernel is a function.
    Exception
        Whatever skl2onnx raises at an estimator that is neither written here nor known to it.

    Source
    ------
    The operators' definitions of ONNX 1.23, https://onnx.ai/onnx/operators/; what predicts in scikit-learn 1.9, of
    each estimator; C.-C. Chang and C.-J. Lin, LIBSVM: a library for support vector machines, section 7 (multi-class).
    """
    is_regression = hasattr(model, "regressor_")
    prepare, final = model.regressor_ if is_regression else model
    shape = [None] if is_regression else [None, len(model.classes_)]
    graph = helper.make_graph(
        [],
        "mlib",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, shape)],
    )
    x = _append_preparation(graph, "x", prepare, width)
    if is_regression:
        y = _append_regressor(graph, x, final)
        y = _append(graph, "Mul", [y, _constant(graph, model.transformer_.scale_)])
        if model.transformer_.with_mean:
            y = _append(graph, "Add", [y, _constant(graph, model.transformer_.mean_)])
        _append(graph, "Reshape", [y, _constant(graph, [-1])])
    else:
        _append_probabilities(graph, x, final)
    graph.node[-1].output[0] = "y"
    return helper.make_model(graph, opset_imports=_opsets(graph), ir_version=IR_VERSION)


def _opsets(graph):
    """Return the versions of the operators in a graph."""
    versions = {"": OPSET[""], **{node.domain: 1 for node in graph.node if node.domain}}
    operators = {node.op_type for node in graph.node}
    versions["ai.onnx.ml"] = TREES_VERSION if "TreeEnsemble" in operators else TABLES_VERSION
    if versions["ai.onnx.ml"] == TREES_VERSION and operators & {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}:
        raise NotImplementedError("trees of skl2onnx beside trees that are written here")
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]


def _append(graph, operator, inputs, domain="", **attributes):
    """Append a node to a graph and return the name of its output."""
    output = f"{operator}_{len(graph.node)}"
    graph.node.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
    return output


def _constant(graph, values):
    """Add a constant to a graph, whole numbers as int64 and others as float64, and return its name."""
    values = np.asarray(values)
    name = f"constant_{len(graph.initializer)}"
    kind = np.int64 if values.dtype.kind in "iu" else np.float64
    graph.initializer.append(numpy_helper.from_array(np.asarray(values, kind, order="C"), name))
    return name


def _append_columns(graph, x, columns, width):
    """Append the choice of some columns out of `width`: nothing, if all are taken in their order."""
    if list(columns) == list(range(width)):
        return x
    return _append(graph, "Gather", [x, _constant(graph, columns)], axis=1)


# The preparation of the features


def _append_preparation(graph, x, prepare, width):
    """Append a pipeline's first step."""
    if isinstance(prepare, StandardScaler):
        return _append_numbers(graph, x, [(prepare, range(width))], width)
    if not isinstance(prepare, ColumnTransformer):
        raise NotImplementedError(f"the preparation {type(prepare).__name__} is not written")
    parts = [
        (transformer, columns)
        for _, transformer, columns in prepare.transformers_
        if not isinstance(transformer, str) and len(columns)
    ]
    outputs = []
    for write, group in groupby(parts, key=lambda part: _writer_of_part(part[0])):
        outputs += [write(graph, x, list(group), width)]
    return outputs[0] if len(outputs) == 1 else _append(graph, "Concat", outputs, axis=1)


def _writer_of_part(transformer):
    """Return what writes a part of a ColumnTransformer, and its neighbours of the same kind."""
    if isinstance(transformer, OneHotEncoder):
        return _append_indicators
    if isinstance(transformer, TargetEncoder):
        return _append_encodings
    if isinstance(transformer, (StandardScaler, Pipeline)):
        return _append_numbers
    raise NotImplementedError(f"the preparation {type(transformer).__name__} is not written")


def _append_numbers(graph, x, parts, width):
    """Append the scaling of numbers, all parts in one: those with gaps get the median there first."""
    taken, fills, means, scales = [], [], [], []
    for transformer, columns in parts:
        scaler, fill = transformer, np.full(len(columns), np.nan)
        columns = np.asarray(columns)
        if isinstance(transformer, Pipeline):
            imputer, scaler = transformer
            is_known = ~np.isnan(imputer.statistics_)  # scikit-learn drops a column that was all gaps
            columns, fill = columns[is_known], imputer.statistics_[is_known]
        taken.append(columns)
        fills.append(fill)
        means.append(scaler.mean_)
        scales.append(scaler.scale_)
    x = _append_columns(graph, x, np.concatenate(taken), width)
    fills = np.concatenate(fills)
    if not np.isnan(fills).all():
        x = _append(graph, "Where", [_append(graph, "IsNaN", [x]), _constant(graph, fills), x])
    x = _append(graph, "Sub", [x, _constant(graph, np.concatenate(means))])
    return _append(graph, "Div", [x, _constant(graph, np.concatenate(scales))])


def _append_indicators(graph, x, parts, width):
    """Append one-hot encoding: each column once for each of its levels, and whether it is at that level."""
    levels = [(column, level) for encoder, columns in parts for column, level in _levels(encoder, columns)]
    taken, values = np.array([column for column, _ in levels]), np.array([level for _, level in levels])
    x = _append_columns(graph, x, taken, width)
    if np.isnan(values).any():  # NaN equals nothing; infinity is no code of a level
        x = _append(graph, "Where", [_append(graph, "IsNaN", [x]), _constant(graph, [np.inf]), x])
        values = np.nan_to_num(values, nan=np.inf)
    equal = _append(graph, "Equal", [x, _constant(graph, values)])
    return _append(graph, "Cast", [equal], to=TensorProto.DOUBLE)


def _levels(encoder, columns):
    """Return each column with each of its levels, in the order of a one-hot encoder's answers."""
    if encoder.drop is not None or encoder._infrequent_enabled:
        raise NotImplementedError("a one-hot encoder that drops or joins levels is not written")
    return [(column, level) for column, codes in zip(columns, encoder.categories_, strict=True) for level in codes]


def _append_encodings(graph, x, parts, width):
    """Append target encoding: each column's code looked up among its levels; the target's mean, if it is not there."""
    outputs = []
    for encoder, columns in parts:
        means = np.atleast_1d(encoder.target_mean_)
        for i, column in enumerate(columns):
            values = np.column_stack(encoder.encodings_[i * len(means) : (i + 1) * len(means)])
            outputs.append(_append_table(graph, x, column, encoder.categories_[i], np.vstack([values, means]), width))
    return outputs[0] if len(outputs) == 1 else _append(graph, "Concat", outputs, axis=1)


def _append_table(graph, x, column, codes, values, width):
    """Append a table by code, NaN among them: for the code of each row its values; the last, for any other code."""
    if values.shape[1] == 1:
        x = _append_columns(graph, x, [column], width)
        return _append_lookup(graph, x, codes, values[:-1, 0], values[-1])
    x = _append(graph, "Gather", [x, _constant(graph, column)], axis=1)
    x = _append_lookup(graph, x, codes, np.arange(len(codes)), np.array([len(codes)]))
    return _append(graph, "Gather", [_constant(graph, values), x], axis=0)


def _append_lookup(graph, x, codes, values, default):
    """Append a hash table from float64 codes to float64 or int64 values."""
    tensors = {"keys_tensor": np.asarray(codes, np.float64), "values_tensor": values, "default_tensor": default}
    tensors = {name: numpy_helper.from_array(np.ascontiguousarray(tensor)) for name, tensor in tensors.items()}
    return _append(graph, "LabelEncoder", [x], domain="ai.onnx.ml", **tensors)


# The estimators


def _append_regressor(graph, x, regressor):
    """Append a regressor's answers, as one column."""
    write = {
        "DecisionTreeRegressor": _append_forest,
        "DummyRegressor": _append_dummy,
        "ExtraTreeRegressor": _append_forest,
        "ExtraTreesRegressor": _append_forest,
        "GradientBoostingRegressor": _append_boosting,
        "HistGradientBoostingRegressor": _append_boosting,
        "MLPRegressor": _append_network,
        "NuSVR": _append_svr,
        "RandomForestRegressor": _append_forest,
        "SVR": _append_svr,
    }.get(type(regressor).__name__)
    if write is None:
        write = _append_linear if isinstance(regressor, (LinearModel, SGDRegressor)) else _append_converted
    return write(graph, x, regressor)


def _append_probabilities(graph, x, classifier):
    """Append a classifier's probabilities, one column a class."""
    write = {
        "CalibratedClassifierCV": _append_calibrated,
        "DecisionTreeClassifier": _append_forest,
        "DummyClassifier": _append_dummy,
        "ExtraTreeClassifier": _append_forest,
        "ExtraTreesClassifier": _append_forest,
        "GradientBoostingClassifier": _append_boosting_probabilities,
        "HistGradientBoostingClassifier": _append_boosting_probabilities,
        "LinearDiscriminantAnalysis": _append_logistic,
        "LogisticRegression": _append_logistic,
        "LogisticRegressionCV": _append_logistic,
        "MLPClassifier": _append_network,
        "RandomForestClassifier": _append_forest,
    }.get(type(classifier).__name__, _append_converted)
    return write(graph, x, classifier)


def _append_scores(graph, x, classifier):
    """Append what a calibrator is fitted on: the decision function or, without one, the probabilities.

    One column a class; of two classes the second's only.
    """
    write = {
        "GradientBoostingClassifier": _append_boosting,
        "HistGradientBoostingClassifier": _append_boosting,
        "NuSVC": _append_svc,
        "SVC": _append_svc,
    }.get(type(classifier).__name__)
    if write is None and isinstance(classifier, LinearClassifierMixin):
        write = _append_linear
    if write is not None:
        return write(graph, x, classifier)
    if hasattr(classifier, "decision_function"):
        raise NotImplementedError(f"the decision function of {type(classifier).__name__} is not written")
    y = _append_probabilities(graph, x, classifier)
    return _append_columns(graph, y, [1], 2) if len(classifier.classes_) == 2 else y


def _append_converted(graph, x, estimator):
    """Append any other estimator, as skl2onnx converts it."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType

    converted = convert_sklearn(
        estimator,
        initial_types=[(x, DoubleTensorType([None, estimator.n_features_in_]))],
        options={id(estimator): {"zipmap": False}} if is_classifier(estimator) else None,
        target_opset=OPSET,
    ).graph
    compose.add_prefix_graph(converted, "converted_", rename_inputs=False, inplace=True)
    graph.node.extend(converted.node)
    graph.initializer.extend(converted.initializer)
    return _append(graph, "Cast", [converted.output[-1].name], to=TensorProto.DOUBLE)


def _append_dummy(graph, x, dummy):
    """Append the same answer for each row, whatever is in it."""
    if getattr(dummy, "strategy", None) == "stratified":
        raise NotImplementedError("a DummyClassifier that draws lots is not written")
    nothing = np.zeros((1, 1))
    answer = dummy.predict_proba(nothing)[0] if is_classifier(dummy) else np.ravel(dummy.constant_)
    rows = _append(graph, "Shape", [x], start=0, end=1)
    shape = _append(graph, "Concat", [rows, _constant(graph, [len(answer)])], axis=0)
    return _append(graph, "Expand", [_constant(graph, answer), shape])


def _append_linear(graph, x, estimator):
    """Append a linear regression, or the decision function of a linear classifier."""
    return _append_affine(graph, x, np.atleast_2d(estimator.coef_).T, estimator.intercept_)


def _append_logistic(graph, x, classifier):
    """Append the probabilities of a linear classifier."""
    return _append_softmax(graph, x, np.atleast_2d(classifier.coef_).T, classifier.intercept_)


def _append_network(graph, x, network):
    """Append a perceptron's layers."""
    operator = {"identity": None, "logistic": "Sigmoid", "relu": "Relu", "tanh": "Tanh"}[network.activation]
    *hidden, last = zip(network.coefs_, network.intercepts_, strict=True)
    for weights, intercept in hidden:
        x = _append_affine(graph, x, weights, intercept)
        x = _append(graph, operator, [x]) if operator else x
    if is_classifier(network):
        return _append_softmax(graph, x, *last)
    y = _append_affine(graph, x, *last)
    return _append(graph, "Exp", [y]) if network.out_activation_ == "exp" else y


def _append_svr(graph, x, svr):
    """Append a support vector regression."""
    return _append_kernel(graph, x, svr, svr.dual_coef_.T)


def _append_svc(graph, x, svc):
    """Append the decision function of a support vector classification: each two classes', then each class's votes."""
    n_classes = len(svc.classes_)
    pairs = list(combinations(range(n_classes), 2))
    ends = np.cumsum(svc.n_support_)
    vectors = [slice(end - count, end) for end, count in zip(ends, svc.n_support_, strict=True)]  # of each class
    weights = np.zeros((ends[-1], len(pairs)))
    for k, (i, j) in enumerate(pairs):
        weights[vectors[i], k] = svc.dual_coef_[j - 1, vectors[i]]
        weights[vectors[j], k] = svc.dual_coef_[i, vectors[j]]
    y = _append_kernel(graph, x, svc, weights)
    if n_classes == 2:
        return y
    if svc.decision_function_shape != "ovr":
        raise NotImplementedError("an SVC's decision function of pairs is not written")
    first, second = np.eye(n_classes)[np.array(pairs)].transpose(1, 0, 2)
    is_second = _append(graph, "Cast", [_append(graph, "Less", [y, _constant(graph, [0.0])])], to=TensorProto.DOUBLE)
    votes = _append_affine(graph, is_second, second - first, first.sum(axis=0))
    sums = _append(graph, "MatMul", [y, _constant(graph, first - second)])
    most = _append(graph, "Add", [_append(graph, "Abs", [sums]), _constant(graph, [1.0])])
    shares = _append(graph, "Div", [sums, _append(graph, "Mul", [most, _constant(graph, [3.0])])])
    return _append(graph, "Add", [votes, shares])


def _append_kernel(graph, x, machine, weights):
    """Append the kernels of a row with each support vector, weighted, and the intercept."""
    vectors, kernel, gamma = machine.support_vectors_, machine.kernel, machine._gamma
    if kernel == "linear":
        return _append_affine(graph, x, vectors.T @ weights, machine.intercept_)
    if kernel == "rbf":  # exp(-gamma |x - v|²)
        squares = _append(graph, "Mul", [x, x])
        squares = _append(graph, "MatMul", [squares, _constant(graph, np.full((vectors.shape[1], 1), -gamma))])
        y = _append_affine(graph, x, 2 * gamma * vectors.T, -gamma * (vectors**2).sum(axis=1))
        y = _append(graph, "Exp", [_append(graph, "Add", [y, squares])])
    elif kernel in ("poly", "sigmoid"):  # (gamma x·v + coef0)^degree, tanh(gamma x·v + coef0)
        y = _append_affine(graph, x, gamma * vectors.T, machine.coef0)
        inputs = [y, _constant(graph, [float(machine.degree)])] if kernel == "poly" else [y]
        y = _append(graph, "Pow" if kernel == "poly" else "Tanh", inputs)
    else:
        raise NotImplementedError(f"the kernel {kernel} is not written")
    return _append_affine(graph, y, weights, machine.intercept_)


def _append_forest(graph, x, estimator):
    """Append a decision tree, or the mean of many: one copy a class, of two classes the second's only."""
    fitted = [tree.tree_ for tree in getattr(estimator, "estimators_", [estimator])]
    n_classes = estimator.n_classes_ if is_classifier(estimator) else 1
    columns = [1] if n_classes == 2 else range(n_classes)
    trees = [
        (tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value[:, 0, column], target)
        for tree in fitted
        for target, column in enumerate(columns)
    ]
    y = _append_trees(graph, _append_float32(graph, x), trees, len(columns))
    if n_classes == 2:
        y = _append(graph, "Div", [y, _constant(graph, [-float(len(fitted)), len(fitted)])])
        return _append(graph, "Add", [y, _constant(graph, [1.0, 0.0])])
    return _append(graph, "Div", [y, _constant(graph, [float(len(fitted))])]) if len(fitted) > 1 else y


def _append_boosting(graph, x, estimator):
    """Append boosted trees: their sum or, of a classifier, its decision function."""
    if hasattr(estimator, "_predictors"):
        base, trees = estimator._baseline_prediction.ravel(), _histogram_trees(estimator)
    else:
        if not (isinstance(estimator.init_, str) or type(estimator.init_).__name__.startswith("Dummy")):
            raise NotImplementedError("boosting that begins with another estimator is not written")
        base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))[0]
        rate, x = estimator.learning_rate, _append_float32(graph, x)
        trees = [
            (tree.children_left, tree.children_right, tree.feature, tree.threshold, rate * tree.value[:, 0, 0], target)
            for stage in estimator.estimators_
            for target, tree in enumerate(fitted.tree_ for fitted in stage)
        ]
    # scikit-learn adds the trees to the base one after the other: so does a sum whose first tree is the base
    bases = [(*np.array([[-1], [-1], [0], [0]]), np.array([value]), target) for target, value in enumerate(base)]
    y = _append_trees(graph, x, bases + trees, len(base))
    return _append(graph, "Exp", [y]) if estimator.loss in ("gamma", "poisson") else y


def _append_boosting_probabilities(graph, x, classifier):
    """Append the probabilities of boosted trees."""
    y = _append_boosting(graph, x, classifier)
    if len(classifier.classes_) == 2:
        y = _append(graph, "Mul", [y, _constant(graph, [0.0, 2.0 if classifier.loss == "exponential" else 1.0])])
    return _append(graph, "Softmax", [y], axis=1)


def _histogram_trees(estimator):
    """Return the trees of histogram gradient boosting, as `_append_trees` takes them."""
    stages = [(target, tree.nodes) for stage in estimator._predictors for target, tree in enumerate(stage)]
    if any(nodes["is_categorical"].any() for _, nodes in stages):
        raise NotImplementedError("splits by categories are not written")
    return [
        (
            np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64)),
            nodes["right"].astype(np.int64),
            nodes["feature_idx"],
            nodes["num_threshold"],
            nodes["value"],
            target,
        )
        for target, nodes in stages
    ]


def _append_calibrated(graph, x, calibrated):
    """Append a calibrated classifier: each class's score through its calibrator, and their shares of the sum."""
    if len(calibrated.calibrated_classifiers_) > 1 or calibrated.method not in ("isotonic", "sigmoid"):
        raise NotImplementedError("calibration by an ensemble, or by a temperature, is not written")
    (fitted,) = calibrated.calibrated_classifiers_
    scores = _append_scores(graph, x, fitted.estimator)
    n_classes = len(calibrated.classes_)
    if calibrated.method == "sigmoid":
        slopes, intercepts = np.array([(sigmoid.a_, sigmoid.b_) for sigmoid in fitted.calibrators]).T
        if n_classes == 2:
            return _append_softmax(graph, scores, -slopes.reshape(1, 1), -intercepts)
        y = _append(graph, "Mul", [scores, _constant(graph, slopes)])
        y = _append(graph, "Exp", [_append(graph, "Add", [y, _constant(graph, intercepts)])])
        y = _append(graph, "Reciprocal", [_append(graph, "Add", [y, _constant(graph, [1.0])])])
    else:
        y = _append_isotonic(graph, scores, fitted.calibrators)
    if n_classes == 2:
        y = _append(graph, "Mul", [y, _constant(graph, [-1.0, 1.0])])
        return _append(graph, "Add", [y, _constant(graph, [1.0, 0.0])])
    total = _append(graph, "ReduceSum", [y, _constant(graph, [1])], keepdims=1)
    is_zero = _append(graph, "Equal", [total, _constant(graph, [0.0])])
    shares = _append(graph, "Div", [y, total])
    return _append(graph, "Where", [is_zero, _constant(graph, [1 / n_classes]), shares])


def _append_isotonic(graph, scores, calibrators):
    """Append lines between the points of isotonic regressions, one a column; a tree finds the points about a score."""
    trees, anchors, values, slopes = [], [], [], []
    for column, calibrator in enumerate(calibrators):
        x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
        trees.append(_search_tree(x, len(anchors), column))
        anchors += [x[0], *x]
        values += [y[0], *y]
        slopes += [0.0, *np.diff(y) / np.diff(x), 0.0]
    intervals = _append_trees(graph, scores, trees, len(calibrators), mode=1)
    intervals = _append(graph, "Cast", [intervals], to=TensorProto.INT64)
    anchors, values, slopes = (
        _append(graph, "Gather", [_constant(graph, table), intervals]) for table in (anchors, values, slopes)
    )
    rises = _append(graph, "Mul", [_append(graph, "Sub", [scores, anchors]), slopes])
    return _append(graph, "Add", [rises, values])


def _search_tree(splits, first, column):
    """Return a tree that answers `first` plus how many of the sorted splits are not above the value in a column."""
    nodes = []

    def add(low, high):
        """Add the nodes that search between two splits, and return the place of their root."""
        place = len(nodes)
        nodes.append((-1, -1, 0, 0.0, first + low))
        if low < high:
            middle = (low + high) // 2
            nodes[place] = (add(low, middle), add(middle + 1, high), column, splits[middle], 0)
        return place

    add(0, len(splits))
    left, right, *others = (np.array(values) for values in zip(*nodes, strict=True))
    return left, right, *others, column


# What the estimators share


def _append_affine(graph, x, weights, intercept):
    """Append a product with a matrix, and a sum with a row."""
    intercept = np.broadcast_to(np.asarray(intercept, np.float64), (weights.shape[1],))
    return _append(graph, "Gemm", [x, _constant(graph, weights), _constant(graph, intercept)])


def _append_softmax(graph, x, weights, intercept):
    """Append the probabilities of classes whose logarithms are affine; of two classes the first's is zero."""
    if weights.shape[1] == 1:
        weights = np.column_stack([np.zeros(len(weights)), weights])
        intercept = np.append(0.0, intercept)
    return _append(graph, "Softmax", [_append_affine(graph, x, weights, intercept)], axis=1)


def _append_float32(graph, x):
    """Append a rounding to float32: so scikit-learn's older trees see their input, but not their thresholds."""
    return _append(graph, "Cast", [_append(graph, "Cast", [x], to=TensorProto.FLOAT)], to=TensorProto.DOUBLE)


def _append_trees(graph, x, trees, n_targets, mode=0):
    """Append the sums of trees, one column a target: thresholds and leaves in float64, as scikit-learn has them.

    A tree is: left (-1 at a leaf), right, feature, threshold and value of each node, and its target. To the left goes
    what is at most the threshold or, with the mode 1, what is below it.
    """
    nodes, leaves, targets, roots, n_nodes, n_leaves = [], [], [], [], 0, 0
    for left, right, feature, threshold, value, target in trees:
        is_leaf = left < 0
        place = np.where(is_leaf, n_leaves + np.cumsum(is_leaf), n_nodes + np.cumsum(~is_leaf)) - 1
        if is_leaf[0]:  # a tree of one leaf: a node whose branches both lead to it
            rows = np.array([[0, 0.0, n_leaves, 1, n_leaves, 1]])
        else:
            left, right = left[~is_leaf], right[~is_leaf]
            branches = place[left], is_leaf[left], place[right], is_leaf[right]
            rows = np.column_stack([feature[~is_leaf], threshold[~is_leaf], *branches])
        nodes.append(rows)
        leaves.append(value[is_leaf])
        targets += [target] * is_leaf.sum()
        roots.append(n_nodes)
        n_nodes, n_leaves = n_nodes + len(rows), n_leaves + is_leaf.sum()
    nodes, leaves = np.vstack(nodes), np.concatenate(leaves)
    features, true_ids, true_leafs, false_ids, false_leafs = nodes[:, [0, 2, 3, 4, 5]].T.astype(np.int64).tolist()
    return _append(
        graph,
        "TreeEnsemble",
        [x],
        domain="ai.onnx.ml",
        n_targets=n_targets,
        aggregate_function=1,  # the sum
        post_transform=0,
        tree_roots=roots,
        nodes_modes=numpy_helper.from_array(np.full(len(nodes), mode, np.uint8)),
        nodes_featureids=features,
        nodes_splits=numpy_helper.from_array(nodes[:, 1].copy()),
        nodes_truenodeids=true_ids,
        nodes_trueleafs=true_leafs,
        nodes_falsenodeids=false_ids,
        nodes_falseleafs=false_leafs,
        leaf_targetids=targets,
        leaf_weights=numpy_helper.from_array(leaves.astype(np.float64)),
    )
