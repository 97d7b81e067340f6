"""A bounded queue between two threads whose taker can look before it takes, and whose giver waits while it is full."""

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handoff(Generic[T]):
    """First in, first out, at most ``size`` items; any number of givers, one taker."""

    def __init__(self, size: int, wake: threading.Event | None = None) -> None:
        """``wake`` is set whenever there is something for the taker to see."""
        self._size, self._wake = size, wake
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def over(self) -> bool:
        """Whether nothing is in it and nothing will come."""
        return self._closed and not self._items

    def put(self, item: T, stop: threading.Event) -> bool:
        """Give ``item``, waiting for room; False, and nothing given, when ``stop`` is set meanwhile."""
        with self._changed:
            while len(self._items) >= self._size:
                if stop.is_set():
                    return False
                self._changed.wait(0.2)
            self._items.append(item)
            self._changed.notify_all()
        if self._wake is not None:
            self._wake.set()
        return True

    def peek(self) -> T | None:
        """The first item, which stays."""
        with self._changed:
            return self._items[0] if self._items else None

    def pop(self) -> T | None:
        """The first item."""
        with self._changed:
            item = self._items.popleft() if self._items else None
            self._changed.notify_all()
            return item

    def take(self, most: int, linger_s: float, longest_s: float = 0.2) -> list[T]:
        """Up to ``most`` items: waits ``longest_s`` for the first, then ``linger_s`` for the others."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(longest_s)
            until = time.monotonic() + linger_s
            while self._items and len(self._items) < min(most, self._size) and not self._closed:
                if (left := until - time.monotonic()) <= 0 or not self._changed.wait(left):
                    break
            items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._changed.notify_all()
            return items

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._wake is not None:
            self._wake.set()
