"""The names under which the official checkpoint holds vision, connector, text and expert."""

from __future__ import annotations

import math

from dvla.export.arch import Arch
from dvla.export.model.connector import Connector
from dvla.export.model.decoder import TextModel
from dvla.export.model.expert import ActionExpert
from dvla.export.model.fastvit import FastVit
from dvla.export.torch_ import Tensor, nn


class VlmModel(nn.Module):
    """Vision encoder, connector and language model."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.vision_model = FastVit(arch.vision)
        self.connector = Connector(arch.vision.out_dim, arch.text.hidden)
        self.text_model = TextModel(arch.text, arch.vocab)
        self.embedding_scale = math.sqrt(arch.text.hidden)

    def embed_images(self, images: Tensor) -> Tensor:
        """Map prepared images (N, 3 * n_obs, H, W) to tokens (N, T, D), not scaled yet."""
        tokens: Tensor = self.connector(self.vision_model(images))
        return tokens

    def embed_tokens(self, token_ids: Tensor) -> Tensor:
        """Map token ids (B, T) to their embeddings (B, T, D), scaled."""
        embedded: Tensor = self.text_model.embed_tokens(token_ids)
        return embedded * self.embedding_scale


class Vlm(nn.Module):
    """One more level of the official names."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.model = VlmModel(arch)


class VlmWithExpert(nn.Module):
    """The VLM and the action expert that reads its cache."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.vlm = Vlm(arch)
        self.lm_expert = ActionExpert(arch.expert, arch.self_attn_every)
