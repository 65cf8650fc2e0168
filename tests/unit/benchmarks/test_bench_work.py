"""The work that graphs and models are counted to do."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from bundle_tools import NANO_BUNDLE, NANO_CHECKPOINT, TINY_CHECKPOINT, tiny_bundle

from dvla.benchmarks import fixtures
from dvla.benchmarks.latency.eager import EagerSubject
from dvla.benchmarks.latency.work import bundle_work, graph_work, model_work
from dvla.benchmarks.report.schema import DENOISE, END_TO_END, PREFIX, VISION, VISION_PREFIX
from dvla.engines.bundle import read_bundle
from dvla.export.checkpoint import load_policy


def test_graph_and_model_count_the_same_work():
    bundle, model = read_bundle(tiny_bundle()), load_policy(TINY_CHECKPOINT)
    graph = bundle_work(bundle, {"prefix": "fp32", "denoise": "fp32"})
    # With as many tokens as the bundle pads to, both multiply the same matrices, but for the image
    # resize: it is two products in the graph, over 12 channels of 90x120 to 128x128.
    resize = 12 * 2 * 128 * (90 * 120 + 120 * 128)
    case = fixtures.make_case(bundle.manifest.policy, bundle.manifest.policy.tokenizer_max_length)
    torch_model = model_work(model, case)
    assert graph[DENOISE].flops == pytest.approx(torch_model[DENOISE].flops, rel=0.1)
    vision_prefix = torch_model[VISION_PREFIX].flops
    assert graph[VISION_PREFIX].flops - resize == pytest.approx(vision_prefix, rel=0.01)
    total = torch_model[VISION].flops + torch_model[PREFIX].flops + torch_model[DENOISE].flops
    assert torch_model[END_TO_END].flops == total
    # Ten Euler steps read the expert ten times.
    assert 9 < graph[DENOISE].weight_bytes_read / graph[DENOISE].weight_bytes < 11
    assert graph[VISION_PREFIX].weight_bytes_read < 1.2 * graph[VISION_PREFIX].weight_bytes
    assert graph[DENOISE].weight_bytes == pytest.approx(torch_model[DENOISE].weight_bytes, rel=0.1)
    half = bundle_work(bundle, {"prefix": "fp32", "denoise": "bf16"})
    assert half[DENOISE].weight_bytes_read * 2 == graph[DENOISE].weight_bytes_read
    assert half[VISION_PREFIX] == graph[VISION_PREFIX]


def test_a_peer_whose_state_has_motion_runs_and_is_counted():
    bundle = read_bundle(NANO_BUNDLE)
    facts = bundle.manifest.policy
    assert facts.state_motion
    case = fixtures.make_case(facts, facts.tokenizer_max_length)
    eager = EagerSubject(NANO_CHECKPOINT, case, threads=1)
    expert = eager.model.model.vlm_with_expert.lm_expert
    beforehand = []  # what the graph does once, in its prefix: the values of the cross-attention
    for i, layer in enumerate(expert.layers):
        if not expert.is_joint(i):
            layer.self_attn.v_proj.register_forward_hook(
                lambda linear, _, out: beforehand.append(2 * linear.in_features * out.numel())
            )
    eager.run()
    assert eager.actions.shape == (facts.chunk_size, len(facts.action_names))
    values = sum(beforehand)
    counted = model_work(eager.model, case)
    eager.close()
    graph = bundle_work(bundle, {"prefix": "fp32", "denoise": "fp32"})
    # Of the linear behind the action's and the time's embedding (each as wide as the expert), one
    # half is a constant in the graph, and the other one map with the action's own.
    width = expert.layers[0].self_attn.q_proj.in_features
    rows = facts.chunk_size * facts.num_steps
    folded = 2 * (2 * width * width * rows)
    assert values and counted[DENOISE].flops == graph[DENOISE].flops + values + folded


def test_the_work_of_a_known_graph(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros((3, 4), np.float32), "w")
    kernel = numpy_helper.from_array(np.zeros((6, 1, 3, 3), np.float16), "k")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Conv", ["image", "k"], ["out"], group=2, pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["y"], ["r"]),
        ],
        "known",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, 3]),
            helper.make_tensor_value_info("image", TensorProto.FLOAT16, [1, 2, 8, 8]),
        ],
        [
            helper.make_tensor_value_info("r", TensorProto.FLOAT, [2, 5, 4]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 5, 4]),
            helper.make_tensor_value_info("out", TensorProto.FLOAT16, [1, 6, 8, 8]),
        ],
        [weight, kernel],
    )
    path = tmp_path / "known.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), str(path))
    found = graph_work(path)
    matmul, conv = 2 * (2 * 5 * 4) * 3, 2 * (6 * 8 * 8) * (1 * 3 * 3)
    assert found.flops == 2 * matmul + conv
    assert found.weight_bytes == 12 * 4 + 54 * 2
    assert found.weight_bytes_read == 2 * 12 * 4 + 54 * 2
    assert graph_work(path, at_most_bits=16).weight_bytes == 12 * 2 + 54 * 2
