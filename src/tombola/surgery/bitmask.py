"""Masks as few bytes, and what they would be at best: their entropy."""

import lzma
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError

_BITS, _LZMA, _KEPT, _PRUNED = range(4)
_FILTERS: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]
_GAPS = struct.Struct("<BI")
"""k, count."""


def encode_mask(leaf: np.ndarray) -> np.ndarray:
    """The smallest of three codings of a bool array in C order, as uint8; its first byte says which.

    * 0: one bit a weight, most significant first. No density of about 1/2 can do with less.
    * 1: those bits, compressed by LZMA: for masks with structure, such as whole units.
    * 2, 3: the gaps between kept (2) or pruned (3) weights, whichever are fewer, in the Golomb-Rice code with the best k: all
      quotients gap >> k in unary, then all remainders in k bits each. Before them k (1 byte) and the count (4 bytes).

    On random masks gaps take at most 4.2 % more than the entropy, near a density of 0.38 or 0.62, and these 6 bytes (Golomb 1966).
    """
    flat = np.ascontiguousarray(leaf, dtype=bool).reshape(-1)
    bits = np.packbits(flat).tobytes()
    kind, few = (_PRUNED, ~flat) if 2 * np.count_nonzero(flat) > flat.size else (_KEPT, flat)
    codings = {_BITS: bits, _LZMA: lzma.compress(bits, lzma.FORMAT_RAW, filters=_FILTERS), kind: _gaps(few)}
    best = min(codings, key=lambda one: len(codings[one]))
    return np.frombuffer(bytes([best]) + codings[best], np.uint8)


def decode_mask(compressed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `encode_mask`. Raises TombolaError for bytes that are no mask of that shape."""
    size = int(np.prod(shape))
    data = np.asarray(compressed, np.uint8).tobytes()
    decode: dict[int, Callable[[bytes], np.ndarray]] = {
        _BITS: lambda body: _from_bits(body, size),
        _LZMA: lambda body: _from_bits(_unpacked(body, (size + 7) // 8), size),
        _KEPT: lambda body: _from_gaps(body, size),
        _PRUNED: lambda body: ~_from_gaps(body, size),
    }
    try:
        return decode[data[0]](data[1:]).reshape(shape)
    except (LookupError, ValueError, struct.error, lzma.LZMAError):
        raise TombolaError(f"these {len(data)} bytes are no packed mask of shape {shape}; they are damaged") from None


def entropy(leaf: np.ndarray) -> float:
    """Bits that a leaf's values take at best if each is drawn by itself at the leaf's own frequencies: size H.

    Of a mask of density d that is -size (d log2 d + (1 - d) log2 (1 - d)); a mask in {-1, 0, 1} has its signs counted, too.
    """
    _, counts = np.unique(leaf, return_counts=True)
    return float((counts * np.log2(leaf.size / counts)).sum())


def _unpacked(body: bytes, length: int) -> bytes:
    """The unpacked bytes, at most one more than there should be: a few bytes may unpack to gigabytes."""
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    found = unpacker.decompress(body, max_length=length + 1)
    if not unpacker.eof:
        raise ValueError("another length")
    return found


def _from_bits(body: bytes, size: int) -> np.ndarray:
    if len(body) != (size + 7) // 8:
        raise ValueError("another size")
    return np.unpackbits(np.frombuffer(body, np.uint8), count=size).astype(bool)


def _gaps(flat: np.ndarray) -> bytes:
    gaps = np.diff(np.flatnonzero(flat), prepend=-1) - 1
    k = min(range(32), key=lambda k: len(gaps) * (k + 1) + int((gaps >> k).sum()))
    ends = np.cumsum((gaps >> k) + 1)  # the place after each quotient's last bit
    unary = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
    unary[ends - 1] = 1
    remainders = (gaps[:, None] >> np.arange(k)[::-1] & 1).astype(np.uint8)
    return _GAPS.pack(k, len(gaps)) + np.packbits(np.concatenate([unary, remainders.reshape(-1)])).tobytes()


def _from_gaps(body: bytes, size: int) -> np.ndarray:
    k, count = _GAPS.unpack_from(body)
    if count > size or k > 31:
        raise ValueError("more gaps than weights")
    flat = np.zeros(size, bool)
    if count:
        bits = np.unpackbits(np.frombuffer(body, np.uint8, offset=_GAPS.size))
        ends = np.flatnonzero(bits)[:count]
        remainders = bits[ends[-1] + 1 :][: count * k].reshape(count, k)
        gaps = (np.diff(ends, prepend=-1) - 1 << k) + remainders.astype(np.int64) @ (1 << np.arange(k)[::-1])
        flat[np.cumsum(gaps + 1) - 1] = True
    return flat
