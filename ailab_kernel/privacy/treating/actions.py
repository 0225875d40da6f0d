"""Actions of a profile by tag and VR, remembered: every slice asks the same."""

from collections.abc import Mapping
from functools import lru_cache

from ailab_kernel.privacy.rules.profile import Action, Profile


class _Actions(dict[tuple[int, str], Action]):
    """As far as they were asked for."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def __missing__(self, key: tuple[int, str]) -> Action:
        tag, vr = key
        action = Action.KEEP               # private ones that are still there are safe
        if not tag >> 16 & 1:
            action = Action.REMOVE if vr == "UN" else self._profile.action(tag, vr)
        self[key] = action
        return action


@lru_cache(maxsize=16)
def actions_of(profile: Profile) -> Mapping[tuple[int, str], Action]:
    """Return what a profile does, by tag and VR; sequences, private and unknown attributes too."""
    return _Actions(profile)
