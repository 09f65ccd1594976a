"""A call under way on a GPU: submissions made ahead of what is read, and given up on.

At most three are on their way: two ahead of the one that is awaited. The host so never waits for a
single token, and a caller who leaves has that much computed in vain, and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterator
from itertools import islice
from typing import Any

from ..errors import UnsupportedError
from ..op import Array

Outputs = Awaitable[dict[str, Array]]

_AHEAD = 2  # submissions on their way beside the one that is read

_abandoned: set[asyncio.Future[Any]] = set()  # a loop holds its tasks weakly


class Turn:
    """Submissions in their order; each is made when the one two before it is read."""

    def __init__(self, work: Iterator[tuple[Outputs, bool]]) -> None:
        """`work` makes a submission when asked for the next: (outputs, are its tokens wanted)."""
        self._ended = False
        self._work = work
        self._pending = deque(islice(work, _AHEAD))

    def __bool__(self) -> bool:
        return bool(self._pending)

    async def read(self) -> list[int]:
        """The tokens of the next submission; none of one whose tokens nobody wants."""
        result, wanted = self._pending.popleft()
        self._pending.extend(islice(self._work, 1))
        found = await result
        await asyncio.sleep(0)  # where a driver blocks, this is when others get their turn
        self.check()
        return found["token"].reshape(-1).tolist() if wanted else []

    def check(self) -> None:
        """Refuse to go on after `end`."""
        if self._ended:
            raise UnsupportedError(
                "this stream has ended: another call to the same model took its place"
            )

    def end(self) -> None:
        """Submit nothing more; what is on its way is read in the background, and dropped."""
        self._ended = True
        for result, _ in self._pending:
            task = asyncio.ensure_future(result)
            _abandoned.add(task)
            task.add_done_callback(_abandoned.discard)
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
        self._pending.clear()
