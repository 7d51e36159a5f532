"""The benchmark of the input pipeline gives both sides the same audio."""

import os
import pickle

import numpy as np
import pytest
import torch

from benchmarks import input as benchmark, wav_loader
from fgsep_jax.config import segment_samples
import tiny


@pytest.mark.parametrize('name, adaptation', [('convtasnet', 0), ('blstm_m1_plus', 400)])
def test_records_and_wav_files_hold_the_same_mixtures(tmp_path, name, adaptation):
    config = tiny.config('', name)
    segment = segment_samples(config)
    source = benchmark.write(str(tmp_path), config, mixtures=3, longest=config.data.segment_seconds)
    ids = [source[i].id for i in range(3)]
    made = wav_loader.WavMixtures(
        str(tmp_path), ids, source.lengths, segment=segment, adaptation=adaptation
    )
    mixtures = pickle.loads(pickle.dumps(made))  # as a worker process gets them
    for i in range(3):
        mixture_T, source_ST, *rest = mixtures[i]
        np.testing.assert_array_equal(source_ST * 32768, source[i].sources_ST)
        np.testing.assert_allclose(mixture_T * 32768, source[i].mixture_T, atol=0.01)
        assert len(rest) == bool(adaptation)
        if adaptation:
            np.testing.assert_array_equal(rest[0] * 32768, source[i].adaptation_T)


def test_an_epoch_is_as_many_batches_as_asked_for(tmp_path):
    config = tiny.config('', 'convtasnet')
    source = benchmark.write(str(tmp_path), config, mixtures=3, longest=0.2)
    mixtures = wav_loader.WavMixtures(
        str(tmp_path), [source[i].id for i in range(3)], source.lengths, segment=800
    )
    loader = wav_loader.make_loader(mixtures, batches=4, batch_size=2, workers=0)
    batches = list(loader)
    assert [tuple(mixture.shape) for mixture, _ in batches] == [(2, 800)] * 4
    assert len({float(torch.sum(x)) for mixture, _ in batches for x in mixture}) > 3  # crops


def test_workers_are_processes_that_live_on(tmp_path):
    loader = wav_loader.make_loader([0, 1], batches=2, batch_size=1, workers=2)
    assert loader.num_workers == 2 and loader.persistent_workers
    # A forked child of a process in which JAX has threads may hang.
    assert loader.multiprocessing_context.get_start_method() == 'forkserver'


def test_small_cases_run_and_make_lines(run, monkeypatch):
    make_loader, asked = wav_loader.make_loader, []

    def in_process(*args, workers, **kwargs):
        asked.append(workers)
        return make_loader(*args, workers=0, **kwargs)

    monkeypatch.setattr(wav_loader, 'make_loader', in_process)
    run(benchmark.cases(small=True))
    cores = len(os.sched_getaffinity(0))
    assert asked == [cores, 0] * 2
