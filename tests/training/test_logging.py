"""What a run logs is what TensorBoard reads, and a disk that is full neither ends nor holds it."""

import errno
import io
import json

from librosa import hz_to_mel
import numpy as np
from PIL import Image
import pytest
import soundfile

from fgsep_jax import names
from fgsep_jax.data import records
from fgsep_jax.training import logging
import test_names


class Disk:
    """Takes so many bytes; the file behind it is real."""

    def __init__(self, room):
        self.room = room

    def open(self, path, mode='r', **keywords):
        file = open(path, mode, **keywords)
        if mode != 'ab':
            return file
        take = file.write

        def write(content):
            content = content[: self.room]
            if not content:
                raise OSError(errno.ENOSPC, 'No space left on device')
            self.room -= len(content)
            return take(content)

        return type('File', (), {'write': staticmethod(write), 'close': file.close})


def payloads(folder):
    """Of all event files of a folder; every checksum holds."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], 'little') + 16
            yield records.read_record(content[:size])
            content = content[size:]


def events(folder):
    event_pb2 = pytest.importorskip('tensorboardX.proto.event_pb2')
    return [event_pb2.Event.FromString(payload) for payload in payloads(folder)]


def test_event_files_hold_what_was_logged(tmp_path):
    log = logging.RunLog(tmp_path, step=300, total=1000)
    signal_T = np.sin(np.arange(800) / 5)
    log.scalars(301, {'loss': -2.5, 'rate': float('nan')}, kind='train')
    both = {'0/mixture': 8 * signal_T, '0/speaker 1/estimate': 0.08 * signal_T}
    log.sounds(302, both, 8000)
    log.text(302, 'config', '# ü')
    log.close()
    version, start, loss, rate, sound, picture, soft, dark, text = events(tmp_path / 'tensorboard')
    assert version.file_version == 'brain.Event:2' and version.wall_time > 1e9
    assert (start.step, start.session_log.status) == (301, 1)
    (value,) = loss.summary.value
    assert (loss.step, value.tag, value.simple_value) == (301, 'train/loss', -2.5)
    assert np.isnan(rate.summary.value[0].simple_value)
    (value,) = sound.summary.value
    assert (value.tag, value.audio.sample_rate, value.audio.length_frames) == (
        '0/mixture',
        8000,
        800,
    )
    heard_T, rate = soundfile.read(io.BytesIO(value.audio.encoded_audio_string))
    np.testing.assert_allclose(heard_T, 0.9 * signal_T / np.abs(signal_T).max(), atol=1e-4)
    (value,) = picture.summary.value
    image = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
    assert image.shape == (value.image.height, value.image.width, 3)
    assert image.shape[0] >= 256 and image.shape[1] >= 512
    # A tone is a line at its height on the mel scale, below which and above which it is dark.
    bright_F = image.sum(axis=(1, 2), dtype=float)
    tone = hz_to_mel(8000 / (2 * np.pi * 5)) / hz_to_mel(4000)
    assert abs(1 - bright_F.argmax() / len(bright_F) - tone) < 0.05
    assert bright_F.max() > 3 * np.median(bright_F)
    # One gain and one range of levels for all of an example: 40 dB less is soft and dark.
    (value,) = soft.summary.value
    assert value.tag == '0/speaker 1/estimate'
    soft_T, _ = soundfile.read(io.BytesIO(value.audio.encoded_audio_string))
    np.testing.assert_allclose(soft_T, heard_T / 100, atol=1e-4)
    (value,) = dark.summary.value
    darker = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
    assert darker.max(axis=(0, 1)).sum() < 0.7 * image.max(axis=(0, 1)).sum()
    (value,) = text.summary.value
    assert value.metadata.plugin_data.plugin_name == 'text'
    assert (value.tag, value.tensor.string_val) == ('config', ['# ü'.encode()])
    assert value.tensor.dtype == 7 and [d.size for d in value.tensor.tensor_shape.dim] == [1]


@pytest.mark.parametrize('room', [0, 1, 100, 5000, 10**7])
def test_a_full_disk_is_said_once_and_costs_nothing_where_there_is_room_again(
    tmp_path, monkeypatch, capsys, room
):
    disk = Disk(room)
    monkeypatch.setattr(logging, 'open', disk.open, raising=False)
    log = logging.RunLog(tmp_path, step=0, total=9)
    for step in range(1, 9):
        log.scalars(step, {'loss': step}, kind='train')
        log.sounds(step, {'0/mixture': np.ones(800)}, 8000)
        if step == 7:
            disk.room = 10**7
    log.close()
    assert len(list(payloads(tmp_path / 'tensorboard'))) == 2 + 3 * 8
    rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [row['step'] for row in rows] == list(range(1, 9))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == (room < 10**7)
    assert all('logging stopped (No space left on device)' in line for line in said)


@pytest.mark.parametrize(
    'damage, said',
    [
        (lambda content: content, False),
        (lambda content: content + b'{"step": 9, "kind": "train"}\n{"st', False),  # after the save
        (lambda content: b'', True),
        (lambda content: content[:70], True),
        (lambda content: content.replace(b'2.0', b'3.0'), True),
        (None, True),
    ],
)
def test_a_log_that_was_cut_or_changed_is_noted_where_the_run_goes_on(
    tmp_path, capsys, damage, said
):
    log = logging.RunLog(tmp_path, step=0, total=9)
    for step in range(1, 5):
        log.scalars(step, {'loss': step}, kind='train')
    log.close()
    path = tmp_path / 'metrics.jsonl'
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    again = logging.RunLog(tmp_path, step=4, total=9, logged=log.logged)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == said and all(f'note: {path} is not what was logged' in x for x in lines)
    again.scalars(5, {'loss': 5}, kind='train')
    again.close()
    logging.RunLog(tmp_path, step=5, total=9, logged=again.logged).close()
    logging.RunLog(tmp_path, step=5, total=9).close()  # saved by an earlier version
    assert not capsys.readouterr().out


def test_what_waits_for_room_is_bounded(tmp_path):
    said = []
    file = logging._Appended('/dev/full', lambda *words: said.append(words), keep=100)
    for _ in range(50):
        file.write(b'12345678')
    file.close()
    assert len(file._pending) == 96 and len(said) == 50


@pytest.mark.parametrize('name', test_names.HOSTILE)
def test_tags_of_any_name_are_parts(tmp_path, name):
    log = logging.RunLog(tmp_path, step=0, total=1)
    log.scalars(1, {name: 1.0}, kind='train')
    log._boards[0].text(1, name, f'of {name}')
    log.close()
    *_, scalar, text = events(tmp_path / 'tensorboard')
    for event in (scalar, text):
        parts = event.summary.value[0].tag.removeprefix('train/').split('/')
        assert all(map(names.is_part, parts))
        assert parts == [name] or '/' in name or names.part(name) == parts[0] != name
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'metrics.jsonl',
        'run.log',
        'tensorboard',
    ]
    line = json.loads((tmp_path / 'metrics.jsonl').read_text())
    assert line == {'step': 1, 'kind': 'train', name: 1.0}
