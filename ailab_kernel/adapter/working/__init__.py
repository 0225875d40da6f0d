"""One piece of work, done: its series gathered, a model or a report on them in a child, results to the outbox."""

from .overseer import Overseer
from .pressing import Gate
from .worker import again, jobs_of, run_work, submit

__all__ = ["Gate", "Overseer", "again", "jobs_of", "run_work", "submit"]
