"""What a deployment needs to know of a site beside its answers: the image, the hub's name, the kind of its GPUs."""

import re
from dataclasses import dataclass

from ailab_kernel.ground.errors import WrongUse

_FORMS = {"image": r"[\w./:@\-]+", "host": r"[A-Za-z0-9.\-]+", "gpu_kind": r"[\w.\-]*"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """Of one hospital.

    Raises
    ------
    WrongUse
        A value with other characters than such names have; it is named.

    Attributes
    ----------
    image
        Container image with AI-LAB and its environment, as NAME:TAG in the site's own registry.
    host
        Name under which people reach the hub.
    gpu_kind
        Kind of GPU that tiers ask for, as the cluster calls it; empty takes any.
    """

    image: str = "registry.example/ailab:1"
    host: str = "ailab.example"
    gpu_kind: str = ""

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            if not re.fullmatch(form, getattr(self, name)):
                msg = f"{name} {getattr(self, name)[:80]!r} has characters that no such name has; write it plainly"
                raise WrongUse(msg)
