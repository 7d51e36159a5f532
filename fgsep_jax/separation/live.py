"""Separates what a pipe or a microphone gives, while it gives it: causal models."""

import contextlib
import itertools
import os
import queue
import sys

import numpy as np

from fgsep_jax import files, pcm, stopping
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.separation.writing import SUBTYPES, opened, rounded

BLOCK_SECONDS = 0.02  # of a microphone's blocks
PATIENCE = 10.0  # seconds of sound that may wait before that is said


class NoMicrophone(ValueError):
    """There is nothing to listen to."""


def samples(cut):
    """16-bit samples of one channel from standard input, as they come: int16 [T] blocks.

    Args:
      cut: set to which is added how the last sample was cut, if it was.
    """
    rest = b''
    while data := sys.stdin.buffer.read1(1 << 16):
        data = rest + data
        even = len(data) // 2 * 2
        rest = data[even:]
        yield np.frombuffer(data[:even], '<i2')
    if rest:
        cut.add('half a sample at its end: cut, or not 16-bit samples')


def pipe(cut):
    """The same as float32."""
    return map(pcm.to_float, samples(cut))


def microphone(rate, lost):
    """What the system's microphone hears, until the program is asked to stop: float32 [T] blocks.

    Args:
      rate: in hertz.
      lost: list to which something is added each time that samples were lost before a block.

    Raises:
      NoMicrophone: at once, where there is none or the library that listens to it is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise NoMicrophone(
            f"--live listens by sounddevice: pip install 'fgsep_jax[live]', and PortAudio ({error})"
        ) from error
    heard = queue.SimpleQueue()

    def hear(block_TC, _, __, status):
        if getattr(status, 'input_overflow', False):
            lost.append(status)
        heard.put(block_TC[:, 0].copy())

    try:
        stream = sounddevice.InputStream(
            samplerate=rate,
            channels=1,
            dtype='float32',
            blocksize=round(BLOCK_SECONDS * rate),
            callback=hear,
        )
    except Exception as error:  # PortAudio's, of many kinds
        raise NoMicrophone(f'--live: no microphone at {rate} Hz ({files.why(error)})') from error
    return _heard(stream, heard)


def _heard(stream, heard):
    """What a stream puts into a queue until the program is asked to stop."""
    is_behind = False
    with stopping.deferred(answer='writes what was heard, and stops') as request:
        with stream:
            while request.number is None:
                with contextlib.suppress(queue.Empty):
                    yield heard.get(timeout=0.1)
                if not is_behind and heard.qsize() * BLOCK_SECONDS > PATIENCE:
                    is_behind = True
                    print(
                        f'this machine is slower than the microphone: {PATIENCE:g} s of sound wait'
                        ' in memory; all of it will be written',
                        file=sys.stderr,
                    )
        with contextlib.suppress(queue.Empty):  # no more is heard; what was, may wait
            while True:
                yield heard.get(timeout=0)


def separate(stream, blocks, outputs, *, rate, bits='16'):
    """Separates blocks as they come, and writes what is complete.

    Args:
      stream: a `stream.Stream`.
      blocks: float32 [T], one after another.
      outputs: {source: path} of wav files.
      rate: in hertz.
      bits: a key of `writing.SUBTYPES`.

    Returns:
      Seconds that were separated, and how many samples of parts were clipped.

    Raises:
      BadInput: nothing comes; nothing is written.
      OSError: the disk is full, or the folder's lock is lost.
    """
    samples, clipped, blocks = 0, 0, filter(len, blocks)
    first_T = next(blocks, None)
    if first_T is None:
        raise BadInput('empty', 'no samples')
    for path in outputs.values():
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with contextlib.ExitStack() as stack:
        form = dict(rate=rate, channels=1, subtype=SUBTYPES[bits], growing=True)
        sounds = {
            source: stack.enter_context(opened(path, **form)) for source, path in outputs.items()
        }

        def write(parts):
            nonlocal clipped
            for path in outputs.values():
                files.check_locks(path)
            for source, (sound, output) in sounds.items():
                sound.write(rounded(parts[source], bits))
                clipped += int((np.abs(parts[source]) > 1).sum()) if bits != 'float' else 0
                sound.flush()
                output.flush()

        for block_T in itertools.chain([first_T], blocks):
            samples += len(block_T)
            write(stream.push(block_T))
        write(stream.flush())
    return samples / rate, clipped
