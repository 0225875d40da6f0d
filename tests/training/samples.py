"""A tiny task that a tiny network learns in seconds: one bright ball, with a bright slab that is no ball."""

from dataclasses import replace

import numpy as np

from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.recipes import Augment, FineTune, find
from ailab_kernel.training import Sample
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

LABEL = Label(1, "lung", LUNG)
NETWORK = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2,
           "channels": [4, 8, 8], "strides": [2, 2], "num_res_units": 0, "norm": "INSTANCE"}  # fmt: skip
TINY = replace(
    find("lungs"), roi=(16, 24, 24), network=NETWORK, keep={},
    augment=Augment(turn_deg=5, scale=0.05, shift_mm=6, bend_mm=2, noise=0.02, flip=0.5, crop=0.1, coarse=0.2, window=0.2),
    fine_tune=FineTune(epochs=4, steps=6, crop=(16, 16, 16), rate=1e-2, warmup=3, patience=9,
                       frozen=((0, ("model.0.",)), (2, ()))),
)  # fmt: skip


def study(seed: int) -> tuple[Volume, Mask]:
    random = np.random.default_rng(seed)
    shape, grid = (14, 22, 20), Grid((14, 22, 20), np.diag([4.0, 4, 4, 1])[[2, 1, 0, 3]])
    ball = sum((a - c) ** 2 for a, c in zip(np.ogrid[:14, :22, :20], random.uniform(6, 9, 3), strict=True)) < 20
    hu = np.where(ball, 200, -700) + random.normal(0, 40, shape)
    hu[:, :2] = 250
    return Volume(hu.astype(np.int16), grid), Mask(ball.astype(np.uint8), grid, (LABEL,))


def samples(first: int, count: int) -> list[Sample]:
    return [Sample(f"case-{seed}", lambda seed=seed: study(seed)) for seed in range(first, first + count)]
