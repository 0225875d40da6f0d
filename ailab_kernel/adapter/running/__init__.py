"""An adapter that is open: every door, the rounds that look, deliver and vouch, and the workers it keeps alive."""

from ailab_kernel.adapter.working import again

from .courier import Courier
from .notary import Notary
from .ready import check
from .serving import Adapter

__all__ = ["Adapter", "Courier", "Notary", "again", "check"]
