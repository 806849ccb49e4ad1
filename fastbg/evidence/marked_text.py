"""A text that may contain the id of a request, in either form. Pure."""

from collections.abc import Iterator

from fastbg.recorder.request_ids import uuid_of


class MarkedText:
    """A text to find in the bytes of a file. Wherever it has ``request_id``, the bytes may have its UUID.

    Not a regular expression: each request has another one, and to compile it takes 0.2 ms.
    """

    def __init__(self, text: str, request_id: str) -> None:
        self._begin, *self._parts = (part.encode() for part in text.split(request_id))
        self._ids = [form.encode() for form in (request_id, uuid_of(request_id)) if form]

    @property
    def max_bytes(self) -> int:
        """The length of the longest form."""
        return len(self._begin) + sum(len(self._ids[-1]) + len(part) for part in self._parts)

    def find_in(self, data: bytearray, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the begin and the end of each place between ``first`` and ``last``, ascending, without overlaps."""
        starts = [self._begin + each for each in self._ids] if self._parts else [self._begin]
        while found := [at for start in starts if (at := data.find(start, first, last)) >= 0]:
            begin = min(found)
            end = self._end(data, begin, last)
            if end is not None:
                yield begin, end
            first = max(end or 0, begin + 1)

    def _end(self, data: bytearray, begin: int, last: int) -> int | None:
        """Return the end of the text that begins at ``begin``, None if another text does."""
        end = begin + len(self._begin)
        for part in self._parts:
            form = next((each for each in self._ids if data.startswith(each + part, end, last)), None)
            if form is None:
                return None
            end += len(form) + len(part)
        return end
