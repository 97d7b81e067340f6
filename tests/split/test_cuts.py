"""Cuts are exactly the tensors that separate input from output, with their bytes and the work on either side."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import SHAPE, branched, chain

from eyewall.contracts.errors import InputError
from eyewall.split.cuts import cut_points, dominators, find_cut
from eyewall.split.graph import Graph, Step, TensorInfo, graph_of
from eyewall.split.trace import trace


def separates(graph: Graph, tensor: int, sources: list[int]) -> bool:
    """The second method: take the tensor away, and see whether any output can still be reached."""
    reached = set(sources) - {tensor}
    for step in graph.steps:
        if reached.intersection(step.inputs):
            reached.update(set(step.outputs) - {tensor})
    return not reached.intersection(graph.outputs.values())


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, list[int]]:
    """Any graph of up to 12 steps with up to 3 inputs, of which some are the sensor's."""
    inputs = draw(st.integers(1, 3))
    count, steps = inputs, []
    for i in range(draw(st.integers(1, 12))):
        takes = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3))
        gives = tuple(range(count, count + draw(st.integers(1, 2))))
        count += len(gives)
        steps.append(Step(f"step{i}", None, (), {}, tuple(takes), gives))
    ends = draw(st.lists(st.integers(inputs, count - 1), min_size=1, max_size=2, unique=True))
    sources = draw(st.lists(st.integers(0, inputs - 1), min_size=1, max_size=inputs, unique=True))
    tensors = tuple(TensorInfo(f"t{i}", (None, 1), None) for i in range(count))
    names = {f"in{i}": i for i in range(inputs)}
    return Graph(names, {f"out{i}": i for i in ends}, tuple(steps), tensors), sources


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(graphs())
def test_dominators_are_what_separates_by_brute_force(case: tuple[Graph, list[int]]) -> None:
    """Whatever the graph: the chain has every tensor that separates the sources from the outputs, and no other."""
    graph, sources = case
    nothing_depends_on_it = separates(graph, -1, sources)
    if nothing_depends_on_it:
        with pytest.raises(InputError, match="no output of the model depends"):
            dominators(graph, sources)
        return

    assert set(dominators(graph, sources)) == {t for t in range(len(graph.tensors)) if separates(graph, t, sources)}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(graphs())
def test_dominators_come_in_the_order_of_the_way(case: tuple[Graph, list[int]]) -> None:
    """Each is made after the one before it: numbers of tensors rise from input to output."""
    graph, sources = case
    if not separates(graph, -1, sources):
        chain_of = dominators(graph, sources)

        assert chain_of == sorted(chain_of)


def test_a_chain_is_cut_after_every_layer_but_the_last() -> None:
    """In order, with shapes and bytes: pool1 is 6×6×8 = 288 values, 1152 bytes as float32, 576 and 288."""
    points = {p.name: p for p in cut_points(chain())}

    assert list(points) == ["conv1", "pool1", "conv2", "pool2", "flat", "hidden"]
    assert points["conv1"].shape == (12, 12, 8)
    pool = points["pool1"]
    assert (pool.shape, pool.values) == ((6, 6, 8), 288)
    assert (pool.bytes_float32, pool.bytes_float16, pool.bytes_int8) == (1152, 576, 288)


def test_branches_and_residuals_are_cut_before_and_behind_and_nested_models_inside() -> None:
    """Not within the residual (conv2, norm), not in one of two branches (left, right)."""
    names = [p.name for p in cut_points(branched())]

    assert names[:4] == ["conv1", "add", "relu", "inner/conv3"]
    assert names[4].startswith("inner/tf.nn")
    assert names[5:] == ["flat", "both"]


def test_every_tensor_of_a_real_network_is_judged_as_by_brute_force() -> None:
    """Cuts and what is none, of the branched network: by removal of each tensor in turn."""
    graph = graph_of(branched())
    sources = list(graph.inputs.values())

    by_removal = [t for t in range(len(graph.tensors)) if separates(graph, t, sources)]

    assert dominators(graph, sources) == by_removal
    assert len(by_removal) == len(cut_points(graph)) + 2  # the input and the output separate as well


def test_work_by_hand() -> None:
    """conv1: 12·12·8 sums of 3·3·3 products, 2 FLOPs each, a bias and a ReLU; pool1 compares 2·2 for each of 288."""
    conv1 = 12 * 12 * 8 * (2 * 27 + 1 + 1)
    pool1 = 288 * 4
    conv2 = 4 * 4 * 6 * (2 * 3 * 3 * 8 + 1)
    pool2 = 2 * 2 * 6 * 4
    hidden, score = 9 * (2 * 24 + 1 + 1), 4 * (2 * 9 + 1)
    points = {p.name: p for p in cut_points(chain())}

    assert points["conv1"].head_flops == conv1
    assert points["pool1"].head_flops == conv1 + pool1
    assert points["pool1"].tail_flops == conv2 + pool2 + hidden + score
    assert points["flat"].head_flops == points["pool2"].head_flops == conv1 + pool1 + conv2 + pool2
    assert points["hidden"].tail_flops == score


