"""What a MONAI bundle's metadata says about a network's input and output, from its recipe."""

from importlib.metadata import version
from typing import Any

from .recipe import Recipe


def bundle_metadata(recipe: Recipe) -> dict[str, Any]:
    """Return the fields that MONAI's metadata schema asks for, as plain JSON.

    Parameters
    ----------
    recipe
        What the model was trained by.
    """
    shape = {"spatial_shape": list(recipe.roi), "dtype": "float32", "is_patch_data": True}
    unit = {"format": "hounsfield", "modality": "CT"} if recipe.window_hu else {"format": "magnitude", "modality": "MR"}
    image = {"type": "image", **unit, "num_channels": 1, "value_range": [0, 1],
             "channel_def": {"0": "image"}, **shape}  # fmt: skip
    named = {"0": "background", **{str(label.index): label.name for label in recipe.labels}}
    answer = {"type": "image", "format": "segmentation", "num_channels": recipe.channels, "value_range": [0, 1],
              "channel_def": named, **shape}  # fmt: skip
    return {
        "version": "1.0.0",
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "task": recipe.title,
        "spacing_mm": list(recipe.spacing_mm),
        "window_hu": list(recipe.window_hu) if recipe.window_hu else None,
        "recipe_digest": recipe.digest,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": answer}},
    }
