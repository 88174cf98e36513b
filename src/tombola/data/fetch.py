"""Fetching data files by checksum, verifying those on disk, and listing what there is."""

import os
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tombola.core.errors import TombolaError, unknown
from tombola.data import imagenet, text
from tombola.data.dataset import datasets
from tombola.data.embedded import EMBEDDED
from tombola.data.files import SUFFIXES, available, examine
from tombola.data.folders import data_folder
from tombola.data.sources import SOURCES, Download, Source

_TIMEOUT = 60
"""Seconds without an answer after which the next mirror is tried."""


def fetch(name: str, folder: Path | str | None = None, base_url: str | None = None) -> list[Path]:
    """Fetch what is missing or damaged of a data set into ``folder/<data set>``; returns the files written.

    Each mirror is tried in turn (only `base_url`, if given). A file is moved into place after its MD5 agreed, so
    a failed or interrupted fetch leaves nothing behind.

    Raises:
        TombolaError: no such data set, or one that needs no file or cannot be fetched; no mirror gave a sound file; the
            folder cannot be written.
    """
    source, where = _source(name, data_folder(folder)), data_folder(folder)
    bad = {file.name for file in source.files if not examine(source, file, where).status.startswith("ok")}
    wanted = [download for download in source.downloads if bad.intersection(download.files)]
    target = where / source.folder
    try:
        if not wanted:
            return []
        target.mkdir(parents=True, exist_ok=True)
        try:
            with TemporaryDirectory(dir=target, prefix=".fetching-") as room:
                fetched = [path for download in wanted for path in _download(source, download, base_url, Path(room))]
                return [_install(path, target) for path in fetched if path.name.removesuffix(".gz") in bad]
        finally:
            if not any(target.iterdir()):
                target.rmdir()
    except OSError as error:
        raise TombolaError(f"cannot write {name} to {target} ({error.strerror or error}); choose another folder with --data-dir") from None


def verify(name: str, folder: Path | str | None = None) -> list[tuple[str, str]]:
    """(file, status) for each file of a data set, by size, layout and SHA-256 of the unpacked content.

    Status: `ok`; `ok, not the canonical file` (right structure, other content: CIFAR-10 only); `missing`;
    `unreadable`; `truncated`; `differs`. Of ImageNet, (part, `ok` with its numbers of classes and images).
    """
    where = data_folder(folder)
    if name == "imagenet":
        return imagenet.verify(where)
    source = _source(name, where)
    found = [(file, examine(source, file, where)) for file in source.files]
    return [(state.path.name if state.path else file.name, state.status) for file, state in found]


def catalogue(folder: Path | str | None = None) -> list[dict[str, Any]]:
    """Every data set: name, examples (the pool), test, shape, classes, source, available (its files are there).

    Of one that a user registered only the name and module are known: counts are None until it is loaded.
    """
    return [{"name": name, **_entry(name, data_folder(folder))} for name in datasets]


def _entry(name: str, where: Path) -> dict[str, Any]:
    if name in EMBEDDED:
        return EMBEDDED[name] | {"available": True}
    if name in SOURCES:
        source = SOURCES[name]
        facts = {"examples": source.pool, "test": source.test, "shape": source.shape, "classes": source.classes}
        return facts | {"source": source.about, "available": available(source, where)}
    if name in text.TEXTS:
        with suppress(OSError):
            return text.FACTS[name] | {"available": text.wikipedia_file(where) is not None}
        return text.FACTS[name] | {"available": False}
    if name == "imagenet":
        return imagenet.FACTS | {"available": imagenet.available(where)}
    return dict.fromkeys(("examples", "test", "shape", "classes")) | {"source": datasets[name].__module__, "available": True}


def _source(name: str, where: Path) -> Source:
    if name == "imagenet":
        raise TombolaError(f"data set 'imagenet' cannot be fetched: {imagenet.where_from(where)}")
    if name in text.TEXTS:
        raise TombolaError(
            f"data set {name!r} cannot be fetched or verified: put {text.WIKIPEDIA} into {where / 'text'}; it is checked on use"
        )
    if name in datasets and name not in SOURCES:
        raise TombolaError(f"data set {name!r} needs no file; those that do are {', '.join(sorted(SOURCES))}")
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    return SOURCES[name]


def _download(source: Source, download: Download, base_url: str | None, room: Path) -> list[Path]:
    """The first sound copy of a download, unpacked if it is an archive: files in `room`."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for mirror in (base_url,) if base_url else source.mirrors:
        url = f"{mirror.rstrip('/')}/{download.name}"
        try:
            # Retries are the mirrors'; pooch deletes a file whose MD5 differs.
            client = pooch.HTTPDownloader(timeout=_TIMEOUT)
            path = Path(pooch.retrieve(url, known_hash=f"md5:{download.md5}", fname=download.name, path=room, downloader=client))
            return _extract(path, download, room) if download.name.endswith(".tar.gz") else [path]
        except requests.HTTPError as error:
            failures.append(f"{url}: HTTP {error.response.status_code if error.response is not None else 'error'}")
        except requests.RequestException as error:
            failures.append(f"{url}: {type(error).__name__}")
        except ValueError:
            failures.append(f"{url}: its MD5 is not {download.md5}")
    raise TombolaError(
        f"cannot fetch {download.name} of {source.name} ({'; '.join(failures)}): check the network, "
        f"or put the file into the folder {source.folder} of --data-dir yourself"
    )


def _extract(archive: Path, download: Download, room: Path) -> list[Path]:
    """The wanted members by their last name alone: no path in an archive decides where a file goes."""
    with tarfile.open(archive) as members:
        for member in members:
            name, content = Path(member.name).name, members.extractfile(member)
            if content is not None and name in download.files:
                (room / name).write_bytes(content.read())
    return [room / name for name in download.files]


def _install(path: Path, target: Path) -> Path:
    """Move a sound file into place, and away with damaged copies in another packing, which would be found first."""
    final = target / path.name
    os.replace(path, final)
    plain = path.name.removesuffix(".gz")
    for suffix in SUFFIXES:
        if plain + suffix != final.name:
            (target / (plain + suffix)).unlink(missing_ok=True)
    return final
