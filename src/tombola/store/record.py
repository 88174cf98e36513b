"""A finished run, or what a measurement found, as it is stored: whatever is read is verified, and damage is named."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.spec import digest_of
from tombola.core.trees import Tree
from tombola.store.bucket import Bucket
from tombola.store.disk import Disk
from tombola.store.files import read_tree
from tombola.store.memory import Memory
from tombola.store.packed import Packed

Files = Bucket | Disk | Memory | Packed
"""The kinds of place where the files of a store are."""


@dataclass(frozen=True)
class Record:
    """A finished run as it is stored."""

    files: Files
    digest: str
    """The run's name."""

    @property
    def folder(self) -> Path:
        """The path of the record."""
        return self.files.path / self.digest

    def exists(self) -> bool:
        """Whether it is in its store."""
        return self.files.has(f"{self.digest}/manifest.json")

    def json(self, name: str) -> dict[str, Any]:
        """`spec`, `summary` or `made`."""
        found = _parsed(self.read(f"{name}.json"))
        if not _has(found, _NEEDED.get(name, {})) or (
            name == "made" and "summary.json" in self.checksums and not found.get("trained_together")
        ):
            raise Damaged(self, f"{name}.json")
        return found

    def metrics(self) -> dict[str, np.ndarray]:
        """Columns of metrics.csv as float64 arrays."""
        return self._columns("metrics.csv", {"step", "val_loss"})

    def signals(self) -> dict[str, np.ndarray]:
        """What detectors saw by step, if the run had some: columns of signals.csv; else none."""
        return self._columns("signals.csv", {"step", "probe_loss"}) if "signals.csv" in self.checksums else {}

    def _columns(self, name: str, needed: set[str]) -> dict[str, np.ndarray]:
        content = self.read(name)
        try:
            header, *lines = content.decode().splitlines()
            names = header.split(",")
            values = np.array([float(value) for line in lines for value in line.split(",")]).reshape(-1, len(names))
        except ValueError:
            raise Damaged(self, name) from None
        if not lines or not needed <= set(names) or any(line.count(",") != header.count(",") for line in lines):
            raise Damaged(self, name)
        return {name: values[:, column] for column, name in enumerate(names)}

    def steps(self) -> set[int]:
        """Iterations whose weights are stored. What else lies in the folder is not ours."""
        return {int(found[1]) for name in self.checksums if (found := re.fullmatch(r"weights/(\d{1,9})it\.safetensors", name))}

    def weights(self, iteration: int) -> Tree:
        """The weights after `iteration`, bitwise."""
        return self._tree(f"weights/{iteration}it.safetensors")

    def mask(self, shapes: Mapping[str, tuple[int, ...]], iteration: int | None = None) -> Mask:
        """The mask that training ended with, or, where it moves, that after an iteration; for leaves of the given shapes."""
        name = "mask.safetensors" if iteration is None else f"masks/{iteration}it.safetensors"
        packed = self._tree(name)
        try:
            return masks.unpack(packed, shapes)
        except (KeyError, TombolaError):
            raise Damaged(self, name) from None

    def network(self) -> dict[str, Any] | None:
        """What its network looks like, as its store says; None if it does not."""
        name = f"networks/{self.json('summary').get('network')}.json"
        try:
            content = self.files.read(name)
        except OSError:
            return None  # stored before networks were, or lost
        return _parsed(content) if name == network_file(content) else None

    def found(self) -> Tree:
        """The arrays that a measurement found, by name."""
        return self._tree("found.safetensors")

    def contents(self) -> dict[str, bytes]:
        """All its files but the manifest."""
        return {name: self.read(name) for name in self.checksums}

    def damaged(self, but: Collection[str] = ()) -> list[str]:
        """Names of files that are missing or differ from their checksum; those named in `but` are not looked at."""
        try:
            if not self._described:
                return ["spec.json"]
            return [name for name, digest in self.checksums.items() if name not in but and self._sound(name, digest) is None]
        except Damaged as damage:
            return [damage.name]

    def _tree(self, name: str) -> Tree:
        from safetensors import SafetensorError

        content = self.read(name)
        try:
            return read_tree(content)
        except SafetensorError:
            raise Damaged(self, name) from None

    def read(self, name: str) -> bytes:
        """The content of a file whose checksum holds, in a folder whose description has its name; damage is named."""
        if not self._described:
            raise Damaged(self, "spec.json")
        content = self._sound(name, self.checksums[name]) if name in self.checksums else None
        if content is None:
            raise Damaged(self, name)
        return content

    @cached_property
    def checksums(self) -> dict[str, str]:
        """Name -> checksum, as the manifest has them."""
        try:
            found = _parsed(self.files.read(f"{self.digest}/manifest.json"))
        except OSError:
            found = None
        if found is None or not all(isinstance(digest, str) and _inside(name) for name, digest in found.items()):
            raise Damaged(self, "manifest.json")
        return found

    @cached_property
    def _described(self) -> bool:
        """Whether the folder holds what it is named by: another's, moved or copied to its place, has files that are sound."""
        spec = _parsed(self._sound("spec.json", self.checksums.get("spec.json", "")) or b"")
        return spec is not None and digest_of(spec) == self.digest

    def _sound(self, name: str, digest: str) -> bytes | None:
        """The content of a file, if it is what was written. Read once: it is thousands of files that a study looks at."""
        try:
            content = self.files.read(f"{self.digest}/{name}")
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None


_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "summary": {"density": int | float, "kept": int, "prunable": int},
    "made": {"command": str, "date": str, "device": str, "seconds": int | float, "versions": dict},
}
"""What tables are made from: of another shape, a file is damaged, whatever its checksum says."""


def _has(found: Any, needed: Mapping[str, Any]) -> bool:
    return found is not None and all(isinstance(found.get(name), kind) for name, kind in needed.items())


def _parsed(content: bytes) -> Any:
    """A JSON object; None for what is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _inside(name: str) -> bool:
    """Whether a name leads to a file in a record's own folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


class Damaged(TombolaError):
    """A stored file is missing or differs from its checksum."""

    def __init__(self, record: Record, name: str) -> None:
        super().__init__(f"{record.folder / name} is damaged: run its study again, and it is computed again")
        self.record, self.name = record, name


def network_file(content: bytes) -> str:
    """The file that describes a network: named by what it says, so that a damaged one is told."""
    return f"networks/{hashlib.sha256(content).hexdigest()[:16]}.json"
