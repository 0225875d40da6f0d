"""An adapter's figures for Prometheus (text format 0.0.4)."""

from collections.abc import Iterable, Mapping

from ailab_kernel.adapter.ledger import Figures

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Sample = tuple[Mapping[str, str], float]
Family = tuple[str, str, str, Iterable[Sample]]


def metrics(told: Figures, *, free_bytes: int) -> str:
    """Return every metric with its help; labels are states and names of destinations, never a UID.

    Parameters
    ----------
    told
        The figures.
    free_bytes
        Left on the inbox's disk.
    """
    families: tuple[Family, ...] = (
        ("instances_total", "counter", "Instances that arrived, by what became of them.",
         [({"state": state}, count) for state, count in told.received.items()]),
        ("received_bytes_total", "counter", "Bytes of the instances that arrived.", [({}, told.received_bytes)]),
        ("studies_open", "gauge", "Studies that are not settled: not quiet yet, or not whole.", [({}, told.looking)]),
        ("work", "gauge", "Pieces of work, by state.",
         [({"state": state}, count) for state, count in told.work.items()]),
        ("oldest_work_seconds", "gauge", "Age of the oldest work that is under way.", [({}, told.oldest_s)]),
        ("deliveries", "gauge", "Results, by destination and state.",
         [({"destination": name, "state": state}, count) for (name, state), count in sorted(told.deliveries.items())]),
        ("commitments_pending", "gauge", "Answers to storage commitment requests that nobody has taken yet.",
         [({}, told.commitments)]),
        ("free_bytes", "gauge", "Space left where instances are kept.", [({}, free_bytes)]),
    )  # fmt: skip
    return "".join(_family(one) for one in families)


def _family(told: Family) -> str:
    name, (kind, about, samples) = f"ailab_adapter_{told[0]}", told[1:]
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {value:.17g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""
