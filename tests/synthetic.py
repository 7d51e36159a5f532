"""Tiny data sets of tones, written record by record, for tests of what reads them."""

import pathlib

import numpy as np

from fgsep_jax import files
from fgsep_jax.data import records


def example(
    i, *, samples=2400, sources=2, sample_rate=8000, adaptation=False, silent=0, noise=False
):
    """Two (or more) gated tones, a function of `i` alone; if asked, a segment of the last's, and
    noise; the last is silent for the first `silent` samples."""
    rng = np.random.default_rng(i)
    time_T = np.arange(samples) / sample_rate
    frequency_S = 200 + 300 * np.arange(sources) + rng.uniform(0, 100, sources)
    tone_ST = np.sin(2 * np.pi * frequency_S[:, None] * time_T + rng.uniform(0, 6, (sources, 1)))
    gate_ST = np.sin(2 * np.pi * rng.uniform(1, 4, (sources, 1)) * time_T) > -0.5
    noise_ST = rng.normal(0, 0.02, (sources, samples))
    pcm_ST = ((0.3 * tone_ST * gate_ST + noise_ST) * 20000).astype(np.int16)
    pcm_ST[-1, :silent] = 0
    noise_T = (rng.normal(0, 0.1, samples) * 20000).astype(np.int16) if noise else None
    segment = {'adaptation_T': pcm_ST[-1, :500], 'adaptation_overlap': 0.0} if adaptation else {}
    return records.Example(
        id=f'mixture_{i:04d}',
        sources_ST=pcm_ST,
        sample_rate=sample_rate,
        snr_db=0.0,
        **segment,
        noise_T=noise_T,
        source_ids=tuple(f'speaker_{i}_{s}' for s in range(sources)),
        source_classes=('speech',) * sources,
    )


def write(
    directory,
    *,
    train=16,
    validation=4,
    test=4,
    name='tones',
    lengths=(2400,),
    silent=(0,),
    job='synthetic',
    speakers=None,
    **kwargs,
):
    """Writes a finished data set; `lengths` and `silent` are cycled through, `speakers` are those
    of each split; returns its folder as str."""
    directory.mkdir(parents=True, exist_ok=True)
    splits, first = {}, 0
    for split, count in (('train', train), ('validation', validation), ('test', test)):
        index = np.zeros(count, records.INDEX_DTYPE)
        with open(directory / records.shard_name(name, split, 0, 1), 'wb') as file:
            for i in range(count):
                how = dict(samples=lengths[i % len(lengths)], silent=silent[i % len(silent)])
                one = example(first + i, **how, **kwargs)
                offset = file.tell()
                payload = records.encode(one)
                size = records.write_record(file, payload)
                index[i] = (0, offset, size, one.sources_ST.shape[1], records.checksum(payload))
        data = records.write_index(index)
        (directory / records.index_name(split)).write_bytes(data)
        splits[split] = {'examples': count, 'shards': 1, 'hours': 0.0}
        splits[split]['speakers'] = list((speakers or {}).get(split, ()))
        splits[split]['index'] = records.digest(data)
        first += count
    metadata = {
        'schema_version': 2 if kwargs.get('noise') else 1,
        'name': name,
        'job': job,
        'sample_rate': kwargs.get('sample_rate', 8000),
        'sources': kwargs.get('sources', 2),
        'splits': splits,
        'adaptation': kwargs.get('adaptation', False),
        **({'noise': True} if kwargs.get('noise') else {}),
    }
    (directory / records.DATASET_FILE).write_text(files.to_json(files.with_digest(metadata)))
    return str(directory)


def files_in(folder):
    """{path below a folder: bytes} of all files in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in pathlib.Path(folder).rglob('*')
        if path.is_file()
    }
