"""The one Beam pipeline of every job: inspect files, plan mixtures, mix and write shards.

    files -> inspect in parallel -> plan (one deterministic step) -> shards of specs
          -> each shard mixed and written by one worker -> index, metadata, report, dataset.json

A shard holds the mixtures whose id hashes to it, sorted by id, so its bytes depend on neither the
runner, the number of workers nor the order in which anything arrives.
"""

from collections.abc import Callable, Sequence
import contextlib
import dataclasses
import functools
import json
import logging
import os
import re
import shutil
import tempfile
import time
import uuid

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
import cloudpickle
import numpy as np

from data_prep import audio, mixers, mixing, plans, progress, report as reports
from data_prep.corpora import Utterance
from data_prep.finish import Finish
from data_prep.workers import (
    FILES,
    METADATA_FILES,
    UNWRITABLE,
    Inspect,
    Job,
    Plan,
    WriteShard,
    check_unique,
    delete,
    listing,
    make_plan,
    own_files,
    read_json,
    read_refusal,
    skipped_files,
    warnings,
    with_forms,
    write_whole,
)
from fgsep_jax import files, names
from fgsep_jax.data import records

DRY_RUN_FILES = 200  # looked into for each split

_STAGING = '.fgsep_unfinished'  # a name that nobody gives a folder of their own
SPEECH_RULE = (
    "snr_db is the difference of the two sources' active speech levels (ITU-T P.56) over the "
    'part that is in the mixture; then one common factor brings the largest peak of mixture and '
    'sources to 0.9.'
)


class DatasetExistsError(ValueError):
    """The output folder holds a finished data set."""


def _prepare_output(output_dir: str, name: str, overwrite: bool) -> bool:
    """Makes the staging folder; returns whether a finished data set is there."""
    if os.path.isfile(output_dir):
        raise NotADirectoryError(f'{output_dir} is a file; --output_dir must be a folder')
    staging = FileSystems.join(output_dir, _STAGING)
    earlier = own_files(output_dir, staging)
    there = listing(output_dir) if FileSystems.exists(output_dir) else []
    if '://' not in output_dir:
        written = [one for one in there if one in earlier or _is_written(one, name)]
        files.refuse_links(output_dir, _STAGING, *written)
    foreign = sorted(one for one in {*there} - {*earlier} if _is_written(one, name))
    if foreign:
        raise DatasetExistsError(
            f'{FileSystems.join(output_dir, foreign[0])} is there, and no data set that it '
            'belongs to: move it away, or give another --output_dir'
        )
    if records.DATASET_FILE in there and not overwrite:
        raise DatasetExistsError(
            f'{output_dir} holds a finished data set; give another --output_dir, or --overwrite'
        )
    if '://' not in staging:
        os.makedirs(staging, exist_ok=True)
    _clear(staging)
    return records.DATASET_FILE in there


def _is_written(entry: str, name: str) -> bool:
    """Whether a file is called as one of those that a data set of a name consists of."""
    shard = rf'{name}-\w+\.tfrecord-\d{{5,}}-of-\d{{5,}}'
    index = r'index-(?:train|validation|test|c\d)\.npy'
    whole = (records.DATASET_FILE, *METADATA_FILES)
    return entry in whole or re.fullmatch(f'{shard}|{index}', entry) is not None


def _clear(staging: str, *, all: bool = False) -> None:
    """Empties the staging folder but for the list of files; with `all` removes it."""
    for name in listing(staging):
        if all or name != FILES:
            delete(staging, name)
    if all and '://' not in staging:
        with contextlib.suppress(OSError):  # something in it is not ours
            os.rmdir(staging)


def own_worker(command: bytes) -> bytes:
    """Beam's command for a worker process as ours, without a shell between it and the job."""
    theirs = b'apache_beam.runners.worker.sdk_worker_main'
    if theirs not in command:
        return command
    return b'exec ' + command.replace(theirs, b'data_prep.beam_worker')


def _runner(options: PipelineOptions):
    """The local runner in Python unless another is named.

    `DirectRunner` would first try to download and start Beam's Go runner.
    """
    if options.view_as(StandardOptions).runner in (None, 'DirectRunner'):
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        class Runner(FnApiRunner):
            def run_via_runner_api(self, pipeline_proto, options):
                for environment in pipeline_proto.components.environments.values():
                    environment.payload = own_worker(environment.payload)
                return super().run_via_runner_api(pipeline_proto, options)

        return Runner()
    return None


