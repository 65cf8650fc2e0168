"""The whole policy: frames, instruction and state in; a chunk of absolute actions out."""

from __future__ import annotations

from collections.abc import Mapping

from dvla.export.arch import WHOLE, Arch
from dvla.export.config import PolicyConfig
from dvla.export.model.decoder import KeyValue
from dvla.export.model.flow import euler_sample, soft_mask_guide, time_embedding
from dvla.export.model.images import prepare_images
from dvla.export.model.normalize import ActionNormalizer, StateNormalizer
from dvla.export.model.prefix import prefix_attention_mask, prefix_mask, prefix_positions
from dvla.export.model.vlm import VlmModel, VlmWithExpert
from dvla.export.torch_ import F, Tensor, nn, torch

POSE_DIM = 6
"""A delta action moves x, y, z, rx, ry and rz; the gripper is commanded absolutely."""


class FlowModel(nn.Module):
    """VLM, expert and the projections between them and the state and actions."""

    def __init__(self, config: PolicyConfig, arch: Arch) -> None:
        super().__init__()
        width = arch.expert.hidden
        self.vlm_with_expert = VlmWithExpert(arch)
        self.state_proj = nn.Linear(config.max_state_dim, arch.text.hidden)
        self.action_in_proj = nn.Linear(config.max_action_dim, width)
        self.action_out_proj = nn.Linear(width, config.max_action_dim)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)


