"""An architecture that policies were trained with: four stages in the encoder, three layers."""

from __future__ import annotations

from typing import Any

import msgspec

from dvla.training.presets import NANO, preset_config

LAYERS = 3
FOUR_STAGES = msgspec.structs.replace(
    NANO,
    vision=msgspec.structs.replace(
        NANO.vision,
        dims=(32, 64, 64, 128),
        n_blocks=(1, 1, 2, 1),
        mlp_dims=(96, 192, 192, 384),
    ),
    text=msgspec.structs.replace(NANO.text, n_layers=LAYERS),
    expert=msgspec.structs.replace(NANO.expert, n_layers=LAYERS),
)


def four_stages_config() -> dict[str, Any]:
    """Return the config of such a policy, as plain data."""
    return preset_config("nano") | {"num_vlm_layers": LAYERS}
