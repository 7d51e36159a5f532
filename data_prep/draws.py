"""Random numbers drawn from hashes: the same on every machine, in any order."""

from collections.abc import Callable
import hashlib


def stable_hash(*parts) -> int:
    """64-bit hash of the parts' texts; the same on every machine, in every process and version."""
    text = '\x1f'.join(map(str, parts))
    return int.from_bytes(
        hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).digest(), 'big'
    )


def stable_hashes(*parts) -> Callable[[str], int]:
    """A function of a text: `stable_hash` of the parts and it, in half the time."""
    text = '\x1f'.join([*map(str, parts), ''])
    begun = hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8)

    def of(text: str) -> int:
        whole = begun.copy()
        whole.update(text.encode('utf-8', 'surrogatepass'))
        return int.from_bytes(whole.digest(), 'big')

    return of


def uniform(low: float, high: float, *parts) -> float:
    """A number in [low, high) drawn from the hash of `parts`, e.g. seed, mixture id, purpose."""
    return low + (high - low) * (stable_hash(*parts) / 2.0**64)
