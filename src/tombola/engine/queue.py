"""What a store lacks of a study, as any number of workers share it: the store is the queue, and nobody hands out work."""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from tombola.core.errors import TombolaError
from tombola.engine.progress import Progress
from tombola.store.disk import STALE_SECONDS
from tombola.store.store import Store

_LEAST, _MOST, _SHARE = 0.2, 30.0, 0.1
"""A pause of who waits: a tenth of the time waited so far, in seconds from the first to the second."""


class Queue:
    """Runs, or measurements, that a store lacks, and who is at them.

    A look costs one listing of the store's folder and one of its claims, however many runs there are and whoever finished them. What
    turned up is opened only before it is used (`confirm`), to see that all that is wanted of it is there.
    """

    def __init__(self, store: Store, wanted: Iterable[str], done: Callable[[str], bool]) -> None:
        self.store, self._done = store, done
        self.missing = dict.fromkeys(wanted)
        """The digests that are not done yet, in the order of `wanted`."""
        self.held: dict[str, str] = {}
        """Digest that another process has claimed -> "host:process", "" where that was not looked up."""
        self.begun: set[str] = set()
        """The digests of which a checkpoint is there."""
        self._turned_up: set[str] = set()
        self._lacking: set[str] = set()
        """The digests of what is there, but lacks something that is wanted of it."""
        self._waited = 0.0
        self.look(closely=True)
        self.confirm(list(self._turned_up))  # what other studies have stored may lack weights

    def look(self, closely: bool = False) -> None:
        """See what is there by now, and what is claimed; `closely`: and whether who claimed it is alive."""
        there = set(self.store.files.names())
        for digest in [digest for digest in self.missing if digest in there and digest not in self._lacking]:
            del self.missing[digest]
            self._turned_up.add(digest)
        self._look_at_claims(self.missing, closely)

    def confirm(self, digests: Iterable[str]) -> bool:
        """Whether these are there with all that is wanted of them; those that are not are missing again."""
        found = self._turned_up.intersection(digests)
        self._turned_up -= found
        lacking = [digest for digest in found if not self._done(digest)]
        self._lacking.update(lacking)
        self.missing.update(dict.fromkeys(lacking))
        return not lacking

    def free(self, ready: Collection[str]) -> list[str]:
        """The digests that nobody has claimed."""
        return [digest for digest in ready if digest not in self.held]

    def claim(self, digests: Iterable[str]) -> list[str]:
        """Claim digests; returns those that this process has now. Whoever gets some has not waited in vain."""
        claimed = [digest for digest in digests if self.store.claim(digest)]
        self._lacking.difference_update(claimed)  # the next look sees what this process made of them
        if claimed:
            self._waited = 0.0
        return claimed

    @contextmanager
    def taken(self, digests: Sequence[str]) -> Iterator[list[str]]:
        """Claim digests, and yield those that nobody has finished between a look and the claim; all are given back in the end."""
        try:
            with renewed(self.store, claimed := self.claim(digests)):
                yield [digest for digest in claimed if not self._done(digest)]
        finally:
            self.store.release(digests)

    def wait(self, ready: Collection[str], progress: Progress) -> None:
        """Wait while other processes hold all that is ready; it is said whose."""
        for pause in self.pauses(ready):
            progress.waiting(self.held.values())
            time.sleep(pause)

    def pauses(self, ready: Collection[str]) -> Iterator[float]:
        """Seconds to sleep, again and again, until one of those that are ready is free, or was given back: looked for by one listing."""
        while True:
            self._look_at_claims(ready, closely=True)
            if len(self.held) < len(ready):
                return
            pause = min(_MOST, max(_LEAST, _SHARE * self._waited)) * random.uniform(0.5, 1.5)  # not all at once
            self._waited += pause
            yield pause

    def _look_at_claims(self, digests: Collection[str], closely: bool) -> None:
        work = self.store.files.work()
        self.begun = work.begun
        self.held = self.store.files.holders([digest for digest in digests if digest in work.claimed], closely)


@contextmanager
def renewed(store: Store, digests: Collection[str]) -> Iterator[None]:
    """Keep this process's claims alive, also while one long call computes."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(STALE_SECONDS / 5):
            with suppress(OSError, TombolaError):  # a store that cannot be reached for a while is tried again
                store.renew(digests)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
