"""Reads text in pictures, offline: PP-OCRv6 by rapidocr, whose models lie in its wheel, on OpenVINO.

Loading costs seconds and happens once a process, when the first picture is to be read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ailab_kernel.privacy.pixels.boxes import Box, Text

# Larger pictures are read in tiles that share a margin, so that no line of usual height is cut in all of them.
_TILE, _MARGIN = 1536, 192
_SMALLEST = 16                                 # no text has room in less
_ENOUGH, _LARGEST = 700_000, 2.0                # pixels to which smaller pictures are enlarged, and how far at most
_SURE = 0.85                                   # below it a line is tried upside down
_CERTAIN, _PART = 0.9, 6                       # letters higher than a sixth of a picture are rare
_STROKE, _FEW = 11, 64                         # pixels; fewer bright ones are no text


@dataclass(frozen=True)
class Reader:
    """Finds text.

    Attributes
    ----------
    threads
        How many processor threads one picture may use; 0 for all.
    """

    threads: int = 0

    def texts(self, pictures: Sequence[np.ndarray]) -> tuple[Text, ...]:
        """Return the text of one frame, each place once.

        Parameters
        ----------
        pictures
            Views of the frame: uint8, shape (rows, columns, 3), see :func:`views`. What any of them shows is found.
        """
        found: list[Text] = []
        for picture in pictures:
            for top, left in _tiles(picture.shape):
                tile = np.ascontiguousarray(picture[top:top + _TILE, left:left + _TILE])
                found += _read(tile, self.threads, (top, left))
        return _each_once(found)


def views(frame: np.ndarray) -> tuple[np.ndarray, ...]:
    """A frame as it is, and as its fine bright strokes alone, which stand out of bright organs too.

    Parameters
    ----------
    frame
        Shape (rows, columns) or (rows, columns, 3), any number type.

    Returns
    -------
    tuple
        Pictures: uint8, shape (rows, columns, 3); none where all values are the same.
    """
    values = frame.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return ()
    whole = frame if frame.ndim == 3 and frame.dtype == np.uint8 else _shown(values, low, high)
    strokes = _strokes(values if values.ndim == 2 else values.max(axis=2))
    brightest = float(np.partition(strokes, -_FEW, axis=None)[-_FEW]) if strokes.size > _FEW else 0.0
    return (whole, _shown(strokes, 0.0, brightest)) if brightest > 0 else (whole,)


def _strokes(values: np.ndarray) -> np.ndarray:
    """What is brighter than its surroundings and thinner than :data:`_STROKE`: a top hat."""
    from scipy.ndimage import grey_opening

    return values - grey_opening(values, size=(_STROKE, _STROKE))


def _shown(values: np.ndarray, low: float, high: float) -> np.ndarray:
    grey = ((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    step = _TILE - _MARGIN
    for top in range(0, max(shape[0] - _MARGIN, 1), step):
        for left in range(0, max(shape[1] - _MARGIN, 1), step):
            yield top, left


def _read(picture: np.ndarray, threads: int, at: tuple[int, int]) -> Iterator[Text]:
    """Text of one tile; lines that stand upright are looked for apart, lines read badly are tried upside down."""
    if min(picture.shape[:2]) < _SMALLEST:
        return
    engine, scale = _engine(threads), min(max((_ENOUGH / (picture.shape[0] * picture.shape[1])) ** 0.5, 1.0), _LARGEST)
    large = _enlarged(picture, scale)
    lines = _lines(engine, large)
    for corners, crop in _lines(engine, np.ascontiguousarray(np.rot90(large))):
        back = np.stack([large.shape[1] - 1 - corners[:, 1], corners[:, 0]], axis=1)
        box = _around(back)
        if _is_upright(back) and all(box.overlap(_around(other)) < 0.9 * box.area for other, _crop in lines):
            lines.append((back, crop))
    for (corners, _crop), (words, score) in zip(lines, _words(engine, [crop for _corners, crop in lines]), strict=True):
        box = _around(corners / scale).grown(0, shape=picture.shape)
        if score < _CERTAIN and min(box.bottom - box.top, box.right - box.left) > min(picture.shape[:2]) / _PART:
            continue                           # a body, not a letter
        yield Text(Box(box.top + at[0], box.left + at[1], box.bottom + at[0], box.right + at[1]), words, score)


def _lines(engine: Any, picture: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lines of text: four corners (x, y), and the part of the picture, level."""
    from rapidocr.main import RapidOCRError

    try:
        crops, found = engine.detect_and_crop(picture, {})
    except RapidOCRError:                      # its way to say that there is none
        return []
    return list(zip(found.boxes, crops, strict=True))


def _words(engine: Any, crops: list[np.ndarray]) -> list[tuple[str, float]]:
    """What lines say, and how sure that is."""
    if not crops:
        return []
    read = engine.recognize_txt(crops)
    lines = [(words, float(score)) for words, score in zip(read.txts, read.scores, strict=True)]
    unsure = [number for number, (_said, score) in enumerate(lines) if score < _SURE]
    if unsure:
        again = engine.recognize_txt([np.ascontiguousarray(np.rot90(crops[number], 2)) for number in unsure])
        for number, words, score in zip(unsure, again.txts, again.scores, strict=True):
            lines[number] = max(lines[number], (words, float(score)), key=lambda line: line[1])
    return lines


def _around(corners: np.ndarray) -> Box:
    left, top = np.floor(corners.min(axis=0)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    return Box(int(top), int(left), int(bottom) + 1, int(right) + 1)


def _is_upright(corners: np.ndarray) -> bool:
    box = _around(corners)
    return box.bottom - box.top > 1.5 * (box.right - box.left)


def _enlarged(picture: np.ndarray, scale: float) -> np.ndarray:
    """Small letters are found in larger pictures only."""
    from PIL import Image

    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return picture if scale == 1 else np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _each_once(found: Sequence[Text]) -> tuple[Text, ...]:
    """Without what a second view or tile read worse in the same place."""
    kept: list[Text] = []
    for text in sorted(found, key=lambda one: (-len(one.words) * one.score, one.box)):
        if all(text.box.overlap(other.box) < 0.8 * text.box.area for other in kept):
            kept.append(text)
    return tuple(sorted(kept, key=lambda one: one.box))


@lru_cache(maxsize=2)
def _engine(threads: int) -> Any:
    from rapidocr import EngineType, RapidOCR

    ours = {f"{part}.engine_type": EngineType.OPENVINO for part in ("Det", "Rec")}
    return RapidOCR(params={
        **ours, "EngineConfig.openvino.inference_num_threads": threads or -1, "Global.log_level": "error",
        "Det.limit_type": "max", "Det.limit_side_len": 1 << 14,            # pictures come in the size they are to have
        "Global.use_vertical_padding": False})  # fmt: skip
