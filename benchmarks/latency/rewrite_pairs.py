"""The exact rewrites of the policy as pairs of small graphs: what was, and what the export writes.

Each pair holds the operators that one rewrite changes, with the shapes of a model, and computes the
same from the same input. How often they run in a chunk is part of the pair, so that what a rewrite
saves of a chunk is times before minus times after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dvla.benchmarks.latency.rewrite_draft import (
    EPS,
    Array,
    Draft,
    Pair,
    Sizes,
    seeded_weight,
)


def _norm_weight(s: Sizes, rows: int, width: int, out: int, times: int, part: str) -> Pair:
    gain = np.random.default_rng(width).uniform(0.5, 1.5, width).astype(np.float32)
    weight = seeded_weight(width, out)
    a, b = Draft(), Draft()
    return Pair(
        name=f"RMSNorm's weight into the projection behind it, {part}",
        done=False,
        shape=(rows, width),
        before=a.end(a.product(a.norm("x", gain), weight), times),
        after=b.end(b.product(b.norm("x", None), gain[:, None] * weight), times),
    )


def _one_product(rows: int, width: int, outs: Sequence[int], times: int, name: str) -> Pair:
    weight, ends = seeded_weight(width, sum(outs)), np.cumsum(outs)[:-1]
    a, b = Draft(), Draft()
    apart = [
        a.product("x", np.ascontiguousarray(columns)) for columns in np.split(weight, ends, axis=1)
    ]
    # What follows takes the parts: on both sides they are put together again to be one output.
    fused, begin, parts = b.product("x", weight), 0, []
    for end in (*ends, sum(outs)):
        parts.append(b.op("Slice", fused, b.ints(begin), b.ints(int(end)), b.ints(1)))
        begin = int(end)
    return Pair(
        name=name,
        done=True,
        shape=(rows, width),
        before=a.end(a.op("Concat", *apart, axis=1), times),
        after=b.end(b.op("Concat", *parts, axis=1), times),
    )


def _suffix(s: Sizes) -> Pair:
    width = s.expert_hidden
    action_in, mixing, time = (
        seeded_weight(s.action_dim, width),
        seeded_weight(2 * width, width),
        seeded_weight(1, width),
    )
    embedded = np.repeat(time, s.chunk, axis=0)
    a, b = Draft(), Draft()
    joined = a.op("Concat", a.product("x", action_in), a.constant(embedded), axis=1)
    fused = (action_in.astype(np.float64) @ mixing[:width]).astype(np.float32)
    bias = (time.astype(np.float64) @ mixing[width:]).astype(np.float32)
    return Pair(
        name="time's half of the embedding as a table, action_in_proj and the action half one map",
        done=True,
        shape=(s.chunk, s.action_dim),
        before=a.end(a.product(joined, mixing), s.steps),
        after=b.end(b.op("Add", b.product("x", fused), b.constant(bias)), s.steps),
    )


def _cross_values(s: Sizes) -> Pair:
    width = s.kv_heads * s.head_dim
    a, b = Draft(), Draft()
    weight = seeded_weight(width, width)
    return Pair(
        name="values of the cross-attention layers projected once, not in each step",
        done=True,
        shape=(s.prefix, width),
        before=a.end(a.product("x", weight), s.cross_layers * s.steps),
        after=b.end(b.product("x", weight), s.cross_layers),
    )


def _last_layer(s: Sizes) -> Pair:
    """Queries, attention's projection and perceptron of one layer; the attention itself is less."""
    wide = s.heads * s.head_dim
    a = Draft()
    x = a.product(a.product("x", seeded_weight(s.hidden, wide)), seeded_weight(wide, s.hidden))
    gate_up = a.product(x, seeded_weight(s.hidden, 2 * s.mlp))
    gate = a.op("Slice", gate_up, a.ints(0), a.ints(s.mlp), a.ints(1))
    up = a.op("Slice", gate_up, a.ints(s.mlp), a.ints(2 * s.mlp), a.ints(1))
    silu = a.op("Mul", gate, a.op("Sigmoid", gate))
    y = a.product(a.op("Mul", silu, up), seeded_weight(s.mlp, s.hidden))
    return Pair(
        name="of the prefix's last layer keys and values alone",
        done=True,
        shape=(s.prefix, s.hidden),
        before=a.end(y),
        after=None,
    )


