"""From a study to its results at every destination: look, run, deliver; each step again after a kill, each once."""

from .courier import Courier
from .dispatcher import Dispatcher
from .ready import check
from .serving import Adapter
from .worker import again, run_work, submit

__all__ = ["Adapter", "Courier", "Dispatcher", "again", "check", "run_work", "submit"]
