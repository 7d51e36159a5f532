"""TensorBoard's event files, written by the thread that logs: no queue, no TensorFlow, no torch.

An event file is TFRecords of the protocol buffer `Event`; the few fields of it that TensorBoard
needs are encoded here by their numbers (tensorflow/core/util/event.proto, framework/summary.proto).
"""

import os
import socket
import struct
import time

import numpy as np

from fgsep_jax import files, names
from fgsep_jax.data import records


def path(folder):
    """Name of a new event file in a folder."""
    name = f'events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}'
    return os.path.join(folder, name)


class EventWriter:
    """Writes events of one run.

    Args:
      file: has `write(bytes)`.
      purge_step: TensorBoard forgets what earlier files of the folder say of this step and later.
    """

    def __init__(self, file, *, purge_step):
        self._file = file
        self._event(0, _bytes(3, b'brain.Event:2'))
        self._event(purge_step, _bytes(7, _integer(1, 1)))  # SessionLog of status START

    def scalars(self, step, values):
        """Writes numbers, {tag: number}."""
        for tag, value in values.items():
            self._summary(step, tag, _float(2, value))

    def sound(self, step, tag, signal_T, sample_rate):
        """Writes a signal in [-1, 1]."""
        audio = _float(1, sample_rate) + _integer(2, 1) + _integer(3, len(signal_T))
        audio += _bytes(4, files.wav(signal_T, sample_rate)) + _bytes(5, b'audio/wav')
        self._summary(step, tag, _bytes(6, audio))

    def image(self, step, tag, picture):
        """Writes a picture, uint8 [height, width, 3]."""
        height, width, channels = picture.shape
        image = _integer(1, height) + _integer(2, width) + _integer(3, channels)
        self._summary(step, tag, _bytes(4, image + _bytes(4, files.png(picture))))

    def text(self, step, tag, markdown):
        """Writes text, shown as Markdown."""
        plugin = _bytes(1, _bytes(1, b'text'))
        tensor = _integer(1, 7) + _bytes(2, _bytes(2, _integer(1, 1)))  # strings [1]
        tensor += _bytes(8, markdown.encode(errors='backslashreplace'))
        self._summary(step, tag, _bytes(8, tensor) + _bytes(9, plugin))

    def _summary(self, step, tag, value):
        tag = '/'.join(map(names.part, tag.split('/')))
        self._event(step, _bytes(5, _bytes(1, _bytes(1, tag.encode()) + value)))

    def _event(self, step, what):
        head = struct.pack('<Bd', 1 << 3 | 1, time.time()) + _integer(2, step)
        records.write_record(self._file, head + what)


def _varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _integer(field, number):
    return _varint(field << 3) + _varint(int(number))


def _float(field, number):
    return _varint(field << 3 | 5) + np.array(number, '<f4').tobytes()


def _bytes(field, content):
    return _varint(field << 3 | 2) + _varint(len(content)) + content