def _scores(draft: Draft, s: Sizes, rows: int, repeated: bool) -> str:
    """Append attention of ``x`` (heads, rows, head_dim) to constant keys and values."""
    keys, group = seeded_weight(s.kv_heads, s.head_dim, s.prefix), s.heads // s.kv_heads
    values = seeded_weight(s.prefix, s.kv_heads, s.head_dim).transpose(1, 0, 2).copy()
    if not repeated:
        shape = draft.ints(s.kv_heads, group * rows, s.head_dim)
        scores = draft.op("MatMul", draft.op("Reshape", "x", shape), draft.constant(keys))
        mixed = draft.op("MatMul", draft.op("Softmax", scores, axis=-1), draft.constant(values))
        return draft.op("Reshape", mixed, draft.ints(s.heads, rows, s.head_dim))

    def repeat(array: Array) -> str:
        # Of a product, because an engine would repeat a constant before it runs.
        live = draft.op("Add", draft.constant(array[:, None]), draft.op("Mul", zero, zero))
        one, two = array.shape[1:]
        wide = draft.op("Expand", live, draft.ints(s.kv_heads, group, one, two))
        return draft.op("Reshape", wide, draft.ints(s.heads, one, two))

    first = draft.op("Slice", "x", draft.ints(0, 0, 0), draft.ints(1, 1, 1), draft.ints(0, 1, 2))
    zero = draft.op("Mul", first, draft.number(0.0))
    scores = draft.op("MatMul", "x", repeat(keys))
    return draft.op("MatMul", draft.op("Softmax", scores, axis=-1), repeat(values))


def _grouped(s: Sizes, rows: int, times: int, part: str) -> Pair:
    a, b = Draft(), Draft()
    return Pair(
        name=f"grouped queries as rows, not repeated keys and values, {part}",
        done=True,
        shape=(s.heads, rows, s.head_dim),
        before=a.end(_scores(a, s, rows, True), times),
        after=b.end(_scores(b, s, rows, False), times),
    )


def _query_scale(s: Sizes, rows: int, width: int, times: int, part: str) -> Pair:
    """1/sqrt(head_dim): as a product of all scores, or inside the query's weights."""
    shape, scale = (s.heads, rows, s.head_dim), np.float32(s.head_dim**-0.5)
    keys = seeded_weight(s.heads, s.head_dim, width)
    a, b = Draft(), Draft()
    return Pair(
        name=f"1/sqrt(head_dim) into the query's weights, {part}",
        done=True,
        shape=shape,
        before=a.end(
            a.op("Mul", a.op("MatMul", "x", a.constant(keys)), a.number(float(scale))), times
        ),
        after=b.end(b.op("MatMul", "x", b.constant(keys * scale)), times),
    )


def _language(s: Sizes) -> Pair:
    """The instruction's rows of the table, looked up in each chunk; cached, nothing is left."""
    tokens = s.prefix - s.image_tokens - 1
    a = Draft()
    table = seeded_weight(4096, s.hidden)
    ids = a.constant(np.arange(tokens, dtype=np.int64) * 37)
    rows = a.op("Gather", a.constant(table), a.op("Add", ids, a.op("Cast", "x", to=7)), axis=0)
    return Pair(
        name="the instruction embedded once, not in each chunk",
        done=False,
        shape=(1,),
        before=a.end(rows),
        after=None,
    )


def _batch_norm(s: Sizes) -> Pair:
    channels, height, width = s.stage
    kernel = seeded_weight(channels, 1, 7, 7) / 7
    rng = np.random.default_rng(channels)
    gain, shift, mean = (rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.5, 1.5, channels).astype(np.float32)
    attributes: dict[str, Any] = {"group": channels, "pads": [3, 3, 3, 3]}
    a, b = Draft(), Draft()
    conv = a.op("Conv", "x", a.constant(kernel), **attributes)
    norm = [a.constant(each) for each in (gain, shift, mean, variance)]
    factor = gain / np.sqrt(variance + np.float32(EPS))
    folded = [b.constant(kernel * factor[:, None, None, None]), b.constant(shift - mean * factor)]
    return Pair(
        name="BatchNorm into the convolution before it, largest stage",
        done=True,
        shape=(s.cameras, channels, height, width),
        before=a.end(a.op("BatchNormalization", conv, *norm, epsilon=EPS), s.stage_blocks),
        after=b.end(b.op("Conv", "x", *folded, **attributes), s.stage_blocks),
    )


