"""Examples a second out of TFRecord shards, beside PyTorch's DataLoader over wav files.

The same mixtures of noise, written by rule into a temporary folder; both sides draw random crops of
all of them in a shuffled order. Files are in the page cache. Ours gives int16 sources, as the train
loop takes them, and checks every record's CRC; the peer gives float32 mixture and sources.
"""

import contextlib
import os
import shutil
import tempfile

import jax
import numpy as np
import soundfile

from benchmarks import harness, wav_loader
from fgsep_jax import config as config_lib, files
from fgsep_jax.config import adaptation_samples, segment_samples
from fgsep_jax.data import pipeline, records
from fgsep_jax.data.source import RecordSource
from fgsep_jax.training import mesh as mesh_lib


def write(directory, config, *, mixtures, longest, splits=('train',)):
    """Writes mixtures of noise as a data set of records and as wav files.

    Args:
      directory: a folder.
      config: an experiment's ConfigDict.
      mixtures: how many.
      longest: seconds; the shortest is a segment.
      splits: of the records; all of the same mixtures.

    Returns:
      The RecordSource of the split 'train'.
    """
    rng = np.random.default_rng(0)
    rate, shortest, adaptation = (
        config.data.sample_rate,
        segment_samples(config),
        adaptation_samples(config),
    )
    index = np.zeros(mixtures, records.INDEX_DTYPE)
    for folder in ('s1', 's2', 'adaptation'):
        os.makedirs(os.path.join(directory, folder))
    with open(os.path.join(directory, records.shard_name('noise', 'train', 0, 1)), 'wb') as file:
        for i in range(mixtures):
            samples = int(rng.integers(shortest, round(longest * rate), endpoint=True))
            signals = list(rng.normal(0, 3000, (2, samples)).astype(np.int16))
            segment = {}
            if adaptation:
                signals.append(rng.normal(0, 3000, adaptation).astype(np.int16))
                segment = {'adaptation_T': signals[2], 'adaptation_overlap': 0.0}
            example = records.Example(
                id=f'mixture_{i:05d}',
                sources_ST=np.stack(signals[:2]),
                sample_rate=rate,
                source_ids=('a', 'b'),
                source_classes=('noise', 'noise'),
                snr_db=0.0,
                **segment,
            )
            for folder, signal_T in zip(('s1', 's2', 'adaptation'), signals):
                soundfile.write(
                    os.path.join(directory, folder, f'{example.id}.wav'), signal_T, rate
                )
            offset = file.tell()
            payload = records.encode(example)
            size = records.write_record(file, payload)
            index[i] = 0, offset, size, samples, records.checksum(payload)
    shard = os.path.join(directory, records.shard_name('noise', 'train', 0, 1))
    for split in splits:
        there = os.path.join(directory, records.shard_name('noise', split, 0, 1))
        if there != shard:
            shutil.copyfile(shard, there)
        with open(os.path.join(directory, records.index_name(split)), 'wb') as file:
            file.write(records.write_index(index))
    about = {'examples': mixtures, 'shards': 1, 'hours': 0.0, 'speakers': []}
    metadata = {
        'schema_version': records.SCHEMA_VERSION,
        'name': 'noise',
        'job': 'benchmark',
        'sample_rate': rate,
        'sources': 2,
        'splits': dict.fromkeys(splits, about),
        'adaptation': bool(adaptation),
    }
    with open(os.path.join(directory, records.DATASET_FILE), 'w') as file:
        file.write(files.to_json(metadata))
    return RecordSource(directory, 'train')


def _case(directory, config, *, name, mixtures, longest, batches, **kwargs):
    size, segment, adaptation = (
        config.data.batch_size,
        segment_samples(config),
        adaptation_samples(config),
    )
    source = write(directory, config, mixtures=mixtures, longest=longest)
    wavs = wav_loader.WavMixtures(
        directory,
        [source[i].id for i in range(mixtures)],
        source.lengths,
        segment=segment,
        adaptation=adaptation,
    )

    def ours():
        with contextlib.closing(pipeline.train_batches(source, config)) as stream:
            for _ in range(batches):
                next(stream)

    def peer(workers):
        loader = wav_loader.make_loader(wavs, batches=batches, batch_size=size, workers=workers)

        def run():
            for _ in loader:
                pass

        return run

    workers = len(os.sched_getaffinity(0))
    file = os.path.join(directory, records.shard_name('noise', 'train', 0, 1))
    # Of an example the whole record is read, for its CRC, and the segments are written.
    moved = os.path.getsize(file) / mixtures + 2 * (2 * segment + adaptation)
    return harness.Case(
        name=f'{name}, {batches} batches of {size}',
        ours=ours,
        peers={
            f'DataLoader over wav files, {workers} workers': peer(workers),
            'DataLoader in process': peer(0),
        },
        bytes=batches * size * moved,
        **kwargs,
    )


def cases(small=False):
    """Both tasks' training batches, and the placing of one on the device."""
    speech = config_lib.load('convtasnet').copy_and_resolve_references()
    adapted = config_lib.load('blstm_m1_plus').copy_and_resolve_references()
    if small:
        for config in (speech, adapted):
            config.data.batch_size, config.data.segment_seconds = 2, 0.05
        adapted.data.adaptation_seconds = 0.05
    sizes = dict(mixtures=4, batches=2) if small else dict(mixtures=400, batches=200)
    with tempfile.TemporaryDirectory() as directory:
        yield _case(
            directory,
            speech,
            name='input, 4 s at 8 kHz',
            target=0.2,
            longest=0.1 if small else 8,
            **sizes,
        )
    sizes = sizes if small else dict(mixtures=100, batches=50)
    with tempfile.TemporaryDirectory() as directory:
        yield _case(
            directory,
            adapted,
            name='input, 2 s at 44.1 kHz and 2 s to adapt to',
            longest=0.1 if small else 2,
            **sizes,
        )
    shape = speech.data.batch_size, 2, segment_samples(speech)
    batch, mesh = {'source_BST': np.ones(shape, np.int16)}, mesh_lib.make_mesh()
    yield harness.Case(
        name=f'placing a batch of {shape[0]} on the device',
        ours=lambda: jax.block_until_ready(mesh_lib.place_batch(batch, mesh)),
        bytes=2 * batch['source_BST'].nbytes,
    )
