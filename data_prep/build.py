"""The pipelines of every job: look into the files, plan, mix and write.

    recordings -> looked into in parallel -> files.csv
               -> planned, by one pure function in this process -> mixtures.csv
               -> each shard mixed and written by one worker -> index, report, dataset.json

A shard holds the mixtures whose id hashes to it, sorted by id, so its bytes depend on neither the
runner, the number of workers nor the order in which anything arrives. Only names and numbers travel
between workers: what to do stands in the two tables, audio goes from source file to shard.
"""

import collections
from collections.abc import Callable, Collection, Iterable, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import io
import itertools
import logging
import os
import re
import shutil
import tempfile
import time

from apache_beam.metrics import Metrics
import google_crc32c
import numpy as np

from data_prep import (
    audio,
    engine,
    mix as mixing,
    mixtures,
    pairing,
    progress,
    recordings,
    report as reports,
)
from data_prep.draws import stable_hash
from data_prep.mixtures import Mixture
from data_prep.output import (
    FILES,
    METADATA_FILES,
    STAGED,
    STAGING,
    Part,
    check_name,
    clear,
    listing,
    make_room,
    prepare,
    read_json,
    write_whole,
    written,
)
from data_prep.recordings import Recording, grouped
from fgsep_jax import buckets, files, lock, pcm
from fgsep_jax.data import audio_files, records
from fgsep_jax.names import counted

DRY_RUN_FILES = 200  # looked into for each split
SHARD_BYTES = 128 << 20
MIN_SHARDS = 8  # so that a small data set still keeps several workers busy
EXAMPLES_A_SHARD = 32  # but no shard is made for fewer
PIECES, MOST_FILES = 256, 1024  # of looking into files; and of one such piece
SPEECH_RULE = (
    "snr_db is the difference of the two sources' active speech levels (ITU-T P.56) over the "
    'part that is in the mixture; then one common factor brings the largest peak of mixture and '
    'sources to 0.9.'
)