def _full(output_dir: str) -> str:
    """The folder that is out of space: the output's, or that of temporary files, which Beam uses
    too; the output's where neither is."""
    temporary = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        if shutil.disk_usage(temporary).free < 1 << 20 <= shutil.disk_usage(output_dir).free:
            return f'{temporary}, the folder of temporary files (TMPDIR names another),'
    return output_dir


def _unwritable(result) -> str:
    """Why a worker could not write; '' where all could. See `workers.unwritable`."""
    with contextlib.suppress(NotImplementedError):  # a runner without counters
        found = result.metrics().query(MetricsFilter().with_namespace(UNWRITABLE))
        return next((one.key.metric.name for one in found['counters']), '')
    return ''


def _earlier(output_dir: str, replacing: bool) -> str:
    """The end of a failure's message: what became of the data set that was to be replaced."""
    if not replacing:
        return ''
    if FileSystems.exists(FileSystems.join(output_dir, records.DATASET_FILE)):
        return '; the data set that is there is kept as it was'
    return '; the data set that was there is gone: the new one was planned and begun'


def _dry_run(job: Job) -> dict:
    """Counts, and one mixture made in memory; nothing is written."""
    by_split = {}
    for one in job.utterances:
        by_split.setdefault(one.split, []).append(one)
    inspected = []
    for members in by_split.values():
        # Neighbours stay together: a plan from a list needs both sources of a line.
        stride = max(1, len(members) // DRY_RUN_FILES)
        chosen = [one for i, one in enumerate(members) if (i // 2) % stride == 0]
        inspected += [job.inspect(one) for one in chosen]
    job = with_forms(job, inspected)
    good = [one for one in inspected if not one.problem]
    specs, lost = make_plan(job, inspected)
    report = {
        'name': job.name,
        'utterances': {
            split: {'files': len(members), 'speakers': len({one.speaker for one in members})}
            for split, members in sorted(by_split.items())
        },
        'looked_into': len(inspected),
        'skipped': reports.by_kind(skipped_files(inspected)),
        'warnings': warnings(job, inspected, specs),
        'beside': job.beside,
        'mixtures_from_these': {
            split: sum(spec.split == split for spec in specs)
            for split in sorted({spec.split for spec in specs})
        },
    }
    if lost:
        report['lost_mixtures'] = len(lost)
    if job.notes:
        report['notes'] = job.notes(good, specs)
    for spec in specs:
        try:
            example = job.mix(spec)
        except audio.BadInput:
            continue
        report['example'] = {
            'spec': dataclasses.asdict(spec),
            'samples': example.sources_ST.shape[1],
            'snr_db': example.snr_db,
            'source_rms_db': [round(reports.rms_db(x_T), 2) for x_T in example.sources_ST],
            'mixture_rms_db': round(reports.rms_db(example.mixture_T), 2),
            'mixture_peak': int(np.abs(example.mixture_T.astype(np.int32)).max()),
        }
        break
    return report


def run(
    *,
    name: str,
    utterances: list[Utterance],
    output_dir: str,
    sample_rate: int = 8000,
    plan: Callable = plans.random_pairs,
    mix: Callable = mixers.mix_at_levels,
    min_seconds: float = 0.0,
    max_clipped: float = 1e-4,
    seed: int = 0,
    argv: Sequence[str] = (),
    dry_run: bool = False,
    overwrite: bool = False,
    snr_rule: str = SPEECH_RULE,
    extra_metadata: dict | None = None,
    notes: Callable | None = None,
    told: Sequence[str] = (),
    beside: dict | None = None,
) -> dict:
    """Make a data set of mixtures in `output_dir`.

    Args:
        name: of the data set, `[a-z][a-z0-9_]*`.
        utterances: files to use; ids unique.
        output_dir: folder of the data set, local or any URL that Beam's file systems write.
        sample_rate: of the data set; higher native rates are resampled, lower ones are skipped.
        plan: `plan(inspected) -> list of plans.MixtureSpec`, options bound with
            `functools.partial`. If it is (a partial of) `plans.random_pairs`, `sample_rate` and
            `seed` are filled in here.
        mix: `mix(spec, sample_rate=) -> records.Example`, e.g. `mixers.mix_at_levels`.
        min_seconds: shorter files are skipped.
        max_clipped: files with a larger share of clipped samples are skipped.
        seed: of every random number, together with the mixture's id.
        argv: Beam's flags.
        dry_run: count, make one mixture in memory, write nothing.
        overwrite: replace a finished data set in `output_dir`, once the new one is planned.
        snr_rule: one sentence for metadata and report: what `snr_db` means here.
        extra_metadata: JSON values to add to dataset.json (`job`, `config`, licences, ...).
        notes: `notes(inspected, specs) -> {title: lines, or {row: {column: value}}}`, more
            chapters for the report.
        told: lines to add to the report's warnings.
        beside: what else lies in the trees, `corpora.unused`.
    Returns:
        The report (see report.json), or the dry run's counts; `seconds` is how long it took.
    Raises:
        DatasetExistsError: if a finished data set is there and `overwrite` is false.
        ValueError: if ids repeat or no mixture can be made.
        OSError: if `output_dir` cannot be written.
    """
    if not name.isidentifier() or not name.islower() or names.part(name) != name:
        raise ValueError(
            f'name {name!r}: use small letters, digits and _, first a letter, at most '
            f'{names.LONGEST} bytes'
        )
    check_unique([one.id for one in utterances], 'utterance')
    if getattr(plan, 'func', plan) is plans.random_pairs:
        plan = functools.partial(plan, sample_rate=sample_rate, seed=seed)
    job = Job(
        name=name,
        utterances=utterances,
        sample_rate=sample_rate,
        inspect=functools.partial(
            audio.inspect,
            sample_rate=sample_rate,
            min_seconds=min_seconds,
            max_clipped=max_clipped,
        ),
        plan=plan,
        mix=functools.partial(mix, sample_rate=sample_rate),
        output_dir=output_dir,
        metadata={
            'rules_version': mixing.RULES_VERSION,
            'snr_rule': snr_rule,
            'seed': seed,
            **(extra_metadata or {}),
        },
        notes=notes,
        told=tuple(told),
        beside=beside or {},
    )
    began = time.monotonic()
    if dry_run:
        return _dry_run(job)
    replacing = _prepare_output(output_dir, name, overwrite)
    staging = FileSystems.join(output_dir, _STAGING)
    # The name is new each time, since workers cache what they load by name.
    job_path = FileSystems.join(staging, f'job-{uuid.uuid4().hex}.pickle')
    write_whole(job_path, cloudpickle.dumps(job))
    progress.write_total(staging, 'inspect', len(utterances))
    options = PipelineOptions(list(argv))
    reporter = progress.Reporter(staging)
    reporter.start()
    try:
        pipeline = beam.Pipeline(runner=_runner(options), options=options)
        with pipeline:
            planned = (
                pipeline
                | beam.Create(range(len(utterances)))
                | beam.Reshuffle()
                | 'Inspect' >> beam.ParDo(Inspect(job_path))
                | 'Gather' >> beam.combiners.ToList()
                | 'Plan' >> beam.ParDo(Plan(job_path)).with_outputs('files', main='shards')
            )
            _ = (
                planned.shards
                | 'Spread' >> beam.Reshuffle()
                | 'WriteShard' >> beam.ParDo(WriteShard(job_path))
                | 'Collect' >> beam.combiners.ToList()
                | 'Finish'
                >> beam.ParDo(Finish(job_path), files=beam.pvalue.AsSingleton(planned.files))
            )
    except (RuntimeError, OSError) as error:  # Beam's, around whatever a worker raised
        # Inputs that cannot be read are skipped, so it is the output.
        kinds = (r'Error: \[Errno \d+\] ([^[:\n]*)', r'\b(?:OS|BeamIO)Error: ([^[\n]{1,200})')
        if isinstance(error, OSError):
            kinds += (r'([^[\n]{1,200})',)
        found = next((x for x in (re.search(kind, str(error)) for kind in kinds) if x), None)
        if found:
            reason = f'{_full(output_dir)} {UNWRITABLE} ({found[1].strip()})'
            raise OSError(reason + _earlier(output_dir, replacing)) from error
        raise
    finally:
        reporter.stop()
    reason = _unwritable(pipeline.result)
    if reason:
        reason = f'{_full(output_dir)} {UNWRITABLE} ({reason})'
        raise OSError(reason + _earlier(output_dir, replacing))
    refusal = read_refusal(job_path)
    if refusal:
        # What an earlier job left unfinished must stay known as ours.
        _clear(staging, all=not read_json(FileSystems.join(staging, FILES)))
        raise ValueError(refusal + _earlier(output_dir, replacing))
    with FileSystems.open(FileSystems.join(output_dir, 'report.json')) as file:
        report = json.loads(file.read())
    _clear(staging, all=True)
    report['seconds'] = time.monotonic() - began
    hours = sum(one['hours'] for one in report['splits'].values())
    logging.info(
        '%s: %.2f hours of mixtures in %.1f s, %.0f x real time',
        output_dir,
        hours,
        report['seconds'],
        3600 * hours / report['seconds'],
    )
    return report
