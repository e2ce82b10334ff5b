"""How is a trained scikit-learn model written as an ONNX graph?

>>> write_graph(trained, width=1).graph.output[0].name
'y'

Only training needs this file; what predicts runs the graph. Whether it is faithful is for `mlib` to measure.
"""

# pylint: disable=protected-access  # scikit-learn keeps SVR's gamma and the histogram trees' nodes there only

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = {"": 18, "ai.onnx.ml": 3}  # what skl2onnx writes; trees are appended in a later version of ai.onnx.ml
TREES_VERSION = 5  # of ai.onnx.ml: the first whose trees compare and add in float64


def write_graph(model, width):
    """Write a fitted TransformedTargetRegressor as an ONNX model, its target's inverse transform with it.

    skl2onnx converts what it converts faithfully. Trees and support vectors, which it writes in float32, are appended
    here, and so is the inverse transform.

    Parameters
    ----------
    model : sklearn.compose.TransformedTargetRegressor
        Of a Pipeline, with a StandardScaler for the target; fitted.
    width : int
        How many features it was fitted on.

    Returns
    -------
    onnx.ModelProto
        From ``x``, float64 of shape (rows, width), to ``y``, float64 of shape (rows,).

    Raises
    ------
    Exception
        Whatever the converter raises at an estimator that it does not know; NotImplementedError at a kernel that is
        not written here.

    Source
    ------
    The operators' definitions of ONNX 1.23, https://onnx.ai/onnx/operators/; scikit-learn's tree_.threshold and
    the nodes of its histogram gradient boosting.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType

    steps, final = model.regressor_, model.regressor_[-1]
    write_final = {
        "RandomForestRegressor": _append_trees,
        "GradientBoostingRegressor": _append_trees,
        "HistGradientBoostingRegressor": _append_trees,
        "SVR": _append_svr,
    }.get(type(final).__name__)
    inputs = [("x", DoubleTensorType([None, width]))]
    onnx_model = convert_sklearn(
        steps[:-1] if write_final else steps, name="mlib", initial_types=inputs, target_opset=OPSET
    )
    graph = onnx_model.graph
    y = graph.output[0].name
    if write_final:
        y = write_final(graph, y, final)
        del onnx_model.opset_import[:]
        onnx_model.opset_import.extend(
            helper.make_opsetid(*id) for id in {**OPSET, "ai.onnx.ml": TREES_VERSION}.items()
        )
    y = _append(graph, "Cast", [y], to=TensorProto.DOUBLE)
    y = _append(graph, "Mul", [y, _constant(graph, model.transformer_.scale_)])
    y = _append(graph, "Add", [y, _constant(graph, model.transformer_.mean_)])
    _append(graph, "Reshape", [y, _constant(graph, [-1])], output="y")
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None]))
    return onnx_model


def _append(graph, operator, inputs, output=None, domain="", **attributes):
    """Append a node to a graph and return the name of its output."""
    output = output or f"{operator}_{len(graph.node)}"
    graph.node.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
    return output


def _constant(graph, values):
    """Add a constant to a graph, whole numbers as int64 and others as float64, and return its name."""
    name = f"constant_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def _append_svr(graph, x, svr):
    """Append a support vector regression with the kernel exp(-gamma |x - v|^2), scikit-learn's default."""
    if svr.kernel != "rbf":
        raise NotImplementedError(f"the kernel {svr.kernel} is not written")
    vectors = svr.support_vectors_
    squares = _append(graph, "Mul", [x, x])
    squares = _append(graph, "MatMul", [squares, _constant(graph, np.ones((vectors.shape[1], 1)))])
    products = _append(graph, "MatMul", [x, _constant(graph, -2 * vectors.T)])
    distances = _append(graph, "Add", [products, squares])
    distances = _append(graph, "Add", [distances, _constant(graph, (vectors**2).sum(axis=1))])
    kernel = _append(graph, "Exp", [_append(graph, "Mul", [distances, _constant(graph, [-svr._gamma])])])
    weighted = _append(graph, "MatMul", [kernel, _constant(graph, svr.dual_coef_.T)])
    return _append(graph, "Add", [weighted, _constant(graph, svr.intercept_)])


def _append_trees(graph, x, estimator):
    """Append a forest, or boosted trees, to a graph: thresholds and leaves in float64, as scikit-learn has them."""
    if not hasattr(estimator, "_predictors"):  # scikit-learn's older trees see their input in float32, thresholds not
        x = _append(graph, "Cast", [_append(graph, "Cast", [x], to=TensorProto.FLOAT)], to=TensorProto.DOUBLE)
    nodes, leaves, roots, n_nodes, n_leaves = [], [], [], 0, 0
    base, trees = _trees(estimator)
    for left, right, feature, threshold, value in trees:
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
        roots.append(n_nodes)
        n_nodes, n_leaves = n_nodes + len(rows), n_leaves + is_leaf.sum()
    nodes, leaves = np.vstack(nodes), np.concatenate(leaves)
    features, _, true_ids, true_leafs, false_ids, false_leafs = nodes.T.astype(np.int64).tolist()
    y = _append(
        graph,
        "TreeEnsemble",
        [x],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,  # the sum
        post_transform=0,
        tree_roots=roots,
        nodes_modes=numpy_helper.from_array(np.zeros(len(nodes), np.uint8)),  # <=
        nodes_featureids=features,
        nodes_splits=numpy_helper.from_array(nodes[:, 1].copy()),
        nodes_truenodeids=true_ids,
        nodes_trueleafs=true_leafs,
        nodes_falsenodeids=false_ids,
        nodes_falseleafs=false_leafs,
        leaf_targetids=[0] * len(leaves),
        leaf_weights=numpy_helper.from_array(leaves.astype(np.float64)),
    )
    return _append(graph, "Add", [y, _constant(graph, [float(base)])])


def _trees(estimator):
    """Return what an ensemble adds to, and its trees: left (-1 at a leaf), right, feature, threshold, value of each."""
    if hasattr(estimator, "_predictors"):
        stages = [stage[0].nodes for stage in estimator._predictors]
        left = [np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64)) for nodes in stages]
        fields = ("feature_idx", "num_threshold", "value")
        trees = [
            (left[i], nodes["right"].astype(np.int64), *(nodes[field] for field in fields))
            for i, nodes in enumerate(stages)
        ]
        return estimator._baseline_prediction.item(), trees
    is_boosted = hasattr(estimator, "learning_rate")
    weight = estimator.learning_rate if is_boosted else 1 / len(estimator.estimators_)
    trees = [
        (tree.children_left, tree.children_right, tree.feature, tree.threshold, weight * tree.value[:, 0, 0])
        for tree in (fitted.tree_ for fitted in np.ravel(estimator.estimators_))
    ]
    return estimator.init_.constant_.item() if is_boosted else 0.0, trees
