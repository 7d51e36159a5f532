"""The steps that Beam's workers run: inspect, plan, write a shard.

Only names and numbers travel between workers; audio goes from the source file into the shard.
"""

import collections
from collections.abc import Callable
import contextlib
import dataclasses
import functools
import glob
import hashlib
import os
import posixpath
import re
import uuid

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
import cloudpickle

from data_prep import audio, plans, progress, report
from data_prep.corpora import Utterance, plural, printable
from data_prep.mixing import stable_hash
from fgsep_jax import files
from fgsep_jax.data import records

SHARD_BYTES = 128 << 20
MIN_SHARDS = 8  # so that a small data set still keeps several workers busy
EXAMPLES_A_SHARD = 32  # but no shard is made for fewer
# Beside shards, indices and the completeness marker.
METADATA_FILES = ('dataset_info.json', 'features.json', 'report.json', 'report.md')
FILES = 'files.json'  # in the staging folder: what in the output folder a data set's job wrote
FEW_TO_TRAIN_ON, FEW_TO_SCORE, FEW_SPEAKERS = 100, 10, 5  # below these the report says so
UNWRITABLE = 'cannot be written to'
LIMITS = {'rate too low': '--sample_rate', 'too short': '--min_seconds'}  # kind of fault: flag


@dataclasses.dataclass(frozen=True)
class Job:
    """All that the workers need; pickled into the staging folder, not into the pipeline's graph.

    Attributes: see `run`.
    """

    name: str
    utterances: list[Utterance]
    sample_rate: int
    inspect: Callable
    plan: Callable
    mix: Callable
    output_dir: str
    metadata: dict
    notes: Callable | None = None
    told: tuple[str, ...] = ()
    beside: dict = dataclasses.field(default_factory=dict)


def rename(temporary: str, path: str) -> None:
    """Give what is written its name; unlike Beam's, a local error says its number."""
    if '://' in path:
        FileSystems.rename([temporary], [path])
    else:
        files.refuse_links(*os.path.split(path))
        os.replace(temporary, path)


def write_whole(path: str, contents: bytes) -> None:
    """Write beside, then rename, so that a file under its own name is whole."""
    if '://' not in path:
        return files.write({path: contents})
    temporary = f'{path}.tmp-{uuid.uuid4().hex}'
    with FileSystems.create(temporary, 'application/octet-stream') as file:
        file.write(contents)
    rename(temporary, path)


@functools.lru_cache(maxsize=1)
def load_job(job_path: str) -> Job:
    """The job that a file in the staging folder holds, read once a process."""
    with FileSystems.open(job_path, 'application/octet-stream') as file:
        return cloudpickle.loads(file.read())


def _staging(job_path: str) -> str:
    return posixpath.dirname(job_path)


def refuse(job_path: str, message: str) -> None:
    """Leave word for `run`: an error raised in a worker would come out as pages of Beam's."""
    write_whole(f'{job_path}.refused', message.encode(errors='backslashreplace'))


def unwritable(error: OSError, output_dir: str) -> str:
    """Why a local folder cannot be written to; counted for `run`, as raising it would print pages
    of Beam's, and a full disk takes no more word of it.

    Raises:
        error: the folder is not local, and a runner may try again.
    """
    if '://' in output_dir:
        raise error
    reason = printable((error.strerror if error.errno else None) or str(error))[:200]
    Metrics.counter(UNWRITABLE, reason).inc()
    return reason


def read_refusal(job_path: str) -> str:
    """What `refuse` left, or nothing."""
    path = f'{job_path}.refused'
    if not FileSystems.exists(path):
        return ''
    with FileSystems.open(path, 'application/octet-stream') as file:
        return file.read().decode()


def listing(folder: str) -> list[str]:
    """Names of the files in a folder, whatever its own name is (Beam takes it for a pattern)."""
    if '://' not in folder:
        return [one.name for one in os.scandir(folder) if not one.is_dir(follow_symlinks=False)]
    found = FileSystems.match([FileSystems.join(glob.escape(folder), '*')])[0].metadata_list
    return [posixpath.basename(m.path) for m in found if not m.path.endswith('/')]