class DynamicVla(nn.Module):
    """A DynamicVLA policy in plain torch, stage by stage.

    Shapes: B batch, N cameras, T tokens of one camera, L prefix, H chunk, A action, S state,
    D = ``max_action_dim``.
    """

    def __init__(self, config: PolicyConfig, arch: Arch) -> None:
        super().__init__()
        self.config, self.arch = config, arch
        self.normalize_inputs = StateNormalizer(config.state_dim)
        self.normalize_targets = ActionNormalizer(config.action_dim)
        self.unnormalize_outputs = ActionNormalizer(config.action_dim)
        self.model = FlowModel(config, arch)

    @property
    def vlm(self) -> VlmModel:
        """Vision encoder, connector and language model."""
        return self.model.vlm_with_expert.vlm.model

    def prepare_images(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Bring all cameras' frames to the encoder's input.

        Args:
            frames: by feature name, (B, n_obs, h, w, 3) uint8 or (B, n_obs, 3, h, w) in [0, 1].

        Returns:
            (B, N, 3 * n_obs, H, W) float32 in [-1, 1], cameras in the order of the config.
        """
        cfg = self.config
        return torch.stack(
            [
                prepare_images(
                    frames[key],
                    cfg.image_size(key),
                    cfg.resize_imgs_with_padding,
                    self.arch.crops.get(key, WHOLE),
                )
                for key in cfg.image_keys
            ],
            dim=1,
        )

    def embed_images(self, images: Tensor) -> Tensor:
        """Map prepared images (B, N, C, H, W) to image tokens (B, N, T, hidden), not scaled."""
        tokens = self.vlm.embed_images(images.flatten(0, 1))
        return tokens.reshape(*images.shape[:2], *tokens.shape[1:])

    def embed_state(self, state: Tensor) -> Tensor:
        """Map the states (B, n_obs, S) to the state token (B, 1, hidden) of the newest one."""
        token: Tensor = self.model.state_proj(self.normalized_state(state))
        return token[:, None]

    def normalized_state(self, state: Tensor) -> Tensor:
        """Return the newest of the states (B, n_obs, S), normalised and padded with zeros."""
        newest = self.normalize_inputs.buffer_observation_state.normalize(state[:, -1])
        return F.pad(newest, (0, self.config.max_state_dim - newest.shape[-1]))

    def embed_prefix(
        self, image_tokens: Tensor, token_ids: Tensor, token_mask: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Lay out the prefix: the cameras in order, the instruction, the state.

        Args:
            image_tokens: (B, N, T, hidden), not scaled.
            token_ids: (B, n) int64, padded at the right.
            token_mask: (B, n) bool, false where padded.
            state: (B, n_obs, S) [m, rad].

        Returns:
            The embedded prefix (B, L, hidden) and its mask (B, L) bool.
        """
        images = image_tokens.flatten(1, 2) * self.vlm.embedding_scale
        language = self.vlm.embed_tokens(token_ids)
        embedded = torch.cat([images, language, self.embed_state(state)], dim=1)
        return embedded, prefix_mask(embedded.shape[0], images.shape[1], token_mask)

    def prefix_cache(self, embedded: Tensor, mask: Tensor) -> list[KeyValue]:
        """Run the prefix (B, L, hidden) once; return per layer its roped keys and its values."""
        cache: list[KeyValue] = self.vlm.text_model(
            embedded, prefix_attention_mask(mask), prefix_positions(mask)
        )
        return cache

    def embed_suffix(self, x: Tensor, flow_time: float) -> Tensor:
        """Map noisy actions (B, H, D) at a flow time to the expert's input (B, H, width)."""
        cfg, model = self.config, self.model
        actions = model.action_in_proj(x)
        time = time_embedding(flow_time, actions.shape[-1], cfg.min_period, cfg.max_period)
        both = torch.cat([actions, time.to(actions).expand_as(actions)], dim=-1)
        embedded: Tensor = model.action_time_mlp_out(F.silu(model.action_time_mlp_in(both)))
        return embedded

    def denoise_step(
        self, x: Tensor, flow_time: float, cache: list[KeyValue], mask: Tensor
    ) -> Tensor:
        """Return the velocity (B, H, D) of noisy actions x (B, H, D) at a flow time."""
        suffix = self.embed_suffix(x, flow_time)
        hidden = self.model.vlm_with_expert.lm_expert(suffix, cache, mask)
        velocity: Tensor = self.model.action_out_proj(hidden)
        return velocity

    def sample_actions(
        self,
        cache: list[KeyValue],
        mask: Tensor,
        noise: Tensor,
        *,
        num_steps: int | None = None,
        prev_actions: Tensor | None = None,
        prev_weight: Tensor | None = None,
    ) -> Tensor:
        """Denoise a chunk.

        Args:
            cache: per layer the prefix's keys and values.
            mask: (B, L) bool of the prefix.
            noise: (B, H, D) standard normal.
            num_steps: Euler steps; the config's where not given.
            prev_actions: (B, H, D) normalised, padded future of the previous chunk, to which
                ``prev_weight`` (B, H) in [0, 1] pulls the sample; neither for the plain sampler.

        Returns:
            (B, H, D) normalised, padded actions.
        """
        guide = None
        if prev_actions is not None and prev_weight is not None:
            guide = soft_mask_guide(prev_actions, prev_weight, noise)
        return euler_sample(
            lambda x, flow_time: self.denoise_step(x, flow_time, cache, mask),
            noise,
            num_steps or self.config.num_steps,
            guide,
        )

    def unnormalize_actions(self, padded: Tensor) -> Tensor:
        """Return (B, H, A) actions [m, rad, -], still relative where the config says so."""
        return self.unnormalize_outputs.buffer_action.unnormalize(
            padded[..., : self.config.action_dim]
        )

    def absolute_actions(self, actions: Tensor, state: Tensor) -> Tensor:
        """Add the newest of the states (B, n_obs, S) to the pose of relative actions (B, H, A)."""
        if not self.config.use_delta_action:
            return actions
        n = min(POSE_DIM, actions.shape[-1], state.shape[-1])
        pose = actions[..., :n] + state[:, -1:, :n]
        return torch.cat([pose, actions[..., n:]], dim=-1)

    def forward(
        self,
        frames: Mapping[str, Tensor],
        token_ids: Tensor,
        token_mask: Tensor,
        state: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """Return the absolute actions (B, H, A) [m, rad, -] of one observation per batch entry."""
        images = self.embed_images(self.prepare_images(frames))
        embedded, mask = self.embed_prefix(images, token_ids, token_mask, state)
        padded = self.sample_actions(self.prefix_cache(embedded, mask), mask, noise)
        return self.absolute_actions(self.unnormalize_actions(padded), state)
