"""What a job did, as numbers (report.json) and as a page (report.md)."""

import collections
from collections.abc import Iterable
import itertools
import math
import posixpath

from data_prep.mixtures import NOISE, Mixture
from data_prep.recordings import Recording, grouped
from data_prep.scenes import TEST_SUBSETS, sounds_of
from data_prep.tables import printable
from fgsep_jax.names import counted, markdown, markdown_table

SHOWN = 20  # skipped files of a kind listed in report.md; report.json lists all
FEW_TO_TRAIN_ON, FEW_TO_SCORE, FEW_SPEAKERS = 100, 10, 5  # below these the report says so
HISTOGRAMS = {  # of the examples' numbers: width of a bin, unit, title in report.md
    'snr_db': (1.0, 'dB', 'SNR'),
    'seconds': (1.0, 's', 'length'),
    'source_rms_db': (2.0, 'dB', 'level of the sources (RMS re full scale)'),
    'noise_rms_db': (2.0, 'dB', 'level of the noise (RMS re full scale)'),
    'mixture_rms_db': (2.0, 'dB', 'level of the mixtures (RMS re full scale)'),
    'adaptation_overlap': (0.1, '', ''),
}
LIMITS = {'rate too low': '--sample_rate', 'too short': '--min_seconds'}  # kind of fault: flag


def histogram(values: Iterable[float], *, width: float) -> dict[str, int]:
    """Counts in bins of `width`, keyed by the lower edge; non-finite values under `none`."""
    counts = collections.Counter(
        math.floor(value / width) * width if math.isfinite(value) else None for value in values
    )
    keys = sorted(key for key in counts if key is not None)
    rows = {f'{key:g}': counts[key] for key in keys}
    if None in counts:
        rows['none'] = counts[None]
    return rows


def duration(hours: float) -> str:
    """`1.25 hours`; below a tenth of one `4.2 minutes`, below a minute `38 seconds`."""
    if hours >= 0.1:
        return f'{hours:.2f} hours'
    seconds = 3600 * hours
    return f'{seconds / 60:.1f} minutes' if seconds >= 60 else counted(round(seconds), 'second')


def by_kind(skipped: list[dict]) -> dict[str, int]:
    """How many of `skipped` there are of each kind."""
    return dict(sorted(collections.Counter(bad['kind'] for bad in skipped).items()))


def _bars(rows: dict[str, int], unit: str) -> list[str]:
    most = max(rows.values(), default=1)
    lines = [
        f'{edge:>7} {unit}  {count:>8}  {"#" * max(1, round(40 * count / most))}'
        for edge, count in rows.items()
    ]
    return ['```', *lines, '```']


def _note(note: list[str] | dict[str, dict]) -> list[str]:
    """Lines as a list, rows as a table."""
    if not note:
        return ['None.']
    if isinstance(note, list):
        return [f'- {markdown(line)}' for line in note]
    columns = list(next(iter(note.values())))
    rows = [[name, *(row[column] for column in columns)] for name, row in note.items()]
    return [markdown_table(['', *columns], rows, [False] * (len(columns) + 1))]


def beside(about: dict) -> list[str]:
    """Lines on what lies in the trees beside the files of the job; see `recordings.unused`."""
    lines = [
        f'- {markdown(suffix)}: {counted(count, "file")}, no audio'
        for suffix, count in about.get('other', {}).items()
    ]
    lines += [
        f'- {markdown(suffix)}: {counted(count, "file")} not where, or not named, as this job '
        f'expects, e.g. {markdown(about["example"])}'
        for suffix, count in about.get('audio', {}).items()
    ]
    if about.get('of_no_split'):
        lines.append(f'- {markdown(_of_no_split(about))}')
    if about.get('companions'):
        lines.append(
            f'- {counted(about["companions"], "companion")} (hidden, system and thumbnail files '
            'and folders), not looked into'
        )
    return lines


def _of_no_split(about: dict) -> str:
    return (
        f'{counted(about["of_no_split"], "file")} of no split, as this job reads the corpus: left '
        f'out, e.g. {about["no_split_example"]}'
    )


