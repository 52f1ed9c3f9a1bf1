"""Whose turn it is to have a document read: owners in rotation, so that none waits for another's queue."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

_Waiter = asyncio.Future[None]


class Turns:
    """Grants places to owners.

    At most `places` are taken in general. An owner who holds none may take one more when all are taken by
    others. A turn alone waits until every place is free, and no other is granted beside it; between two turns
    alone those that wait for an ordinary one come first.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._held: Counter[str] = Counter()
        self._waiting = _Rotation()
        self._waiting_alone = _Rotation()
        self._is_alone = False
        self._alone_is_next = True

    async def take(self, owner: str, *, alone: bool = False) -> "Turn":
        """Wait for a turn; it must be given back. The wait is as long as the documents before take."""
        queue = self._waiting_alone if alone else self._waiting
        granted: _Waiter = asyncio.get_running_loop().create_future()
        queue.add(owner, granted)
        self._grant()
        try:
            await granted
        except BaseException:
            if granted.cancelled():
                queue.remove(owner, granted)
                self._grant()  # it may have held back others
            else:
                self._give_back(owner, alone)
            raise
        return Turn(lambda: self._give_back(owner, alone))

    def _give_back(self, owner: str, alone: bool) -> None:
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        if alone:
            self._is_alone = False
            self._alone_is_next = False
        self._grant()

    def _grant(self) -> None:
        while not self._is_alone:
            if self._waiting_alone and (self._alone_is_next or not self._waiting):
                if not self._held and (owner := self._waiting_alone.next()):
                    self._is_alone = True
                    self._held[owner] += 1
                return
            owner = self._next_owner()
            if owner is None:
                self._alone_is_next = True
                return
            self._held[owner] += 1

    def _next_owner(self) -> str | None:
        taken = self._held.total()
        if taken < self._places:
            return self._waiting.next()
        if taken == self._places:
            return self._waiting.next(lambda owner: owner not in self._held)
        return None


class Turn:
    """A place that is held."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def give_back(self) -> None:
        """Let others have the place; a second time changes nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back:
            give_back()


class _Rotation:
    """Those who wait, by owner; who was served goes to the end."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, owner: str, waiter: _Waiter) -> None:
        self._queues.setdefault(owner, deque()).append(waiter)

    def remove(self, owner: str, waiter: _Waiter) -> None:
        queue = self._queues.get(owner)
        if queue and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[owner]

    def next(self, eligible: Callable[[str], bool] = lambda _: True) -> str | None:
        """Wake the next waiter of an eligible owner and return the owner."""
        owner = next(filter(eligible, self._queues), None)
        if owner is None:
            return None
        queue = self._queues[owner]
        waiter = queue.popleft()
        if queue:
            self._queues.move_to_end(owner)
        else:
            del self._queues[owner]
        if waiter.cancelled():  # and its task has not run since
            return self.next(eligible)
        waiter.set_result(None)
        return owner