def delete(folder: str, name: str) -> None:
    """Delete one file of a folder."""
    path = FileSystems.join(folder, name)
    if '://' in folder:
        FileSystems.delete([glob.escape(path)])
    else:
        os.remove(path)


def read_json(path: str) -> dict:
    """The object in a file; an empty one where there is none."""
    with contextlib.suppress(OSError):
        if '://' not in path:
            return files.read_json(path, OSError)
        with FileSystems.open(path, 'application/octet-stream') as file:
            return files.parse_json(file.read(), OSError, where=path)
    return {}


def write_list(staging: str, names: list[str]) -> None:
    """Say which files in the output folder are a data set's: nothing else is ever deleted there."""
    write_whole(FileSystems.join(staging, FILES), files.to_json({'files': names}).encode())


def own_files(output_dir: str, staging: str) -> list[str]:
    """Files of an earlier data set in `output_dir`, the completeness marker first.

    They are those that its dataset.json tells of, or, where it did not get so far, its list. A
    dataset.json without name, splits and schema_version is somebody else's.
    """
    if not FileSystems.exists(output_dir):
        return []
    metadata = read_json(FileSystems.join(output_dir, records.DATASET_FILE))
    name, splits = metadata.get('name'), metadata.get('splits')
    listed = set()
    if isinstance(name, str) and isinstance(splits, dict) and 'schema_version' in metadata:
        listed |= {records.DATASET_FILE, *METADATA_FILES, *map(records.index_name, splits)}
    else:
        splits = {}
    listed.update(map(str, read_json(FileSystems.join(staging, FILES)).get('files', ())))

    def is_ours(entry):
        # Of a job that was killed, some are unfinished.
        entry = re.sub(r'\.tmp-[0-9a-f]{32}$', '', entry).removeprefix(files.PARTIAL)
        shard = re.search(r'\.tfrecord-(\d{5,})-of-(\d{5,})$', entry)
        return entry in listed or (
            shard is not None
            and any(
                entry == records.shard_name(name, split, int(shard[1]), int(shard[2]))
                for split, one in splits.items()
                if isinstance(one, dict) and one.get('shards') == int(shard[2])
            )
        )

    found = [entry for entry in listing(output_dir) if is_ours(entry)]
    return sorted(found, key=lambda entry: entry != records.DATASET_FILE)


class Inspect(beam.DoFn):
    """Index of an utterance -> audio.Inspected."""

    def __init__(self, job_path: str):
        self.job_path = job_path

    def setup(self):
        self.job = load_job(self.job_path)
        self.ticker = progress.Ticker(_staging(self.job_path), 'inspect')

    def process(self, i):
        result = self.job.inspect(self.job.utterances[i])
        Metrics.counter('inspect', result.problem or 'good').inc()
        self.ticker.tick()
        same = result.item == self.job.utterances[i]
        yield i, dataclasses.replace(result, item=None) if same else result

    def finish_bundle(self):
        self.ticker.flush()


