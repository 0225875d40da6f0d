"""The four sizes of the seed's chapter 3 as data (sections 3.1 to 3.3)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """One size of AI compute.

    Attributes
    ----------
    name
        ``pilot``, ``small``, ``medium`` or ``large``.
    whom
        Who it is for (3.1).
    tflops
        From and below, tera floating point operations a second (3.2); the largest has no end.
    footprint
        What it may stand on (3.2).
    experience
        What to expect of it (3.3).
    ram_gb, network_gbps
        At least: the seed asks for 16 GB and 1 Gbit/s; the rest is ours, from what the workflows were seen to take.
    """

    name: str
    whom: str
    tflops: tuple[float, float]
    footprint: str
    experience: str
    ram_gb: int
    network_gbps: float


TIERS = (
    Tier("pilot", "a clinician or small research team that wants to start small and has few resources", (0, 15),
         "desktop or laptop, with or without a GPU, or a small cloud instance",
         "outside the data center: no business continuity, no promised uptime; heavy work takes much longer", 16, 1),
    Tier("small", "a small hospital or research group that validates and infers but develops few models", (15, 480),
         "data science workstation, server or cloud instance with a GPU",
         "suitable for single runs of heavy workflows; may slow down when load increases", 32, 1),
    Tier("medium", "a medium hospital or research group with a data scientist or a small team", (480, 2000),
         "server with several GPUs, optimized for data science",
         "suitable for most workloads and a mix of training, annotation, validation and inference", 128, 10),
    Tier("large", "a large hospital or research group with a data science team or an academic institution",
         (2000, float("inf")), "a stack of servers with GPUs, optimized for data science",
         "suitable for the largest workloads; grows in line with further systems", 512, 10),
)  # fmt: skip
NAMES = tuple(tier.name for tier in TIERS)


def tier(name: str) -> Tier:
    """Return a tier by its name."""
    return TIERS[NAMES.index(name)]


def tier_of_tflops(tflops: float) -> Tier:
    """Return the tier whose range holds a measured or stated speed; a bound belongs to the larger one."""
    return next(one for one in TIERS if tflops < one.tflops[1])


def larger(one: str, other: str) -> str:
    """Return the larger of two tiers' names."""
    return NAMES[max(NAMES.index(one), NAMES.index(other))]