def test_work_is_tensorflows_own_count() -> None:
    """Its profiler counts the same graph (it leaves out ReLU, so there is none here)."""
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    image = tf_keras.Input(SHAPE)
    x = layers.Conv2D(5, 3, name="a")(image)
    x = layers.Add(name="c")([x, layers.DepthwiseConv2D(3, padding="same", name="b")(x)])
    x = layers.GlobalAveragePooling2D(name="e")(layers.MaxPooling2D(2, name="d")(x))
    graph = graph_of(tf_keras.Model(image, layers.Dense(4, activation="softmax", name="f")(x)))
    traced = trace(graph, 1)

    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    counted = tf.compat.v1.profiler.profile(traced.function.graph, options=options.build())

    assert sum(traced.step_flops) == counted.total_float_ops


def test_grouped_convolutions_are_counted_although_keras_hides_them_in_a_function() -> None:
    """4 channels in 2 groups: 10·10·6 sums of 3·3·2 products, and a bias."""
    import tf_keras

    image = tf_keras.Input((12, 12, 4))
    x = tf_keras.layers.Conv2D(6, 3, groups=2, name="grouped")(image)
    model = tf_keras.Model(image, tf_keras.layers.Flatten(name="flat")(x))

    assert cut_points(model)[0].head_flops == 10 * 10 * 6 * (2 * 18 + 1)


def test_the_tail_may_take_inputs_that_the_sensor_does_not_have() -> None:
    """With the sensor's input named, a cut lies on its branch; with both, only behind the place where they meet."""
    model = two_inputs()

    assert [p.name for p in cut_points(model, ["picture"])] == ["conv", "flat", "meet"]
    assert [p.name for p in cut_points(model)] == ["meet"]


def two_inputs() -> Any:
    """A picture through a convolution, and a context that joins it before the last layer."""
    import tf_keras

    layers = tf_keras.layers
    picture, context = tf_keras.Input((4, 4, 1), name="picture"), tf_keras.Input((3,), name="context")
    flat = layers.Flatten(name="flat")(layers.Conv2D(2, 3, name="conv")(picture))
    meet = layers.Concatenate(name="meet")([flat, context])
    return tf_keras.Model({"picture": picture, "context": context}, layers.Dense(2, name="answer")(meet))


def test_a_tensor_that_mixes_frames_is_no_cut() -> None:
    """Where the rows of a frame become rows of the batch, one frame's features are not one row any more."""
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    image = tf_keras.Input((4, 6), name="image")
    rows = layers.Lambda(lambda v: tf.reshape(v, (-1, 6)), name="rows")(image)
    dense = layers.Dense(2, name="dense")(rows)
    frames = layers.Lambda(lambda v: tf.reshape(v, (-1, 8)), name="frames")(dense)

    assert [p.name for p in cut_points(tf_keras.Model(image, layers.Dense(1, name="last")(frames)))] == ["frames"]


def test_a_layer_that_is_called_twice_gives_two_cuts() -> None:
    """The second call has a number."""
    import tf_keras

    layers = tf_keras.layers
    twice = layers.Dense(3, activation="relu", name="twice")
    image = tf_keras.Input((3,))

    assert [p.name for p in cut_points(tf_keras.Model(image, layers.Dense(1, name="last")(twice(twice(image)))))] == [
        "twice",
        "twice#2",
    ]


def test_an_unknown_cut_is_refused_with_those_there_are() -> None:
    """The sentence is the help."""
    with pytest.raises(InputError, match="no cut 'pool9' in this model: there is conv1, pool1, conv2"):
        find_cut(graph_of(chain()), "pool9")


def test_a_model_without_a_graph_of_layers_is_refused() -> None:
    """A subclassed model, and one whose input has a free size."""
    import tf_keras

    class Subclassed(tf_keras.Model):
        def call(self, values):
            return values

    with pytest.raises(InputError, match="has no graph of layers to cut: give a functional"):
        cut_points(Subclassed())
    image = tf_keras.Input((None, None, 3), name="image")
    with pytest.raises(InputError, match=r"input 'image' of model .* has shape \(None, None, None, 3\)"):
        cut_points(tf_keras.Model(image, tf_keras.layers.Conv2D(2, 3)(image)))


def test_a_sensor_input_that_the_model_does_not_have_is_refused() -> None:
    """With the names of those it has."""
    with pytest.raises(InputError, match=r"no inputs \['radar'\] to cut from: the model takes \['image'\]"):
        cut_points(chain(), ["radar"])