def assign_shards(specs: list[plans.MixtureSpec]) -> list[tuple[str, int, int, list]]:
    """(split, shard, shards, specs sorted by id) of every shard, empty ones too."""
    splits = {}
    for spec in specs:
        splits.setdefault(spec.split, []).append(spec)
    work = []
    for split, members in sorted(splits.items()):
        size = sum(2 * len(spec.clips) * spec.samples for spec in members)
        most = -(-len(members) // EXAMPLES_A_SHARD)
        count = max(-(-size // SHARD_BYTES), min(MIN_SHARDS, most))
        shards = [[] for _ in range(count)]
        for spec in sorted(members, key=lambda spec: spec.id):
            shards[stable_hash(spec.id) % count].append(spec)
        work += [(split, shard, count, rows) for shard, rows in enumerate(shards)]
    return work


def check_unique(names: list[str], what: str) -> None:
    """Refuse names of which one stands there twice."""
    if len(set(names)) < len(names):
        seen = set()
        twice = sorted({name for name in names if name in seen or seen.add(name)})
        raise ValueError(f'{what} ids must be unique; repeated: {len(twice)}, e.g. {twice[:3]}')


def kinds(skipped: list[dict]) -> str:
    """How many were skipped for what, an example of each, and the flag that rules it."""
    told = []
    for kind, count in report.by_kind(skipped).items():
        detail = next(one['detail'] for one in skipped if one['kind'] == kind)
        flag = LIMITS.get(kind)
        told.append(f'{kind}: {count} (e.g. {detail}{f"; see {flag}" if flag else ""})')
    return ', '.join(told)


def why_skipped(inspected: list[audio.Inspected]) -> str:
    """The end of a refusal: how many files were skipped for what, and the flag that rules it."""
    skipped = skipped_files(inspected)
    return f'; skipped files: {kinds(skipped)}' if skipped else ''


def few(job: Job, specs: list[plans.MixtureSpec]) -> list[str]:
    """Splits that came out small without having been asked for so, with the flags that help."""
    flags, told = job.metadata.get('config', {}), []
    unit = job.metadata.get('source_unit', 'speakers')
    for split in sorted({spec.split for spec in specs}):
        members = [spec for spec in specs if spec.split == split]
        speakers = {clip.source_id for spec in members for clip in spec.clips}
        seconds = sum(spec.samples for spec in members) / job.sample_rate
        training = split == 'train'
        part = split if split in ('train', 'validation') else 'test'
        counts = [flag for flag in (f'{part}_pairs', f'{part}_mixtures') if flag in flags]
        people = plural(len(speakers), unit.removesuffix('s'))
        asked = any(flags[flag] is not None for flag in counts)
        ways = []
        if not asked and len(members) < (FEW_TO_TRAIN_ON if training else FEW_TO_SCORE):
            ways += [f'--{flag}=N makes more of the same files' for flag in counts]
            if flags.get('max_seconds') == 0 and seconds > 10 * len(members):
                ways.append('--max_seconds=4 cuts long files into several')
            what = f'{plural(len(members), "mixture")} of {people}, {seconds / 60:.1f} minutes'
        elif len(speakers) < FEW_SPEAKERS and training:
            what = people
        else:
            continue
        if len(speakers) < FEW_SPEAKERS and 'test_fraction' in flags:
            ways.append(f'--validation_fraction, --test_fraction deal the {unit}')
        way = f'; {"; ".join(ways)}' if ways else ''
        told.append(f'split {split} has only {what}{way}')
    return told


def hardly_drawn(
    job: Job, inspected: list[audio.Inspected], specs: list[plans.MixtureSpec]
) -> list[str]:
    """Splits whose mixtures hold fewer than half of those who have usable files there."""
    there, drawn, told = {}, {}, []
    for one in inspected:
        if not one.problem:
            there.setdefault(one.item.split, set()).add(one.item.speaker)
    for spec in specs:
        drawn.setdefault(spec.split, set()).update(clip.source_id for clip in spec.clips)
    unit = job.metadata.get('source_unit', 'speakers')
    flags = job.metadata.get('config', {})
    for split in sorted(drawn.keys() & there):
        have, count = len(drawn[split]), len(there[split])
        if 2 * have < count:
            ways = [x for x in (f'{split}_pairs', f'{split}_mixtures') if x in flags]
            way = ''.join(f'; --{flag}=N draws more' for flag in ways)
            told.append(f'the mixtures of split {split} hold {have} of its {count} {unit}{way}')
    return told


def with_forms(job: Job, inspected: list[audio.Inspected]) -> Job:
    """The job, which knows what recordings in several forms ended with: beside what it takes lie
    the bad forms, and no longer those that stand in for them."""
    used = {printable(one.item.path): one.passed_over for one in inspected if one.passed_over}
    if not used:
        return job
    counted = {one['path'] for one in job.beside.get('problems', [])}
    audio_files = collections.Counter(job.beside.get('audio', {}))
    audio_files.subtract(posixpath.splitext(path)[1].lower() for path in used.keys() - counted)
    problems = [one for one in job.beside.get('problems', []) if one['path'] not in used]
    for path, bad in used.items():
        for one in skipped_files(bad):
            taken = f'{posixpath.basename(path)} is taken instead'
            problems.append({**one, 'detail': f'{one["detail"]}; {taken}'})
    beside = {'audio': dict(+audio_files), 'problems': sorted(problems, key=lambda x: x['path'])}
    return dataclasses.replace(job, beside={**job.beside, **beside})


def warnings(
    job: Job, inspected: list[audio.Inspected], specs: list[plans.MixtureSpec]
) -> list[str]:
    """What was lost before mixing: files, and whose files are all lost; and what is very small."""
    told = []
    skipped = skipped_files(inspected)
    if skipped:
        told.append(f'skipped {len(skipped)} of {plural(len(inspected), "file")}: {kinds(skipped)}')
    found = {}
    for one in job.beside.get('problems', []):
        found.setdefault(one['kind'], []).append(one)
    for kind, some in found.items():
        rest = f'; and {len(some) - 1} more of this kind, see report.json' if some[1:] else ''
        told.append(f'{some[0]["path"]} is skipped: {kind} ({some[0]["detail"]}){rest}')
    groups = {}
    for one in inspected:  # a sound's recording is mostly one file: its class is what matters
        groups.setdefault(one.item.owner, []).append(one)
    lost = {key: some for key, some in groups.items() if all(one.problem for one in some)}
    told += [
        f'{key} ends with nothing, {plural(len(some), "file")} skipped: '
        f'{kinds(skipped_files(some))}'
        for key, some in sorted(lost.items())[: report.SHOWN]
    ]
    if len(lost) > report.SHOWN:
        told.append(f'{len(lost) - report.SHOWN} more end with nothing, see the skipped files')
    return [*told, *job.told, *few(job, specs), *hardly_drawn(job, inspected, specs)]


def make_plan(
    job: Job, inspected: list[audio.Inspected]
) -> tuple[list[plans.MixtureSpec], list[plans.Lost]]:
    """The job's plan for the good ones, and the mixtures that it had to leave out.

    Raises:
        ValueError: if a split cannot be made; it also says why files were skipped.
    """
    try:
        planned = job.plan([one for one in inspected if not one.problem])
        lost = [one for one in planned if isinstance(one, plans.Lost)]
        specs = [one for one in planned if not isinstance(one, plans.Lost)]
        empty = sorted({one.split for one in lost} - {one.split for one in specs})
        if empty:
            members = [one for one in lost if one.split == empty[0]]
            raise ValueError(
                f'split {empty[0]!r}: none of its {plural(len(members), "mixture")} can be made,'
                ' e.g. '
                f'{members[0].id}: {members[0].detail}; --splits names those to make'
            )
        if not specs:
            good = sum(not one.problem for one in inspected)
            raise ValueError(f'no mixtures: {good} of {plural(len(inspected), "file")} usable')
    except ValueError as error:
        raise ValueError(f'{error}{why_skipped(inspected)}') from error
    check_unique([f'{spec.split}/{spec.id}' for spec in specs], 'mixture')
    return specs, lost


class Plan(beam.DoFn):
    """All inspections -> shards of specs (main output) and what was found (`files`).

    An earlier data set goes as soon as the plan stands. Without a plan nothing is touched: there
    are no shards, and `refuse` says why.
    """

    def __init__(self, job_path: str):
        self.job_path = job_path

    def process(self, inspections):
        job = load_job(self.job_path)
        inspected = [
            result if result.item else dataclasses.replace(result, item=job.utterances[i])
            for i, result in sorted(inspections, key=lambda pair: pair[0])
        ]
        job = with_forms(job, inspected)
        try:
            specs, lost = make_plan(job, inspected)
        except ValueError as error:
            refuse(self.job_path, str(error))
            yield beam.pvalue.TaggedOutput('files', {})
            return
        work = assign_shards(specs)
        try:
            self._make_room(job, work)
        except OSError as error:
            unwritable(error, job.output_dir)
            yield beam.pvalue.TaggedOutput('files', {})
            return
        progress.write_total(_staging(self.job_path), 'mix', len(specs))
        good = [one for one in inspected if not one.problem]
        notes = job.notes(good, specs) if job.notes else {}
        notes = {
            **notes,
            'Warnings': [*warnings(job, inspected, specs), *notes.get('Warnings', [])],
        }
        found = _summarise(job, inspected)
        found |= {'notes': notes, 'lost': [dataclasses.asdict(one) for one in lost]}
        yield beam.pvalue.TaggedOutput('files', found)
        yield from work

    def _make_room(self, job: Job, work: list[tuple]) -> None:
        staging = _staging(self.job_path)
        earlier = own_files(job.output_dir, staging)
        new = [records.shard_name(job.name, *one[:3]) for one in work]
        new += [records.DATASET_FILE, *METADATA_FILES]
        new += [records.index_name(split) for split in sorted({one[0] for one in work})]
        # Killed at any instant, the list knows old and new files alike.
        write_list(staging, sorted({*earlier, *new}))
        for name in earlier:  # only now is it sure that a new one can be made
            delete(job.output_dir, name)


def skipped_files(inspected: list[audio.Inspected]) -> list[dict]:
    """What is said of each file that is left out: name, path, kind of fault and detail."""
    return [
        {
            'name': one.item.id,
            'path': printable(one.item.path),
            'kind': one.problem,
            'detail': one.detail,
        }
        for one in inspected
        if one.problem
    ]


def _summarise(job: Job, inspected: list[audio.Inspected]) -> dict:
    good = [one for one in inspected if not one.problem]
    converted = [note for one in good for note in one.converted]
    return {
        'total': len(inspected),
        'good': len(good),
        'converted': {note: converted.count(note) for note in sorted(set(converted))},
        'rms_db': report.histogram((one.rms_db for one in good), width=2.0),
        'skipped': [*skipped_files(inspected), *job.beside.get('problems', [])],
        'beside': {key: value for key, value in job.beside.items() if key != 'problems'},
    }


class WriteShard(beam.DoFn):
    """A shard of specs -> a file, and the rows and numbers that describe it; or why a worker cannot
    write, which then writes no more."""

    def __init__(self, job_path: str):
        self.job_path = job_path

    def setup(self):
        self.job = load_job(self.job_path)
        self.ticker = progress.Ticker(_staging(self.job_path), 'mix')
        self.unwritable = ''

    def process(self, work):
        split, shard, num_shards, specs = work
        name = records.shard_name(self.job.name, split, shard, num_shards)
        path = FileSystems.join(self.job.output_dir, name)
        temporary = f'{path}.tmp-{uuid.uuid4().hex}'
        try:
            numbers = {} if self.unwritable else self._write(specs, shard, temporary)
            if numbers:
                rename(temporary, path)
        except OSError as error:
            self.unwritable = unwritable(error, self.job.output_dir)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        self.ticker.flush()
        if self.unwritable:
            yield {'unwritable': self.unwritable}
        else:
            yield {'split': split, 'shard': shard, 'num_shards': num_shards, **numbers}

    def _write(self, specs, shard, path):
        rows, stats, skipped, speakers = [], [], [], set()
        digest, offset = hashlib.sha256(), 0
        with FileSystems.create(path, 'application/octet-stream') as file:
            for spec in specs:
                self.ticker.tick()
                try:
                    example = self.job.mix(spec)
                except audio.BadInput as bad:
                    Metrics.counter('mix', bad.kind).inc()
                    skipped.append({'name': spec.id, 'kind': bad.kind, 'detail': bad.detail})
                    continue
                payload = records.encode(example)
                digest.update(payload)
                size = records.write_record(file, payload)
                samples, crc = example.sources_ST.shape[1], records.checksum(payload)
                rows.append((shard, offset, size, samples, crc))
                offset += size
                speakers.update(example.source_ids)
                stats.append(
                    (
                        example.snr_db,
                        example.sources_ST.shape[1] / example.sample_rate,
                        [report.rms_db(source_T) for source_T in example.sources_ST],
                        report.rms_db(example.mixture_T),
                        example.adaptation_overlap,
                    )
                )
        return {
            'rows': rows,
            'stats': stats,
            'skipped': skipped,
            'speakers': sorted(speakers),
            'digest': digest.hexdigest(),
        }
