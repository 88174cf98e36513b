"""The files of a store in an object store, such as S3, by the extra `tombola[s3]`: machines that share no file system work on one.

A record is there when its manifest is, which is written last. A claim is an object that one process alone can create, or take over
from one that stopped renewing it: both are conditional writes. Their age is told by the object store's own clock.
"""

import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tombola.core.errors import TombolaError
from tombola.core.extras import extra
from tombola.core.loading import summary
from tombola.store.disk import STALE_SECONDS, Work, checkpoint


class Address(str):
    """An address, to which names are added as to a path."""

    def __truediv__(self, name: object) -> "Address":
        return Address(f"{self}/{name}")


class Bucket:
    """The files of a store in a bucket, with the methods of `tombola.store.disk.Disk`."""

    def __init__(self, url: str, objects: Any = None, prefix: str = "") -> None:
        self.path: Any = Address(url.rstrip("/"))
        self._api, self._errors, self._prefix = extra("obstore", "s3"), extra("obstore.exceptions", "s3"), prefix
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._tags: dict[str, dict[str, Any]] = {}
        """Claim that this process holds -> what tells its object from a later one in its place."""
        try:
            self._objects = objects or extra("obstore.store", "s3").from_url(url)
        except Exception as error:  # the library's own, and ValueError
            raise TombolaError(f"store {url!r}: {summary(error)}; write s3://BUCKET/FOLDER, for example") from None

    def room(self, name: str) -> "Bucket":
        """A store within this one."""
        return Bucket(self.path / name, self._objects, f"{self._prefix}{name}/")

    def prepare(self) -> None:
        """See that it can be written, and on a condition: some services take any write, and two processes would have one claim."""
        name = f".work/writable-{uuid.uuid4().hex}"
        self._take(name, "create")
        first = self._tags.pop(name)
        known = self._take(name, first) and not self._take(name, first) and not self._take(name, "create")
        self._tags.pop(name, None)
        self.erase(name)
        if not known:
            raise TombolaError(f"store {self.path!r} cannot be used: its service knows no conditional writes, of which claims are made")

    def has(self, name: str) -> bool:
        """Whether there is such an object."""
        return self._head(name) is not None

    def read(self, name: str) -> bytes:
        """The content of an object. Raises `OSError`."""
        with self._reaching():
            try:
                return bytes(self._api.get(self._objects, self._prefix + name).bytes())
            except (self._errors.NotFoundError, FileNotFoundError):
                raise FileNotFoundError(f"{self.path}/{name}") from None

    def names(self, folder: str = "") -> list[str]:
        """The names of what a folder holds; none if it is not there. One listing."""
        inside = f"{self._prefix}{folder}".rstrip("/")
        with self._reaching():
            found = self._api.list_with_delimiter(self._objects, prefix=inside or None)
        return [path.rpartition("/")[2] for path in (*found["common_prefixes"], *(one["path"] for one in found["objects"]))]

    def records(self) -> list[str]:
        """The records that are there whole, sorted. One listing."""
        return sorted(name.partition("/")[0] for name in self._listed() if name.endswith("/manifest.json") and name.count("/") == 1)

    def sizes(self) -> dict[str, int]:
        """Every object -> bytes."""
        return self._listed()

    def write(self, name: str, content: bytes) -> None:
        """An object by itself."""
        with self._reaching():
            self._put(name, content)

    def erase(self, name: str) -> None:
        """Take an object away that is in no record."""
        with self._reaching():
            self._delete([name])

    def put(self, record: str, files: Mapping[str, bytes], replace: bool) -> None:
        """A record with all its files, the manifest last. One that is there already stays, unless it is to be replaced."""
        if self.has(f"{record}/manifest.json") and not replace:
            return
        self.remove(record)
        with self._reaching():
            for name in sorted(files, key=lambda name: name == "manifest.json"):
                self._put(f"{record}/{name}", files[name])

    def remove(self, record: str) -> None:
        """Take a record out, its manifest first: half a record is none."""
        names = sorted(self._listed(f"{record}/"), key=lambda name: name != f"{record}/manifest.json")
        with self._reaching():
            self._delete(names[:1])
            self._delete(names[1:])

    # -- runs in progress -------------------------------------------------------------------------------------

    def checkpoint(self, record: str) -> str | None:
        """The object in which a run in progress keeps its checkpoint."""
        return checkpoint(record)

    def claim(self, record: str) -> bool:
        """Take a run for this process; False while another process that is alive holds it."""
        name, there = self._claim(record), self._head(self._claim(record))
        if there is None:
            return self._take(name, "create")
        mine = self._tags.get(name) == _told(there)
        return mine or (_age(there, self._now()) >= STALE_SECONDS and self._take(name, _told(there)))

    def renew(self, records: Iterable[str]) -> None:
        """Show that this process is alive. A claim that another has taken over by now stays its own."""
        for name in map(self._claim, records):
            if name in self._tags and not self._take(name, self._tags[name]):
                self._tags.pop(name, None)

    def release(self, records: Iterable[str]) -> None:
        """Give claims back, if they are still this process's."""
        for name in map(self._claim, records):
            tag, there = self._tags.pop(name, None), self._head(name)
            if there is not None and tag == _told(there):
                self.erase(name)

    def work(self) -> Work:
        """What is in progress; one listing."""
        return Work.of(self.names(".work"))

    def holders(self, claimed: Iterable[str], closely: bool = True) -> dict[str, str]:
        """Record -> "host:process" of those claims that live processes hold; "" unless `closely`. One listing, and a clock."""
        names = {self._claim(record): record for record in claimed}
        there = {one["path"].removeprefix(self._prefix): one for one in (self._objects_in(".work/") if names else ())}
        now = self._now() if there.keys() & names.keys() else None
        found: dict[str, str] = {}
        for name, record in names.items():
            if name in there and _age(there[name], now) < STALE_SECONDS:
                found[record] = self._holder_of(name) if closely else ""
        return found

    def _holder_of(self, name: str) -> str:
        try:
            return ":".join(self.read(name).decode("utf-8", "replace").split(":")[:2])
        except FileNotFoundError:  # given back by now
            return ""

    def claimed(self, record: str) -> bool:
        """Whether a live process holds it."""
        return bool(self.holders([record]))

    def _claim(self, record: str) -> str:
        return f".work/{record}.claim"

    def _take(self, name: str, mode: Any) -> bool:
        """Write a claim on a condition: that there is none, or that it is the one that was seen."""
        with self._reaching():
            try:
                content = f"{self._holder}:{uuid.uuid4().hex[:8]}"  # by which a service that tells objects by content tells two writes
                self._tags[name] = _told(self._put(name, content.encode(), mode=mode))
            except (self._errors.AlreadyExistsError, self._errors.PreconditionError, self._errors.NotFoundError, FileNotFoundError):
                return False
        return True

    def _now(self) -> Any:
        """What the clock says that dates objects."""
        name = f".work/clock-{uuid.uuid4().hex}"
        with self._reaching():
            self._put(name, b"")
            found = self._api.head(self._objects, self._prefix + name)["last_modified"]
            self._delete([name])
        return found

    # -- objects ------------------------------------------------------------------------------------------------

    def _head(self, name: str) -> Mapping[str, Any] | None:
        with self._reaching():
            try:
                found: Mapping[str, Any] = self._api.head(self._objects, self._prefix + name)
            except (self._errors.NotFoundError, FileNotFoundError):
                return None
            return found

    def _listed(self, folder: str = "") -> dict[str, int]:
        return {one["path"].removeprefix(self._prefix): one["size"] for one in self._objects_in(folder)}

    def _objects_in(self, folder: str) -> list[Any]:
        inside = self._prefix + folder
        with self._reaching():
            found = [one for chunk in self._api.list(self._objects, prefix=inside.rstrip("/") or None) for one in chunk]
        return [one for one in found if one["path"].startswith(inside)]

    def _put(self, name: str, content: bytes, **how: Any) -> Any:
        return self._api.put(self._objects, self._prefix + name, content, **how)

    def _delete(self, names: list[str]) -> None:
        try:
            if names:
                self._api.delete(self._objects, [self._prefix + name for name in names])
        except (self._errors.NotFoundError, FileNotFoundError):
            return

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """What goes wrong on the way, as one line."""
        try:
            yield
        except (self._errors.BaseError, NotImplementedError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise TombolaError(
                f"store {self.path!r} cannot be used: {summary(error)}; see to the address, the network and the credentials"
            ) from None


def _age(there: Mapping[str, Any], now: Any) -> float:
    """Seconds since an object was written."""
    return float((now - there["last_modified"]).total_seconds())


def _told(there: Any) -> dict[str, Any]:
    """What tells an object from a later one of its name."""
    return {key: there[key] for key in ("e_tag", "version") if there[key] is not None}
