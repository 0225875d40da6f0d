"""The headers of a volume's slices, parsed when somebody looks at them."""

from collections.abc import Iterator, Sequence
from typing import overload

from pydicom import Dataset

from .instance import DatasetFields, Instance


class Headers(Sequence[Dataset]):
    """One data set a slice, in slice order, without pixel data.

    They may hold patient data: they stay in memory and are never printed.
    """

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = tuple(instances)
        self._parsed: dict[int, Dataset] = {}

    def __len__(self) -> int:
        return len(self._instances)

    @overload
    def __getitem__(self, place: int) -> Dataset: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Dataset]: ...
    def __getitem__(self, place: int | slice) -> Dataset | Sequence[Dataset]:
        if isinstance(place, slice):
            return Headers(self._instances[place])
        number = range(len(self._instances))[place]
        if number not in self._parsed:
            self._parsed[number] = self._instances[number].header()
        return self._parsed[number]

    def attributes(self, *keywords: str) -> Iterator[dict[str, str]]:
        """Attributes of each slice as text, without parsing whole headers where that can be spared."""
        for instance in self._instances:
            yield {keyword: instance.text(keyword) for keyword in keywords}


def attributes_of(headers: Sequence[Dataset], *keywords: str) -> Iterator[dict[str, str]]:
    """Attributes of each slice of a volume by keyword, as text; empty where absent."""
    if isinstance(headers, Headers):
        yield from headers.attributes(*keywords)
        return
    for ds in headers:
        fields = DatasetFields(ds)
        yield {keyword: fields.text(keyword) for keyword in keywords}