def to_markdown(report: dict) -> str:
    """The report as a page."""
    lines = [f'# {report["name"]}', '', report['snr_rule'], '']
    unit = report.get('source_unit', 'speakers')
    heads = ['split', 'mixtures', 'length', unit, 'shards']
    rows = [
        [split, x['examples'], duration(x['hours']), x['num_speakers'], x['shards']]
        for split, x in report['splits'].items()
    ]
    lines.append(markdown_table(heads, rows, [False, *[True] * 4]))
    for split, about in report['splits'].items():
        if 'adaptation_disjoint' in about:
            share = 100 * about['adaptation_disjoint']
            lines += ['', f'{split}: {share:.1f} % of adaptation segments outside their mixture.']
    for title, note in report.get('notes', {}).items():
        lines += ['', f'## {title}', '', *_note(note)]
    files = report['files']
    lines += ['', '## Files', '', f'{files["good"]} of {files["total"]} used.']
    for note, count in files['converted'].items():
        lines.append(f'- {markdown(note)}: {count}')
    lines += beside(files.get('beside', {}))
    for title in ('Skipped files', 'Skipped mixtures'):
        key = title.lower().replace(' ', '_')
        lines += ['', f'## {title}', '']
        if not report[key]:
            lines.append('None.')
        for kind, count in by_kind(report[key]).items():
            lines.append(f'- {markdown(kind)}: {count}')
            named = [bad for bad in report[key] if bad['kind'] == kind]
            lines += [
                f'  - {markdown(bad["name"])}: {markdown(bad["detail"])}' for bad in named[:SHOWN]
            ]
            if count > SHOWN:
                lines.append(f'  - and {count - SHOWN} more, see report.json')
    for split, about in report['splits'].items():
        for name, (_, unit, title) in HISTOGRAMS.items():
            if title and name in about['histograms']:
                lines += ['', f'## {split}: {title}', '', *_bars(about['histograms'][name], unit)]
    return '\n'.join(lines) + '\n'


def skipped_files(inspected: Iterable[Recording]) -> list[dict]:
    """What is said of each file that is left out: name, path, kind of fault and detail."""
    return [
        {'name': x.id, 'path': printable(x.path), 'kind': x.problem, 'detail': x.detail}
        for x in inspected
        if x.problem
    ]


def kinds(skipped: list[dict]) -> str:
    """How many were skipped for what, an example of each, and the flag that rules it."""
    lines = []
    for kind, count in by_kind(skipped).items():
        detail = next(bad['detail'] for bad in skipped if bad['kind'] == kind)
        flag = LIMITS.get(kind)
        lines.append(f'{kind}: {count} (e.g. {detail}{f"; see {flag}" if flag else ""})')
    return ', '.join(lines)


def with_forms(beside: dict, forms: list[list[Recording]]) -> dict:
    """What lies beside the recordings, see `recordings.unused`, once they are looked into.

    Bad forms of a recording do, and no longer those that stand in for them.

    Args:
        beside: what is not taken.
        forms: of each recording, those that are bad, and the one that counts.
    """
    taken = {printable(of_one[-1].path): of_one[:-1] for of_one in forms if of_one[1:]}
    if not taken:
        return beside
    counted = {bad['path'] for bad in beside.get('problems', [])}
    audio_files = collections.Counter(beside.get('audio', {}))
    audio_files.subtract(posixpath.splitext(path)[1].lower() for path in taken.keys() - counted)
    problems = [bad for bad in beside.get('problems', []) if bad['path'] not in taken]
    for path, bad_forms in taken.items():
        for bad in skipped_files(bad_forms):
            instead = f'{posixpath.basename(path)} is taken instead'
            problems.append({**bad, 'detail': f'{bad["detail"]}; {instead}'})
    problems.sort(key=lambda bad: bad['path'])
    return {**beside, 'audio': dict(+audio_files), 'problems': problems}