def _layer_scale(s: Sizes) -> Pair:
    channels, height, width = s.stage
    weight = seeded_weight(4 * channels, channels).T.reshape(channels, 4 * channels, 1, 1).copy()
    scale = np.random.default_rng(1).uniform(0.5, 1.5, (channels, 1, 1)).astype(np.float32)
    a, b = Draft(), Draft()
    conv = a.op("Conv", "x", a.constant(weight))
    return Pair(
        name="layer scale into the projection before it, largest stage",
        done=True,
        shape=(s.cameras, 4 * channels, height, width),
        before=a.end(a.op("Mul", conv, a.constant(scale)), s.stage_blocks),
        after=b.end(b.op("Conv", "x", b.constant(weight * scale[:, None])), s.stage_blocks),
    )


def _one_batch(s: Sizes) -> Pair:
    """The perceptron of a stage: one image after the other, or all in one batch."""
    channels, height, width = s.stage
    up = seeded_weight(channels, 4 * channels).T.reshape(4 * channels, channels, 1, 1).copy()
    down = seeded_weight(4 * channels, channels).T.reshape(channels, 4 * channels, 1, 1).copy()

    def perceptron(draft: Draft, x: str) -> str:
        return draft.op(
            "Conv",
            draft.op("Relu", draft.op("Conv", x, draft.constant(up))),
            draft.constant(down),
        )

    a, b = Draft(), Draft()
    apart = [
        perceptron(a, a.op("Slice", "x", a.ints(i), a.ints(i + 1), a.ints(0)))
        for i in range(s.cameras)
    ]
    return Pair(
        name="all cameras in one batch, largest stage",
        done=True,
        shape=(s.cameras, channels, height, width),
        before=a.end(a.op("Concat", *apart, axis=0), s.stage_blocks),
        after=b.end(perceptron(b, "x"), s.stage_blocks),
    )


def rewrite_pairs(s: Sizes) -> list[Callable[[], Pair]]:
    """Return what makes each pair; the weights of one are freed before the next is made."""
    q, kv, steps = s.heads * s.head_dim, s.kv_heads * s.head_dim, s.steps
    full = s.layers - 1  # Of the last layer of the prefix, keys and values alone are left.
    rows = s.chunk
    return [
        lambda: _suffix(s),
        lambda: _cross_values(s),
        lambda: _last_layer(s),
        lambda: _one_product(
            s.prefix, s.hidden, (q, kv, kv), full, "query, key, value in one product, prefix"
        ),
        lambda: _one_product(
            rows, s.expert_hidden, (q, kv, kv), s.joint_layers * steps,
            "query, key, value in one product, denoising",
        ),
        lambda: _one_product(
            s.prefix, s.hidden, (s.mlp, s.mlp), full, "gate and up in one product, prefix"
        ),
        lambda: _one_product(
            rows, s.expert_hidden, (s.expert_mlp, s.expert_mlp), s.layers * steps,
            "gate and up in one product, denoising",
        ),
        lambda: _grouped(s, s.prefix, full, "prefix"),
        lambda: _grouped(s, rows, s.layers * steps, "denoising"),
        lambda: _query_scale(s, s.prefix, s.prefix, full, "prefix"),
        lambda: _query_scale(s, rows, s.prefix, s.layers * steps, "denoising"),
        lambda: _batch_norm(s),
        lambda: _layer_scale(s),
        lambda: _one_batch(s),
        lambda: _norm_weight(s, s.prefix, s.hidden, q + 2 * kv, 2 * full + 1, "prefix"),
        lambda: _norm_weight(
            s, rows, s.expert_hidden, q + 2 * kv, (2 * s.layers + 1) * steps, "denoising"
        ),
        lambda: _language(s),
    ]  # fmt: skip