def assign_shards(rows: list[Mixture]) -> dict[tuple[str, int, int], list[int]]:
    """{(split, shard, shards): numbers of its rows, sorted by their ids} of every shard, empty ones
    too.

    Rows that were refused as they were mixed have their share in the number of shards, so that a
    table which says so makes those of the job that found it out.
    """
    work = {}
    wanted = (i for i, x in enumerate(rows) if not x.problem or x.problem in mixing.REFUSED)
    for split, members in sorted(grouped(wanted, lambda i: rows[i].split).items()):
        sizes = (2 * row.signals * row.samples for row in map(rows.__getitem__, members))
        most = -(-len(members) // EXAMPLES_A_SHARD)
        count = max(-(-sum(sizes) // SHARD_BYTES), min(MIN_SHARDS, most))
        shards = [[] for _ in range(count)]
        made = (i for i in members if not rows[i].problem)
        for i in sorted(made, key=lambda i: rows[i].id):
            shards[stable_hash(rows[i].id) % count].append(i)
        work |= {(split, shard, count): members for shard, members in enumerate(shards)}
    return work


def write_parts(path: str, table: bytes, groups: Iterable[Sequence[int]]) -> list[Part]:
    """Writes some lines of a table, group by group, so that a worker need read its own alone.

    Args:
        path: of the file.
        table: its contents.
        groups: numbers of the lines, the first below the head is 0.
    Returns:
        Of each group the part of the file that is a table of its own.
    """
    ends = [match.end() for match in re.finditer(rb'\n', table)]
    file, lines, parts = io.BytesIO(), memoryview(table), []
    for group in groups:
        start = file.tell()
        made = b''.join([lines[: ends[0]], *(lines[ends[i] : ends[i + 1]] for i in group)])
        file.write(made)
        parts.append((start, file.tell(), google_crc32c.value(made)))
    write_whole(path, file.getvalue())
    return parts


def _with_refused(table: bytes, refused: dict, path: str, roots: dict[str, str]) -> bytes:
    """mixtures.csv with why some of its mixtures are not there.

    Args:
        table: its contents as planned.
        refused: {(split, id): what was found}.
        path: where it may be written for a while.
        roots: see `run`.
    """
    write_whole(path, table)
    rows = mixtures.from_csv(path, roots)
    for i, row in enumerate(rows):
        if bad := refused.get((row.split, row.id)):
            rows[i] = dataclasses.replace(row, problem=bad['kind'], detail=bad['detail'])
    return mixtures.to_csv(rows, roots)


def inspect(part: Part, *, table: str, roots: dict[str, str], limits: dict) -> list[list[dict]]:
    """Of each recording in a part of a table its forms, looked into (`audio.inspect_forms`).

    Returns:
        Of each form {field: what it has}, as far as that is not what the recording has.
    """
    made = []
    for recording in recordings.from_csv(table, roots, part):
        forms = audio.inspect_forms(recording, **limits)
        Metrics.counter('inspect', forms[-1].problem or 'good').inc()
        made.append([_changes(recording, form) for form in forms])
    return made


def _changes(before: Recording, after: Recording) -> dict:
    """{field: what is there after} of those that differ."""
    fields = [field.name for field in dataclasses.fields(before)]
    both = ((name, getattr(before, name), getattr(after, name)) for name in fields)
    return {name: new for name, old, new in both if new != old}


def write_shard(
    task: tuple[tuple[str, int, int], Part],
    *,
    table: str,
    roots: dict[str, str],
    mix: Callable,
    name: str,
    output_dir: str,
    proof: tuple | None,
) -> dict:
    """Makes a shard, (split, shard, shards), from its part of a table.

    Returns:
        The rows and numbers that describe it.
    """
    place, part = task
    shard_name = records.shard_name(name, *place)
    split, shard, _ = place
    index, skipped, speakers, stats = [], [], set(), {name: [] for name in reports.HISTOGRAMS}
    digest, offset = hashlib.sha256(), 0
    with written(output_dir, shard_name, proof) as file:
        for row in mixtures.from_csv(table, roots, part=part):
            try:
                example = mix(row)
            except audio.BadInput as bad:
                Metrics.counter('mix', bad.kind).inc()
                skipped.append({'name': row.id, 'kind': bad.kind, 'detail': bad.detail})
                continue
            payload = records.encode(example)
            digest.update(payload)
            size = records.write_record(file, payload)
            samples, crc = example.sources_ST.shape[1], records.checksum(payload)
            index.append((shard, offset, size, samples, crc))
            offset += size
            speakers.update(source.source_id for source in row.wanted)
            stats['snr_db'].append(example.snr_db)
            stats['seconds'].append(samples / example.sample_rate)
            stats['source_rms_db'] += map(level, example.sources_ST)
            stats['mixture_rms_db'].append(level(example.mixture_T))
            if example.adaptation_overlap is not None:
                stats['adaptation_overlap'].append(example.adaptation_overlap)
            if example.noise_T is not None:
                stats['noise_rms_db'].append(level(example.noise_T))
    return {
        'split': split,
        'shard': shard,
        'index': np.array(index, records.INDEX_DTYPE),
        'stats': stats,
        'skipped': skipped,
        'speakers': sorted(speakers),
        'digest': digest.hexdigest(),
    }


_FULL = [*map(os.strerror, buckets.FULL)]


def _full(output_dir: str, reason: str = '') -> str:
    """The folder that is out of space; the output's where none is.

    It may be that of temporary files, which Beam uses, too, and what goes to a bucket passes.

    Args:
        output_dir: of the data set.
        reason: what the system says.
    """
    is_temporary = buckets.is_url(output_dir) and reason in _FULL
    with contextlib.suppress(OSError):
        if not buckets.is_url(output_dir):
            place, least = tempfile.gettempdir(), 1 << 20
            free, there = (shutil.disk_usage(x).free for x in (place, output_dir))
            is_temporary = free < least <= there
    if is_temporary:
        temporary = buckets.temporary()
        return f'{temporary}, the folder of temporary files (TMPDIR names another),'
    return output_dir


def _why_unwritable(error: Exception) -> str:
    """What the system says of an output that cannot be written, or of inputs that cannot be read
    (`audio_files.StoppedError`); empty for other errors.

    Args:
        error: the system's own, or Beam's around whatever a worker raised.
    """
    if isinstance(error, OSError):  # inputs that cannot be read are skipped, so it is the output
        return engine.reason(error)
    kinds = (
        rf'\b({audio_files.STOPPED}: [^[\n]{{1,200}})',
        r'Error: \[Errno \d+\] ([^[:\n]*)',
        r'\b(?:OSError|Unreachable|Lost): ([^[\n]{1,200})',
    )
    matches = (re.search(kind, str(error)) for kind in kinds)
    return next((match[1].strip() for match in matches if match), '')


def level(pcm_T: np.ndarray) -> float:
    """RMS level of int16 PCM in dB re full scale."""
    return audio.rms_db(pcm.to_float(pcm_T, np.float64))


def check_unique(ids: Sequence[str], what: str) -> None:
    """Refuse ids of which one stands there twice."""
    if len(set(ids)) < len(ids):
        twice = sorted(name for name, count in collections.Counter(ids).items() if count > 1)
        raise ValueError(f'{what} ids must be unique; repeated: {len(twice)}, e.g. {twice[:3]}')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be made.

    Attributes:
        name: of the data set, `[a-z][a-z0-9_]*`.
        utterances: files to use; ids unique.
        sample_rate: of the data set; higher native rates are resampled, lower ones are skipped.
        plan: `plan(recordings that were looked into) -> list of mixtures.Mixture`, options bound
            with `functools.partial`. If it is (a partial of) `pairing.random_pairs`,
            `sample_rate` and `seed` are filled in here.
        resplit: `resplit(good recordings) -> {source_id: split}`, by which splits are dealt anew
            where the plan is refused: before the files are looked into nobody knows who has none
            that can be used.
        dealt: `dealt(recordings that were looked into) -> {path: split}`, where it is the plan that
            deals them; see `pairing.splits_dealt`.
        mix: `mix(mixture, sample_rate=) -> records.Example`, e.g. `mix.mix`.
        min_seconds: shorter files are skipped.
        max_clipped: files with a larger share of clipped samples are skipped.
        seed: of every random number, together with the mixture's id.
        snr_rule: one sentence for metadata and report: what `snr_db` means here.
        extra_metadata: JSON values to add to dataset.json (`job`, `config`, licences, ...).
        notes: `notes(good recordings, mixtures) -> {title: lines, or {row: {column: value}}}`,
            more chapters for the report.
        warnings: lines to add to the report's warnings.
        beside: what else lies in the trees, `recordings.unused`.
    """

    name: str
    utterances: list[Recording]
    sample_rate: int = 8000
    plan: Callable = pairing.random_pairs
    resplit: Callable | None = None
    dealt: Callable | None = None
    mix: Callable = mixing.mix
    min_seconds: float = 0.0
    max_clipped: float = audio.CLIPPED
    seed: int = 0
    snr_rule: str = SPEECH_RULE
    extra_metadata: dict = dataclasses.field(default_factory=dict)
    notes: Callable | None = None
    warnings: Sequence[str] = ()
    beside: dict = dataclasses.field(default_factory=dict)

    @property
    def flags(self) -> dict:
        """The command line's, {name: value}."""
        return self.extra_metadata.get('config', {})

    @property
    def unit(self) -> str:
        """What sources come from, for people."""
        return self.extra_metadata.get('source_unit', 'speakers')

    @property
    def limits(self) -> dict:
        """What a file must keep, see `audio.inspect`."""
        names = ('sample_rate', 'min_seconds', 'max_clipped')
        return {name: getattr(self, name) for name in names}


def _plan(job: Job, recordings: list[Recording]) -> list[Mixture]:
    """The plan for what was looked into.

    Raises:
        ValueError: if a split cannot be made; it also says why files were skipped.
    """
    plan = job.plan
    if getattr(plan, 'func', plan) is pairing.random_pairs:
        plan = functools.partial(plan, sample_rate=job.sample_rate, seed=job.seed)
    try:
        rows = [_fitting(row, job.flags) for row in plan(recordings)]
        made = {row.split for row in rows if not row.problem}
        for split in sorted({row.split for row in rows} - made):
            lost = [row for row in rows if row.split == split]
            left = ','.join(dict.fromkeys(row.split for row in rows if row.split in made))
            way = ''
            if left and 'splits' in job.flags:
                way = f'; --splits={left} does without it'
            elif left:
                way = '; a table without its rows makes the others'
            raise ValueError(
                f'split {split!r}: none of its {counted(len(lost), "mixture")} can be made, e.g. '
                f'{lost[0].id}: {lost[0].detail}{way}'
            )
        if not rows:
            good = sum(not x.problem for x in recordings)
            raise ValueError(f'no mixtures: {good} of {counted(len(recordings), "file")} usable')
    except ValueError as error:
        why = reports.kinds(reports.skipped_files(recordings))
        raise ValueError(f'{error}{f"; skipped files: {why}" if why else ""}') from error
    check_unique([f'{row.split}/{row.id}' for row in rows], 'mixture')
    return rows


def _fitting(row: Mixture, flags: Collection[str]) -> Mixture:
    """The mixture; one that is too long for a record has a problem."""
    segment = (row.adaptation_stop or 0) - (row.adaptation_start or 0)
    room = records.MOST_BYTES // 2 - segment
    if row.problem or (len(row.sources) + 1) * row.samples <= room:  # as of millions nearly all are
        return row
    parts = row.signals
    if parts * row.samples <= room:
        return row
    most = max(room, 0) // parts
    ways = (
        f'; --{flag}=N makes it shorter' for flag in ('max_seconds', 'seconds') if flag in flags
    )
    detail = f'{row.samples:,} samples, a record of {parts} holds {most:,} each{next(ways, "")}'
    return dataclasses.replace(row, problem='too long', detail=detail)


def _planned(
    job: Job, forms: list[list[Recording]]
) -> tuple[list[list[Recording]], list[Mixture], list[str]]:
    """What was looked into (see `_looked_into`) with its splits, the plan for it, and lines for the
    report.

    Raises:
        ValueError: see `_plan`.
    """
    inspected = [recording[-1] for recording in forms]
    try:
        rows = _plan(job, inspected)
        if job.dealt:
            forms = _dealt(forms, job.dealt(inspected), lambda x: x.path)
        return forms, rows, []
    except ValueError as error:
        if not job.resplit:
            raise
        refused = error
    try:
        splits = job.resplit([x for x in inspected if not x.problem])
        dealt = _dealt(forms, splits, lambda x: x.source_id)
        rows = _plan(job, [recording[-1] for recording in dealt])
    except ValueError:
        raise refused from None
    without = str(refused).partition(';')[0]
    line = f'splits are dealt among the {job.unit} with usable files alone: among all, {without}'
    return dealt, rows, [line]


def _dealt(
    forms: list[list[Recording]], splits: dict[str, str], key: Callable
) -> list[list[Recording]]:
    """What was looked into, of other splits; of none where its key has none."""
    return [
        [recordings.changed(x, split=splits.get(key(x), '')) for x in recording]
        for recording in forms
    ]


def _dry_run(job: Job) -> dict:
    """Counts, and one mixture made in memory; nothing is written."""
    by_split, forms = grouped(job.utterances, lambda recording: recording.split), []
    for members in by_split.values():
        # Neighbours stay together: a plan from a list needs both sources of a line.
        stride = max(1, len(members) // DRY_RUN_FILES)
        some = (x for i, x in enumerate(members) if (i // 2) % stride == 0)
        forms += [audio.inspect_forms(x, **job.limits) for x in some]
    forms, rows, lines = _planned(job, forms)
    made = [row for row in rows if not row.problem]
    about = _first_report(job, forms, made, lines)
    result = {
        'name': job.name,
        'recordings': {
            split: {
                'files': len(members),
                job.unit: len({x.source_id for x in members if x.role != mixtures.NOISE}),
            }
            for split, members in sorted(by_split.items())
        },
        'looked_into': len(forms),
        'skipped': reports.by_kind(reports.skipped_files(recording[-1] for recording in forms)),
        'beside': about['files']['beside'],
        'notes': about['notes'],
        'mixtures_from_these': {
            split: sum(row.split == split for row in made)
            for split in sorted({row.split for row in made})
        },
        'lost_mixtures': len(rows) - len(made),
    }
    for row in made:
        try:
            example = job.mix(row, sample_rate=job.sample_rate)
        except audio.BadInput:
            continue
        result['example'] = {
            'row': dataclasses.asdict(row),
            'samples': example.sources_ST.shape[1],
            'snr_db': example.snr_db,
            'source_rms_db': [round(level(x_T), 2) for x_T in example.sources_ST],
            'mixture_rms_db': round(level(example.mixture_T), 2),
            'mixture_peak': int(np.abs(example.mixture_T.astype(np.int32)).max()),
        }
        break
    return result


def run(
    *,
    output_dir: str,
    roots: dict[str, str] | None = None,
    argv: Sequence[str] = (),
    dry_run: bool = False,
    overwrite: bool = False,
    **what,
) -> dict:
    """Make a data set of mixtures in `output_dir`.

    Args:
        output_dir: folder of the data set, local or any URL that Beam's file systems write.
        roots: {flag: folder} in which the files lie, for the tables to name them by.
        argv: Beam's flags.
        dry_run: count, make one mixture in memory, write nothing.
        overwrite: replace a finished data set in `output_dir`, once the new one is planned.
        **what: see `Job`.
    Returns:
        The report (see report.json), or the dry run's counts; `seconds` is how long it took.
    Raises:
        output.DatasetExistsError: if a finished data set is there and `overwrite` is false.
        ValueError: if ids repeat or no mixture can be made.
        OSError: if `output_dir` cannot be written.
    """
    job = Job(**what)
    try:
        check_name(job.name)
    except ValueError as error:
        raise ValueError(f'name {job.name!r}: {error}') from None
    check_unique([x.id for x in job.utterances], 'utterance')
    if dry_run:
        return _dry_run(job)
    metadata = {
        'rules_version': mixing.RULES_VERSION,
        'snr_rule': job.snr_rule,
        'seed': job.seed,
        **job.extra_metadata,
        'schema_version': records.SCHEMA_VERSION,
        'name': job.name,
        'sample_rate': job.sample_rate,
    }
    began = time.monotonic()
    replacing = prepare(output_dir, job.name, overwrite)
    staging = buckets.join(output_dir, STAGING)
    earlier = functools.partial(_earlier, output_dir, replacing)
    tables = [buckets.join(staging, name) for name in STAGED]
    roots = roots or {}
    try:
        proof = lock.proof(output_dir)
        forms = _looked_into(job, tables[0], roots, argv, proof)
        with progress.uncollected():
            forms, rows, lines = _planned(job, forms)
            contents = {'mixtures.csv': mixtures.to_csv(rows, roots)}
            metadata['mixtures'] = records.digest(contents['mixtures.csv'])
            if any(source.heard for row in rows for source in row.sources):
                metadata['reverberation'] = True  # of the sources, in the noise
            work = assign_shards(rows)
            parts = write_parts(tables[1], contents['mixtures.csv'], work.values())
            written = [records.shard_name(job.name, *place) for place in work]
            written += [records.DATASET_FILE, *METADATA_FILES]
            written += map(records.index_name, sorted({place[0] for place in work}))
            make_room(output_dir, written)
            do = functools.partial(
                write_shard,
                table=tables[1],
                roots=roots,
                mix=functools.partial(job.mix, sample_rate=job.sample_rate),
                name=job.name,
                output_dir=output_dir,
                proof=proof,
            )
            made = [row for row in rows if not row.problem]
            about = _first_report(job, forms, made, lines)
            lost = [row for row in rows if row.problem]
            del rows, made  # most of what is held, and in the tables by now
        shards = list(engine.each(list(zip(work, parts)), do, argv, staging, proof, 'mix'))
        bad = {(x['split'], one['name']): one for x in shards for one in x['skipped']}
        if bad:
            with progress.uncollected():
                table = _with_refused(contents['mixtures.csv'], bad, tables[1], roots)
            contents['mixtures.csv'], metadata['mixtures'] = table, records.digest(table)
        looked_into = (form for recording in forms for form in recording)
        contents['files.csv'] = recordings.to_csv(looked_into, roots)
        result = finish(output_dir, shards, lost, metadata, about, contents)
    except ValueError as error:
        # What an earlier job left unfinished must stay known as ours.
        clear(output_dir, all=not read_json(buckets.join(staging, FILES)))
        raise ValueError(f'{error}{earlier()}') from error
    except (RuntimeError, OSError) as error:
        if isinstance(error, lock.Lost):
            raise
        if isinstance(error, engine.EngineError):
            raise engine.EngineError(f'{error}{earlier()}') from error
        reason = _why_unwritable(error)
        if reason.startswith(audio_files.STOPPED):
            raise OSError(f'{reason}{earlier()}') from error
        if reason:
            in_bucket = buckets.is_url(output_dir) and reason not in _FULL
            kind = buckets.Unreachable if in_bucket else OSError
            raise kind(
                f'{_full(output_dir, reason)} {engine.UNWRITABLE} ({reason}){earlier()}'
            ) from error
        raise
    clear(output_dir, all=True)
    result['seconds'] = time.monotonic() - began
    hours = sum(split['hours'] for split in result['splits'].values())
    logging.info(
        '%s: %s of mixtures in %.1f s, %.0f x real time',
        output_dir,
        reports.duration(hours),
        result['seconds'],
        3600 * hours / result['seconds'],
    )
    return result


def _earlier(output_dir: str, replacing: bool) -> str:
    """The end of a failure's message: what became of the data set that was to be replaced."""
    if not replacing:
        return ''
    if records.DATASET_FILE in listing(output_dir):
        return '; the data set that is there is kept as it was'
    return '; the data set that was there is gone: the new one was planned and begun'


def _looked_into(
    job: Job,
    table: str,
    roots: dict[str, str],
    argv: Sequence[str],
    proof: tuple | None,
) -> list[list[Recording]]:
    """Of each recording the forms that are bad, and the one that counts."""
    if not job.utterances:
        return []
    count = len(job.utterances)
    step = max(1, min(count // PIECES, MOST_FILES))
    groups = [range(start, min(start + step, count)) for start in range(0, count, step)]
    parts = write_parts(table, recordings.to_csv(job.utterances, roots), groups)
    how = dict(table=table, roots=roots, limits=job.limits)
    do = functools.partial(inspect, **how)
    made = engine.each(parts, do, argv, os.path.dirname(table), proof, 'inspect')
    changed = itertools.chain.from_iterable(made)
    return [
        [recordings.changed(recording, **changes) for changes in forms]
        for recording, forms in zip(job.utterances, changed, strict=True)
    ]


def _first_report(
    job: Job, forms: list[list[Recording]], rows: list[Mixture], also: Sequence[str]
) -> dict:
    """The report as far as it is known before anything is mixed.

    Args:
        job: what is made.
        forms: see `_looked_into`.
        rows: the mixtures that will be made.
        also: further warnings.
    """
    inspected = [recording[-1] for recording in forms]
    good = [x for x in inspected if not x.problem]
    converted = [note for x in good for note in x.converted]
    beside = reports.with_forms(job.beside, forms)
    more = job.notes(good, rows) if job.notes else {}
    lines = reports.warnings(
        inspected,
        rows,
        beside=beside,
        sample_rate=job.sample_rate,
        flags=job.flags,
        unit=job.unit,
        also=[*job.warnings, *also],
    )
    about = {key: job.extra_metadata[key] for key in ('source_unit',) if key in job.extra_metadata}
    return {
        'name': job.name,
        'snr_rule': job.snr_rule,
        'files': {
            'total': len(inspected),
            'good': len(good),
            'converted': {note: converted.count(note) for note in sorted(set(converted))},
            'rms_db': reports.histogram((x.rms_db for x in good), width=2.0),
            'beside': {key: value for key, value in beside.items() if key != 'problems'},
        },
        'skipped_files': [*reports.skipped_files(inspected), *beside.get('problems', [])],
        'notes': {**more, 'Warnings': [*lines, *more.get('Warnings', [])]},
        **about,
    }


def _split_numbers(shards: list[dict]) -> tuple[dict, dict, np.ndarray]:
    """Of one split: entry for dataset.json, entry for the report, index."""
    shards = sorted(shards, key=lambda shard: shard['shard'])
    index = np.concatenate([shard['index'] for shard in shards])
    stats = {
        name: list(itertools.chain.from_iterable(shard['stats'][name] for shard in shards))
        for name in reports.HISTOGRAMS
    }
    speakers = sorted({name for shard in shards for name in shard['speakers']})
    digests = ''.join(shard['digest'] for shard in shards)
    entry = {
        'examples': len(index),
        'shards': len(shards),
        'hours': round(sum(stats['seconds']) / 3600, 4),
        'speakers': speakers,
        'fingerprint': records.digest(digests.encode()),
        'index': records.digest(records.write_index(index)),
    }
    histograms = {
        name: reports.histogram(stats[name], width=width)
        for name, (width, *_) in reports.HISTOGRAMS.items()
        if stats[name]
    }
    numbers = {k: v for k, v in entry.items() if k not in ('speakers', 'index')}
    if overlaps := stats['adaptation_overlap']:
        numbers['adaptation_disjoint'] = round(overlaps.count(0.0) / len(overlaps), 4)
    return entry, {**numbers, 'num_speakers': len(speakers), 'histograms': histograms}, index


def finish(
    output_dir: str,
    shards: list[dict],
    lost: list[Mixture],
    metadata: dict,
    report: dict,
    contents: dict[str, bytes],
) -> dict:
    """All shards' rows -> tables, index files, TFDS metadata, report, and last of all dataset.json.

    Args:
        output_dir: folder of the data set.
        shards: see `WriteShard`.
        lost: mixtures that could not be planned.
        metadata: what dataset.json says beside what is known now.
        report: see `_first_report`.
        contents: {file name: contents} of the tables.
    Returns:
        The report.
    Raises:
        ValueError: nothing could be made of a split.
    """

    from data_prep import tfds_metadata  # workers do without it

    def write(name, data):
        write_whole(buckets.join(output_dir, name), data)

    by_split = grouped(shards, lambda shard: shard['split'])
    entries, numbers, lengths, sizes, fewer = {}, {}, {}, {}, []
    absent = [{'name': row.id, 'kind': row.problem, 'detail': row.detail} for row in lost]
    for split, members in sorted(by_split.items()):
        entries[split], numbers[split], index = _split_numbers(members)
        skipped = [bad for shard in members for bad in shard['skipped']]
        if not len(index):
            raise ValueError(f'split {split!r}: no mixture could be made; {reports.kinds(skipped)}')
        lengths[split] = np.bincount(index['shard'], minlength=len(members)).tolist()
        sizes[split] = int(index['size'].sum())
        missing = [bad for row, bad in zip(lost, absent) if row.split == split] + skipped
        if missing:
            kinds = ', '.join(f'{kind}: {n}' for kind, n in reports.by_kind(missing).items())
            fewer.append(
                f'split {split} has {counted(len(index), "mixture")}, '
                f'{len(index) + len(missing)} were asked for; skipped mixtures: {kinds}'
            )
        write(records.index_name(split), records.write_index(index))
    first = next(shard['stats'] for shard in shards if shard['stats']['seconds'])
    num_sources = len(first['source_rms_db']) // len(first['seconds'])
    adaptation, noise = bool(first['adaptation_overlap']), bool(first['noise_rms_db'])
    about = tfds_metadata.metadata_files(
        name=metadata['name'],
        description=f'Mixtures for source separation. {metadata["snr_rule"]}',
        num_sources=num_sources,
        adaptation=adaptation,
        noise=noise,
        shard_lengths=lengths,
        num_bytes=sizes,
    )
    skipped = [*(bad for shard in shards for bad in shard['skipped']), *absent]
    notes = report['notes']
    report = {
        **report,
        'splits': numbers,
        'skipped_mixtures': sorted(skipped, key=lambda bad: bad['name']),
        'notes': {**notes, 'Warnings': [*notes['Warnings'], *fewer]},
    }
    about |= contents
    about['report.json'] = files.to_json(report).encode()
    about['report.md'] = reports.to_markdown(report).encode()
    for name, data in about.items():
        write(name, data)
    metadata |= {'sources': num_sources, 'adaptation': adaptation, 'splits': entries}
    if noise:
        metadata |= {'noise': True, 'schema_version': records.NOISE_SCHEMA_VERSION}
    metadata = files.with_digest(metadata)
    records.check_metadata(metadata, where=records.DATASET_FILE)
    write(records.DATASET_FILE, files.to_json(metadata).encode())
    return report