def warnings(
    inspected: list[Recording],
    rows: list[Mixture],
    *,
    beside: dict,
    sample_rate: int,
    flags: dict,
    unit: str,
    also: Iterable[str] = (),
) -> list[str]:
    """What was lost before mixing: files, and whose files are all lost; and what is very small.

    Args:
        inspected: what was looked into, good and bad.
        rows: the mixtures that will be made.
        beside: what else lies in the trees.
        sample_rate: of the data set.
        flags: of the job, {name: value}.
        unit: what sources come from, e.g. `speakers`.
        also: lines that come before those on what is small.
    """
    lines = []
    skipped = skipped_files(inspected)
    if skipped:
        lines.append(
            f'skipped {len(skipped)} of {counted(len(inspected), "file")}: {kinds(skipped)}'
        )
    by_fault = grouped(beside.get('problems', []), lambda bad: bad['kind'])
    for kind, (bad, *more) in by_fault.items():
        rest = f'; and {len(more)} more of this kind, see report.json' if more else ''
        lines.append(f'{bad["path"]} is skipped: {kind} ({bad["detail"]}){rest}')
    if beside.get('of_no_split'):
        lines.append(_of_no_split(beside))
    # A sound's recording is mostly one file: its class is what matters.
    groups = grouped(inspected, lambda x: x.owner)
    lost = {key: files for key, files in groups.items() if all(x.problem for x in files)}
    lines += [
        f'{key} ends with nothing, {counted(len(files), "file")} skipped: '
        f'{kinds(skipped_files(files))}'
        for key, files in sorted(lost.items())[:SHOWN]
    ]
    if len(lost) > SHOWN:
        lines.append(f'{len(lost) - SHOWN} more end with nothing, see the skipped files')
    by_split = grouped(rows, lambda row: row.split)
    sources = {
        split: {source.source_id for row in members for source in row.wanted}
        for split, members in by_split.items()
    }
    few = [
        _few(split, by_split[split], sources[split], flags, unit, sample_rate)
        for split in sorted(by_split)
    ]
    usable = _usable([x for x in inspected if not x.problem])
    return [*lines, *also, *filter(None, few), *_hardly_drawn(usable, sources, flags, unit)]


def _few(
    split: str, rows: list[Mixture], sources: set[str], flags: dict, unit: str, sample_rate: int
) -> str:
    """A line on a split that came out small, with the flags that help.

    It is empty where the split is large enough, or was asked for so.
    """
    seconds = sum(row.samples for row in rows) / sample_rate
    training = split == 'train'
    counts = _counts(split, flags)
    people = counted(len(sources), unit.removesuffix('s'))
    given = any(flags[flag] is not None for flag in counts)
    ways = []
    if not given and len(rows) < (FEW_TO_TRAIN_ON if training else FEW_TO_SCORE):
        ways += [f'--{flag}=N makes more of the same files' for flag in counts]
        if flags.get('max_seconds') == 0 and seconds > 10 * len(rows):
            ways.append('--max_seconds=4 cuts long files into several')
        what = f'{counted(len(rows), "mixture")} of {people}, {seconds / 60:.1f} minutes'
    elif len(sources) < FEW_SPEAKERS and training:
        what = people
    else:
        return ''
    if len(sources) < FEW_SPEAKERS and 'test_fraction' in flags:
        ways.append(f'--validation_fraction, --test_fraction deal the {unit}')
    return f'split {split} has only {what}{"".join(f"; {way}" for way in ways)}'


def _counts(split: str, flags: dict) -> list[str]:
    """Flags of the job that say how many mixtures a split has."""
    place = split if split in ('train', 'validation') else 'test'
    return [flag for flag in (f'{place}_pairs', f'{place}_mixtures') if flag in flags]


def _usable(good: list[Recording]) -> dict[str, set[str]]:
    """{split: who has usable files there}, of subsets of test sounds, too."""
    usable = collections.defaultdict(set)
    for x in good:
        for split in x.split.split('+') if x.role != NOISE else ():
            usable[split].add(x.source_id)
    sounds = [x for x in good if x.seen is not None]
    for split in TEST_SUBSETS:
        of_roles = itertools.chain.from_iterable(sounds_of(sounds, split).values())
        usable.setdefault(split, {sound.source_id for sound in of_roles})
    return usable


def _hardly_drawn(
    usable: dict[str, set[str]], sources: dict[str, set[str]], flags: dict, unit: str
) -> list[str]:
    """Splits whose mixtures hold fewer than half of those who have usable files there."""
    lines = []
    for split in sorted(sources.keys() & usable):
        have, count = len(sources[split]), len(usable[split])
        if 2 * have < count:
            way = ''.join(f'; --{flag}=N draws more' for flag in _counts(split, flags))
            lines.append(f'the mixtures of split {split} hold {have} of its {count} {unit}{way}')
    return lines
