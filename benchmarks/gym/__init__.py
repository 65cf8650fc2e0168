"""The benchmark as a gymnasium environment: ``gymnasium.make("dvla.benchmarks.gym:dvla/DOM-v0")``.

Gymnasium imports what stands before the colon and then looks the name up; its entry points are no
longer loaded (1.4). So importing this module registers the environment, where gymnasium is.
"""

from __future__ import annotations

ENV_ID = "dvla/DOM-v0"


def register() -> bool:
    """Register the environment; return whether gymnasium is there."""
    try:
        import gymnasium
    except ModuleNotFoundError:
        return False
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, "dvla.benchmarks.gym.environment:open_environment")
    return True


register()
