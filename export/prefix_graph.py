"""The prefix graph: camera frames, tokens and state to the expert's keys and values."""

from __future__ import annotations

from dvla.engines.tensors import GraphSpec, TensorSpec
from dvla.export.arch import WHOLE
from dvla.export.fused_layers import (
    MASKED,
    FusedLayer,
    decoder_layers,
    grouped_attention,
    input_major,
    rope_tables,
    split_heads,
)
from dvla.export.model.normalize import EPS
from dvla.export.model.policy import DynamicVla
from dvla.export.resize import Size, resize_matrices
from dvla.export.torch_ import Tensor, nn, torch


class PrefixGraph(nn.Module):
    """Everything of a policy that runs once per inference.

    The instruction always has its full length; a padded token is seen by nobody and takes no
    position, so that padding changes nothing.

    Args:
        policy: the torch policy, BatchNorms folded.
        camera: (height, width) of the frames of every camera [pixel].
    """

    rows: Tensor
    columns: Tensor
    cos: Tensor
    sin: Tensor
    counting: Tensor
    visible: Tensor
    image_mask: Tensor
    state_mask: Tensor
    state_mean: Tensor
    state_divisor: Tensor

    def __init__(self, policy: DynamicVla, camera: Size) -> None:
        super().__init__()
        config, arch = policy.config, policy.arch
        vlm = policy.vlm
        self.vision, self.connector = vlm.vision_model, vlm.connector
        self.embedding_scale = vlm.embedding_scale
        self.embed_tokens = vlm.text_model.embed_tokens
        self.state_width = config.state_dim
        self.state = input_major(policy.model.state_proj.weight[:, : self.state_width])
        self.state_bias = policy.model.state_proj.bias
        statistics = policy.normalize_inputs.buffer_observation_state
        self.register_buffer("state_mean", statistics.mean)
        self.register_buffer("state_divisor", statistics.std + EPS)
        self._make_resize(policy, camera)

        self.n_tokens = config.tokenizer_max_length
        self.n_image_tokens = image_tokens(policy) * len(config.image_keys)
        self._make_layout(self.n_image_tokens + self.n_tokens + 1, arch.text.head_dim)
        last = len(vlm.text_model.layers) - 1
        self.layers = nn.ModuleList(
            FusedLayer(layer, arch.text, keys_and_values_only=index == last)
            for index, layer in enumerate(decoder_layers(vlm.text_model.layers))
        )
        expert = policy.model.vlm_with_expert.lm_expert
        self.cross_values = nn.ParameterDict(
            {
                str(index): input_major(layer.self_attn.v_proj.weight)
                for index, layer in enumerate(decoder_layers(expert.layers))
                if not expert.is_joint(index)
            }
        )

    def _make_resize(self, policy: DynamicVla, camera: Size) -> None:
        """Register the resize matrices; cameras that are resized alike share them."""
        config, crops = policy.config, policy.arch.crops
        asked = [(config.image_size(key), crops.get(key, WHOLE)) for key in config.image_keys]
        wanted = asked[:1] if len(set(asked)) == 1 else asked
        pairs = [
            resize_matrices(camera, size, config.resize_imgs_with_padding, crop)
            for size, crop in wanted
        ]
        # From bytes to [-1, 1] is 2 / 255 x - 1; the factor is taken into the matrices.
        rows = torch.stack([rows * (2.0 / 255.0) for rows, _ in pairs])
        self.register_buffer("rows", rows[:, None])
        self.register_buffer("columns", torch.stack([columns for _, columns in pairs])[:, None])

    def _make_layout(self, length: int, head_dim: int) -> None:
        """Register what follows from the prefix's length: order, visibility, rotary tables."""
        cos, sin = rope_tables(length, head_dim)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)
        # A product with ones below the diagonal is a cumulative sum that every backend has.
        self.register_buffer("counting", torch.ones(length, length).tril())
        visible = torch.ones(length, length, dtype=torch.bool)
        visible[:-1, -1] = False  # The state, the last token, is seen by itself alone.
        self.register_buffer("visible", visible)
        self.register_buffer("image_mask", torch.ones(self.n_image_tokens, dtype=torch.bool))
        self.register_buffer("state_mask", torch.ones(1, dtype=torch.bool))

    def forward(
        self, frames: Tensor, token_ids: Tensor, token_mask: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return keys and values, (layers, kv_heads, L, head_dim) each; see ``prefix_spec``."""
        x = torch.cat([self._images(frames), self._language(token_ids), self._state(state)])
        mask = torch.cat([self.image_mask, token_mask, self.state_mask])
        positions = (self.counting @ mask.to(torch.float32)).to(torch.int64) - 1
        cos, sin = self.cos.index_select(0, positions), self.sin.index_select(0, positions)
        bias = torch.where(self.visible & mask, 0.0, MASKED)
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, FusedLayer)
            if layer.keys_and_values_only:
                k, v = layer.keys_values(x, cos, sin)
            else:
                q, k, v = layer.queries_keys_values(x, cos, sin)
                x = layer.finish(x, grouped_attention(q, k, v, bias))
            keys.append(k)
            values.append(self._expert_values(index, v))
        return torch.stack(keys), torch.stack(values)

    def _images(self, frames: Tensor) -> Tensor:
        """Map frames (cameras, n_obs, h, w, 3) uint8 to scaled image tokens (cameras * T, D)."""
        cameras, n_obs, height, width, _ = frames.shape
        planes = frames.permute(0, 1, 4, 2, 3).reshape(cameras, n_obs * 3, height, width)
        images = self.rows @ planes.to(torch.float32) @ self.columns - 1.0
        tokens: Tensor = self.connector(self.vision(images)) * self.embedding_scale
        return tokens.reshape(self.n_image_tokens, -1)

    def _language(self, token_ids: Tensor) -> Tensor:
        embedded: Tensor = self.embed_tokens(token_ids) * self.embedding_scale
        return embedded

    def _state(self, state: Tensor) -> Tensor:
        normalised = ((state - self.state_mean) / self.state_divisor)[None]
        return normalised @ self.state + self.state_bias

    def _expert_values(self, index: int, values: Tensor) -> Tensor:
        """Apply the expert's value projection where its layer is a cross-attention layer."""
        key = str(index)
        if key not in self.cross_values:
            return values
        kv_heads, length, head_dim = values.shape
        rows = values.permute(1, 0, 2).reshape(length, kv_heads * head_dim)
        return split_heads(rows @ self.cross_values[key], head_dim)


def image_tokens(policy: DynamicVla) -> int:
    """Return the number of tokens of one camera: the stem halves twice, each later stage once."""
    height, width = policy.config.resize_imgs_with_padding
    for _ in range(len(policy.arch.vision.dims) + 1):
        height, width = -(-height // 2), -(-width // 2)
    return height * width


def cache_specs(policy: DynamicVla) -> tuple[TensorSpec, TensorSpec]:
    """Return the declarations of the keys and the values between the two graphs."""
    config, text = policy.config, policy.arch.text
    length = image_tokens(policy) * len(config.image_keys) + config.tokenizer_max_length + 1
    shape = (text.n_layers, text.n_kv_heads, length, text.head_dim)
    return (
        TensorSpec(name="keys", shape=shape, dtype="float32"),
        TensorSpec(name="values", shape=shape, dtype="float32"),
    )


def token_mask_spec(policy: DynamicVla) -> TensorSpec:
    """Return the declaration of the token mask, which both graphs take."""
    return TensorSpec(name="token_mask", shape=(policy.config.tokenizer_max_length,), dtype="bool")


def prefix_spec(policy: DynamicVla, camera: Size) -> GraphSpec:
    """Return the declared inputs and outputs of the prefix graph."""
    config = policy.config
    frames = (len(config.image_keys), config.n_obs_steps, *camera, 3)
    return GraphSpec(
        name="prefix",
        inputs=(
            TensorSpec(name="frames", shape=frames, dtype="uint8", units="RGB"),
            TensorSpec(name="token_ids", shape=(config.tokenizer_max_length,), dtype="int64"),
            token_mask_spec(policy),
            TensorSpec(name="state", shape=(config.state_dim,), dtype="float32", units="m, rad"),
        ),
        outputs=cache_specs(policy),
    )
