"""Run folders on disk. What is damaged is named in `Run.problems` and left out."""

import array
import codecs
import collections
import contextlib
import csv
import dataclasses
import functools
import glob
import io
import json
import os
import re
from typing import NamedTuple
import zipfile

import numpy as np

from fgsep_jax import buckets, config as config_lib, files, names
from fgsep_jax.report import sound

NAMES = {
    'convtasnet': 'Conv-TasNet',
    'convtasnet_big': 'Big-Conv-TasNet',
    'convtasnet_prelu': 'Deep w/ PReLU',
    'convtasnet_dilated': 'Deep w/ dilation',
    'convtasnet_glu': 'Deep w/ GLU',
    'yang': 'Yang et al.',
    'furcapy': 'FurcaPy',
    'sepformer': 'SepFormer',
    'sepformer_prelu': 'SepFormer w/ PReLU',
    'sepformer_glu': 'SepFormer w/ GLU',
    'blstm_m1': 'M1',
    'blstm_m1_plus': 'M1+',
    'blstm_m2': 'M2',
    'blstm_m2_plus': 'M2+',
}
READ = buckets.beside(  # of runs in a bucket
    'config.json',
    r'training_data\.json|metrics\.jsonl|(gates|evaluation|audio)/.*'
    r'|checkpoints/\d+/position/metadata',
    below=True,
)
IDENTITY = ('task', 'experiment', 'preset', 'seed', 'data.dir')  # keys that every config.json has
SEEN = ('speakers', 'speakers_trained_on')  # of the split; how many of them training data have
# What results must have in common to stand beside one another.
MADE_BY = ('data_fingerprint', 'filter_taps', 'sample_rate', 'resampled_from', 'rules', 'targets')
ID, NUMBERS = ('id', 'source'), ('seconds', 'snr_db')  # columns that every result has
TEXTS = ('speaker', 'sex', 'class', 'recording', 'noise')  # of a source; those that there are
# Systems beside the model. IRM: ideal ratio mask; paper 1's is the one on mel bands.
SYSTEMS = {
    'untrained': 'Untrained',
    'ideal_ratio_mask': 'IRM, STFT bins',
    'ideal_mel_mask': 'IRM, mel bands',
}
RESULT = ('summary.json', 'examples.csv')  # files of one
_MARKS = ('training_data.json',), ('checkpoints', 'metrics.jsonl')  # of a run, besides config.json
_FAR = 40.0  # dB, beyond which scores of one estimate differ from batch to batch


def _all(is_right):
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


# What a value of a JSON file must be: (whether it is, in words).
_TEXT = (lambda value: isinstance(value, str), 'a text')
_NUMBER = (files.is_number, 'a number')
_COUNT = (lambda value: type(value) is int and value >= 0, 'a whole number from 0 on')
_OBJECT = (lambda value: isinstance(value, dict), 'an object')
_MARK = (lambda value: type(value) in (int, str, type(None)), 'a whole number, a text or null')
_TEXT_OR_NULL = (lambda value: isinstance(value, str | None), 'a text or null')
_NAME = (  # half characters of a folder's name are none
    lambda value: _TEXT[0](value) and '' != value == value.encode(errors='ignore').decode(),
    'a name',
)
# What a report reads of the JSON files beside config.json; what ends in '?' may be missing.
_SUMMARY = {
    **dict.fromkeys(('system', 'preset', 'data_set', 'split', 'results?'), _TEXT),
    **dict.fromkeys(('step', 'parameters', 'examples', *(f'{key}?' for key in SEEN)), _COUNT),
    **dict.fromkeys(('metrics', 'mixture?'), _OBJECT),
    **dict.fromkeys((f'{key}?' for key in MADE_BY), _MARK),
    'skipped?': (_all(_COUNT[0]), 'an object of whole numbers from 0 on'),
}
_TRAINING_DATA = {'name': _NAME, 'train?': _OBJECT}
_TRAINED_ON = {'speakers?': _COUNT, 'fingerprint?': _TEXT_OR_NULL}
_EXAMPLE = {
    **dict.fromkeys(('id', 'data_set'), _TEXT),
    **dict.fromkeys(('snr_db', 'seconds'), _NUMBER),
    'files': _OBJECT,
}
_ROLES = {  # of a file of an example
    'mixture': {},
    'reference': {'source': _TEXT},
    'estimate': {
        **dict.fromkeys(('source', 'system'), _TEXT),
        'scores': (_all(_NUMBER[0]), 'an object of numbers'),
    },
}
_FILE = {
    'role': (lambda role: role in [*_ROLES], f'one of {", ".join(_ROLES)}'),
    **dict.fromkeys(('digest?', 'source?', 'system?'), _TEXT),
}


class ResultsError(ValueError):
    """Results that are not there, or that cannot be compared."""


class Result(NamedTuple):
    """One system's scores on one split of a data set.

    Attributes:
      data_set: name of the results, e.g. 'fgbg-c1'.
      system: '' for the run's model, else the name of a baseline.
      summary: content of summary.json.
      columns: {column: array [rows]} of examples.csv, a row an example and source.
    """

    data_set: str
    system: str
    summary: dict
    columns: dict


class Gates(NamedTuple):
    """What a run saved of its first gated layer over training.

    Attributes:
      frames: {step: gate_KN in 0..1} of one utterance; {} without any.
      of: the utterance, e.g. 'test utterance 1234_0.5_77_-0.5'.
      means: {step: mean_N in 0..1 of each channel over a whole split}.
    """

    frames: dict
    of: str
    means: dict


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One run folder.

    Attributes:
      path: of the folder.
      name: its path below the folder that was searched.
      config: {'section.key': value} of config.json.
      trained_on: name of the data set it was trained on.
      training_data: what training_data.json says of its training split: 'speakers' (how many),
        'fingerprint' (of its content); {} where there is none.
      problems: sentences about results that could not be read, filled as they are met.
    """

    path: str
    name: str
    config: dict
    trained_on: str
    training_data: dict
    problems: list = dataclasses.field(default_factory=list)

    @property
    def task(self):
        """'speech' or 'foreground'."""
        return self.config['task']

    @property
    def seed(self):
        """Seed of the run."""
        return self.config['seed']

    @property
    def model(self):
        """The paper's name of the model, or the experiment's where the papers have none."""
        on_bins = self.config.get('model.mask_domain') == 'stft'
        name = NAMES.get(self.config['experiment'], self.config['experiment'])
        return name + ', STFT mask' * on_bins

    @property
    def objective(self):
        """What was minimised, in the papers' words."""
        if self.task == 'foreground':
            return 'equation 5'
        name = self.config.get('loss.name', 'si_snr')
        name = {'si_snr': 'SI-SNR', 'snr': 'SNR'}.get(name, str(name))
        return name + (' + power law' if self.config.get('loss.power_law_weight') else '')

    @functools.cached_property
    def results(self):
        """{(data set, system): Result}; the run's own system is ''."""
        root, read, results = os.path.join(self.path, 'evaluation'), {}, {}
        written = (path for name in RESULT for path in files.find(root, name))
        places = {os.path.dirname(path) for path in written}
        for path in sorted(places, key=lambda path: path.split(os.sep)):  # a data set's together
            folder, _, system = os.path.relpath(path, root).partition(os.sep)
            try:
                read[path] = folder, system, read_result(self.path, folder, system)
            except ResultsError as error:
                self.problems.append(f'{self.name}: {error}')
        taken = {names.part(self.trained_on)}.union(*(_made_in(each[2]) for each in read.values()))
        for path, (folder, system, result) in read.items():
            others = strange(result, system, self.config) or self._other_weights(result.summary)
            wrong = others and f'is not of this run: {others}'
            if folder in taken - _made_in(result):  # a copy has a name that nothing else has
                said = result.summary.get('results', result.summary['data_set'])
                wrong = f'has results on {names.shown(said)}, not {folder}'
            if wrong:
                self.problems.append(
                    f'{self.name}: {path} {wrong}; evaluate again, or move it away'
                )
                continue
            results[result.data_set, result.system] = result
        return results

    def _other_weights(self, summary):
        """In what a summary is of other weights than the run's, in words; '' where nothing says."""
        said, place = summary.get('model_digest'), self.config.get('data.dir')
        position = dict(self._saved.get(summary['step'], {}))
        whole = position.pop('digest', '') == files.checksum(position)
        if said and whole and 'arrays' in position:  # earlier versions wrote none
            own = files.checksum(position['arrays'])
            return '' if said == own else f'model_digest is {said!r:.40}, not {own!r}'
        said = summary.get('trained_on')
        if not self.training_data or not place or not isinstance(said, str):  # of a model file
            return ''
        own = {_last(place), self.trained_on}
        return '' if _last(said) in own else f'trained_on is {said!r:.100}, not {place!r:.100}'

    @functools.cached_property
    def curves(self):
        """{(kind, name): (step_N, value_N)} of metrics.jsonl, e.g. ('validation', 'loss')."""
        saved = self._saved  # first: a training that goes on writes its log before its checkpoint
        noted = len(self.problems)
        curves = read_curves(self.path, self.problems)
        if curves or len(self.problems) == noted:
            if gone := self._gone(curves, saved):
                self.problems.append(f'{self._log} {gone}: it was cut, and so are its curves.')
            elif len(self.problems) == noted and self._is_changed(saved):
                self.problems.append(
                    f'{self._log} is not what was logged up to step {max(saved)}: it is damaged, or'
                    ' was changed.'
                )
        return curves

    @property
    def _log(self):
        return os.path.join(self.path, 'metrics.jsonl')

    @functools.cached_property
    def _saved(self):
        """{step: position} of the checkpoints; {} for one that cannot be read."""
        folder, saved = os.path.join(self.path, 'checkpoints'), {}
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if re.fullmatch(r'[0-9]{1,18}', name):
                    saved[int(name)] = {}
                    with contextlib.suppress(ResultsError):
                        path = os.path.join(folder, name, 'position', 'metadata')
                        saved[int(name)] = files.read_json(path, ResultsError, halves=True)
        return saved

    @property
    def _scored(self):
        """Steps that the model's results are of."""
        return [
            result.summary['step'] for (_, system), result in self.results.items() if not system
        ]

    def _gone(self, curves, saved):
        """What the log does not hold although the run was there, in words; '' where it is whole."""
        scored = self._scored
        last = max((int(step_N[-1]) for step_N, _ in curves.values()), default=0)
        every = max(self.config.get('training.log_steps', 1), 1)
        reached = max((*scored, *saved), default=0)
        if last < max(reached // every * every, min(reached, 1)):  # the first, too
            there = f'ends at step {last}' if last else 'holds no step'
            there = there if os.path.lexists(self._log) else 'is missing'
            return f'{there}, the run was at step {reached}'
        validated = {int(step) for step in curves.get(('validation', 'loss'), [()])[0]}
        lost = {step for step, about in saved.items() if files.is_number(about.get('loss'))}
        # Of what was validated the best is evaluated, and anything else only before that.
        lost |= {step for step in scored if validated and step > min(validated)}
        lost -= validated
        return f'lacks the validation at step {max(lost)}' if lost else ''

    def _is_changed(self, saved):
        """Whether the log does not begin with what the newest checkpoint says was logged."""
        logged = saved[max(saved)].get('logged') if saved else None
        try:
            size, digest = logged
            content = files.read_bytes(self._log, ResultsError, most=1 << 30)
            content = content.removeprefix(codecs.BOM_UTF8)  # which some editors put before a text
            return files.digest(content[:size])[:16] != digest
        except (TypeError, ValueError):  # of a version that did not say so
            return False

    @functools.cached_property
    def gates(self):
        """Gates of the run."""
        # Without a training_data.json the name of its data set is a guess.
        trained_on = self.trained_on if self.training_data else None
        read = read_gates(self.path, self.problems, self.config, trained_on)
        # They are saved at powers of two; where the run was to end, nothing tells.
        reached = max((*self._scored, *self._saved), default=0)
        steps = [0, *(1 << n for n in range(reached.bit_length()))]
        paths = {step: f'{self.path}/gates/{step:09d}.npz' for step in steps if step < reached}
        lost = ', '.join(str(step) for step in paths if not os.path.lexists(paths[step]))
        if lost and read.frames and self.config.get('training.gates'):
            self.problems.append(
                f'{self.path}/gates lacks the gates of step {lost}: they were lost, or not saved.'
            )
        return read

    @functools.cached_property
    def examples(self):
        """{(data set, example id): content of example.json, its folder under 'folder'} of those
        that were scored as the results say."""
        examples = {}
        for place, content in read_examples(self.path, self.problems).items():
            result = self.results.get((content['data_set'], ''))
            if why := result and _unlike_results(content, result):
                self.problems.append(f'{content["folder"]}: its sounds are left out ({why})')
            else:
                examples[place] = content
        return examples


def open_run(path, name=''):
    """Reads what identifies the run in a folder.

    Raises:
      ResultsError: config.json or training_data.json cannot be read, or lacks what it needs.
    """
    path = os.path.expanduser(path)
    try:
        return _open_run(path, name)
    except ResultsError as error:
        raise ResultsError(f'{path} is no readable run folder ({error})') from error


def _open_run(path, name):
    content = files.read_json(os.path.join(path, 'config.json'), ResultsError, halves=True)
    task = content.get('task')
    if not isinstance(task, str) or task not in config_lib.TASKS:
        raise ResultsError(f'config.json has task = {task!r:.60}')
    damaged = files.is_damaged(content)
    content.pop('digest', None)
    content = config_lib.upgraded(content)
    keys = config_lib.pattern(content, parts=False)
    _, wrong = files.misfits(content, keys)
    config = files.flatten(content)
    wrong += [f'{key} is missing' for key in IDENTITY if key not in config]
    if wrong:
        raise ResultsError(f'config.json has {"; ".join(wrong)}')
    config = files.flatten(config_lib.filled(content, keys))  # runs of before are as those of now
    problems, called = [], name or path
    if damaged:
        problems.append(f'{called}: config.json is damaged, its digest does not match.')
    about, data = os.path.join(path, 'training_data.json'), None
    if os.path.lexists(about):
        data = files.read_json(about, ResultsError, halves=True)
    why = _wrong_data(data, config['data.dir'])
    if why:
        data = {'name': _last(config['data.dir'] or 'embedded')}
        problems.append(
            f'{called}: training_data.json is {why}; that it was trained on {data["name"]} is'
            ' taken from the name of its data.dir.'
        )
    else:
        try:
            _check(data, _TRAINING_DATA, f'{about}: ')
            _check(data.get('train', {}), _TRAINED_ON, f'{about}: train.')
        except ValueError as error:
            raise ResultsError(f'{error}; train again, or copy it back') from error
    name = name or os.path.basename(os.path.normpath(path))
    return Run(path, name, config, data['name'], data.get('train', {}), problems)


def _wrong_data(content, place):
    """Why a training_data.json does not count, '' where it does; `place` is the run's data.dir."""
    if content is None:
        return 'missing'
    if files.is_damaged(content):
        return 'damaged, its digest does not match'
    said = content.get('dir')  # '.', '..' and '~' have no name
    if isinstance(said, str) and _last(place).strip('.~') and _last(said) != _last(place):
        return f"another run's, which was trained on {said!r:.100}"
    return ''


def _last(folder):
    """Name of a folder, whatever stands before it."""
    return os.path.basename(os.path.normpath(folder))


def find(folder, problems=None):
    """All runs in a folder and below it, by name.

    Args:
      folder: to search.
      problems: list to which a sentence is added for each folder that is no readable run, lost its
        config.json, or may not be entered; None refuses them.

    Raises:
      ResultsError: there are none, or one is unreadable.
    """
    if not folder:
        raise ResultsError('the name of a folder with runs is empty')
    runs, met, folder = [], [], os.path.expanduser(folder)

    def refused(error):
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        if not gone and os.path.basename(error.filename) != 'lost+found':  # of the file system
            reason = f'{error.filename} cannot be read: {files.why(error)}'
            met.append(f'{reason}. Runs, results and sounds in it are left out.')

    paths = []
    for parent, folders, entries in files.walked(folder, refused):
        there = {*folders, *entries}  # a folder in place of the file is named by whoever reads it
        if 'config.json' in there:
            paths.append(parent)
        elif marks := next((marks for marks in _MARKS if {*marks} <= there), ()):
            met.append(
                f'{parent} holds {" and ".join(marks)} and no config.json: copy it back, or the run'
                ' is left out'
            )
    for path in sorted(paths):
        try:
            name = os.path.relpath(path, folder)  # '.' of a folder that is a run itself
            runs.append(open_run(path, '' if name == os.curdir else name))
        except ResultsError as error:
            met.append(str(error))
    if met and problems is None:
        raise ResultsError('; '.join(met))
    if met and not runs:
        raise ResultsError(f'{folder} holds no readable run: {"; ".join(met)}')
    if not runs:
        raise no_runs(folder)
    if problems is not None:
        problems += met
    return runs


def no_runs(folder):
    """The ResultsError of a folder without a run in it or below."""
    try:
        os.listdir(folder)
    except PermissionError as error:  # of one above it, too
        return ResultsError(f'{folder} cannot be read: {files.why(error)}')
    except (OSError, ValueError):
        return ResultsError(f'there is no folder {folder}')
    return ResultsError(
        f'{folder} holds no runs: no config.json in it or below. Train one with'
        ' `python -m fgsep_jax.main --config=configs/convtasnet_glu.py:demo`'
    )


def strange(result, system, config):
    """In what a Result is not of a run's system, in words, e.g. 'seed is 1, not 0'; '' where it is.

    Args:
      result: what `read_result` gives.
      system: folder that it lies in, below the data set's; who copies one names it as they like.
      config: the run's, with its experiment, preset and seed.
    """
    summary, wanted = result.summary, {key: config[key] for key in ('preset', 'seed')}
    if system in ('', *SYSTEMS):
        wanted['system'] = system or config['experiment']
    return ', '.join(
        f'{key} is {summary[key]!r:.40}, not {value!r:.40}'
        for key, value in wanted.items()
        if summary.get(key, value) != value
    )


def _unlike_results(example, result):
    """Why an example's estimates by the model are not those that were scored; '' where they are.

    Args:
      example: content of example.json.
      result: the model's Result on its data set.
    """
    columns = result.columns
    metrics = [name for name in columns if name in result.summary['metrics']]
    rows = [n for n, name in enumerate(columns['id']) if name == example['id']]
    scored = {(columns['source'][row], ''): row for row in rows}
    for about in example['files'].values():
        row = None
        if about['role'] == 'estimate':
            row = scored.get((about['source'], about['system']))
        for metric in metrics if row is not None else ():
            own = columns[metric][row]
            value = about['scores'].get(metric, own)
            if abs(own) < _FAR and not np.isclose(value, own, rtol=0.01, atol=0.1):
                return (
                    f'{metric} of {about["source"]} is {value:.2f} dB there and {own:.2f} dB in'
                    ' examples.csv; evaluate again'
                )
    return ''


def read_result(run, data_set, system=''):
    """Reads one Result.

    Args:
      run: run folder.
      data_set: folder below evaluation/.
      system: '' for the run's model, else the name of a baseline evaluated beside it.

    Raises:
      ResultsError: it is not there, or cannot be read.
    """
    folder = os.path.join(os.path.expanduser(run), 'evaluation', data_set, system)
    for path in (os.path.join(folder, name) for name in RESULT):
        if not os.path.lexists(path):
            raise ResultsError(f'{path} is missing')
    summary, examples, together = _read_both(folder)
    # Bytes that an evaluation vouches for need no looking at each cell.
    quick = together and 'examples_digest' in summary
    try:
        _check(summary, _SUMMARY, 'summary.json: ')
        if files.is_damaged(summary):
            raise ValueError('summary.json is damaged: its digest does not match')
        columns = (_read_columns if quick else read_examples_csv)(examples, summary['metrics'])
    except (ValueError, csv.Error) as error:
        raise ResultsError(
            f'{folder} cannot be read ({files.why(error)}); evaluate again'
        ) from error
    rows, sources = len(columns['id']), len(set(columns['source']))
    once = len(set(zip(columns['id'], columns['source'])))  # each source of each example
    examples = len(set(columns['id']))
    whole = {once, rows, sources * examples} == {sources * summary['examples']}
    if not whole or examples != summary['examples']:
        raise ResultsError(
            f'{folder}: {names.counted(rows, "row")} in examples.csv for'
            f' {names.counted(sources, "source")}, summary.json says'
            f' {names.counted(summary["examples"], "example")}; evaluate again'
        )
    if not together:
        raise ResultsError(f'{folder}: summary.json is not of this examples.csv; evaluate again')
    return Result(
        _called(summary.get('results', data_set), data_set),
        _called(summary['system'], system) if system else '',
        summary,
        columns,
    )


def _made_in(result):
    """What the folder may be called that a Result was written to; earlier versions did not say."""
    summary = result.summary
    said = [summary['data_set'], f'{summary["data_set"]}-{summary["split"]}']
    return {names.part(name) for name in ([summary['results']] if 'results' in summary else said)}


def _called(name, folder):
    """The name that a folder was made of; its own where it was made of none, or is a copy."""
    return name if names.part(name) == folder else folder


def _read_both(folder):
    """Content of summary.json, bytes of examples.csv, and whether they belong together.

    Between the renames of a new one's two files, and where it was killed there, the summary of the
    new examples has its partial name still.
    """
    path = os.path.join(folder, 'summary.json')
    for _ in range(3):  # they may be replaced while they are read
        table = os.path.join(folder, 'examples.csv')
        examples = files.read_bytes(table, ResultsError, most=1 << 30)
        examples = examples.removeprefix(codecs.BOM_UTF8)
        summaries = [files.read_json(path, ResultsError, finite=False, halves=True)]
        with contextlib.suppress(ResultsError):
            partial = files.partial(path)
            summaries.append(files.read_json(partial, ResultsError, finite=False, halves=True))
        for summary in summaries:
            if summary.get('examples_digest') == files.digest(examples):
                return summary, examples, True
        if 'examples_digest' not in summaries[0]:  # of an earlier version
            return summaries[0], examples, True
    return summaries[0], examples, False


def read_examples_csv(content, metrics):
    """{column: array [rows]} of an examples.csv, a row an example and source.

    Args:
      content: bytes of the file, or of one that an earlier version wrote, a row an example.
      metrics: names of the metrics that it must have.

    Raises:
      ValueError: a row is torn, or a column is missing or no number.
    """
    content.decode(errors='surrogatepass')  # at once, so that a wrong byte is named by its place
    text = io.TextIOWrapper(io.BytesIO(content), 'utf-8', 'surrogatepass', newline='')
    rows = csv.reader(text)
    heads, rows = next(rows, ['id']), [row for row in rows if row]
    if 'id' not in heads:
        raise ValueError('examples.csv has no column id')
    if any(len(row) != len(heads) for row in rows):
        raise ValueError('a row of examples.csv has more or fewer cells than the first')
    given = dict(zip(heads, zip(*rows) if rows else [()] * len(heads)))
    if 'source' not in heads:
        given, metrics = _by_source(given, metrics)
    sources = set(given['source'])
    columns = {
        name: [*map(names.from_cell, given[name])] for name in (*ID, *TEXTS) if name in given
    }
    if 'source' in heads:  # those of one source are of its rows
        metrics = [name for name in metrics if not name.endswith(tuple(f'_{s}' for s in sources))]
    if not rows:
        return columns | {name: np.empty(0) for name in NUMBERS}
    for name in (*NUMBERS, *metrics):
        if name not in given:
            raise ValueError(f'examples.csv has no column {name}')
        columns[name] = _numbers(name, given[name])
    return columns


def _read_columns(content, metrics):
    """As `read_examples_csv`, of bytes that an evaluation wrote; with pandas in a tenth of the
    time."""
    try:
        import pandas
    except ImportError:
        return read_examples_csv(content, metrics)
    heads = next(csv.reader([content.partition(b'\n')[0].decode()]))
    if {*ID, *NUMBERS}.difference(heads):  # an earlier version's, or one without rows
        return read_examples_csv(content, metrics)
    # Newer ones read numbers exactly by themselves, and warn where they are told to.
    exactly = {} if pandas.__version__ >= '3.1' else {'float_precision': 'round_trip'}
    numbers = [name for name in (*NUMBERS, *metrics) if name in heads]
    table = pandas.read_csv(
        io.BytesIO(content),
        dtype={**dict.fromkeys(heads, object), **dict.fromkeys(numbers, float)},
        keep_default_na=False,
        na_values={name: ['nan'] for name in numbers},
        encoding_errors='surrogatepass',
        **exactly,
    )
    columns = {}
    for name in (name for name in (*ID, *TEXTS) if name in heads):
        codes, cells = table[name].factorize()
        columns[name] = np.array([*map(names.from_cell, cells)], object)[codes].tolist()
    return columns | {name: table[name].to_numpy() for name in numbers}


def _numbers(name, cells):
    """Cells of a column as floats."""
    value_N = np.empty(len(cells))
    for n, cell in enumerate(cells):
        try:
            value_N[n] = float(cell)
        except ValueError:
            raise ValueError(f'examples.csv: {name} = {cell!r:.60}, must be a number') from None
    return value_N


def _by_source(given, metrics):
    """The columns of an examples.csv with a row an example, as a row an example and source, and the
    names of its metrics."""
    count = len(given['id'])
    named = [head.removeprefix('class_') for head in given if head.startswith('class_')]
    speakers = [_read_names(cell) for cell in given.get('sources', [''] * count)]
    numbered = [head[8:] for head in given if head.startswith('si_snri_') and head[8:].isdigit()]
    sources = named or numbered or list(map(str, range(1, 1 + min(map(len, speakers), default=1))))
    metrics = [name for name in metrics if not name.endswith(tuple(f'_{s}' for s in sources))]
    long = {'source': sources * count}

    if not named:
        speakers = [(row + [''] * len(sources))[: len(sources)] for row in speakers]
        long['speaker'] = [name for row in speakers for name in row]
    for name in ('id', *NUMBERS, 'class', 'recording', 'sex', *metrics):
        columns = [given.get(f'{name}_{source}', given.get(name)) for source in sources]
        if None not in columns:  # of each source in turn
            long[name] = [cell for row in zip(*columns) for cell in row]
    return long, metrics


def _read_names(text):
    """A list of names from its JSON or, as evaluations once wrote them, joined by spaces."""
    try:
        speakers = json.loads(text)
        ''.join(speakers).encode()  # half a character cannot be printed
    except (ValueError, TypeError, RecursionError):
        return text.split(' ')
    return speakers if isinstance(speakers, list) else text.split(' ')


def made_by(summary):
    """What `MADE_BY` says of a summary, in its order."""
    return tuple(summary.get(key, {'targets': ''}.get(key)) for key in MADE_BY)


def unlike(how, other):
    """In what two `made_by` differ, e.g. 'rules is None, not 2'; '' where they do not."""
    return ', '.join(
        f'{key} is {str(value)[:12] or "all"}, not {str(usual)[:12] or "all"}'
        for key, value, usual in zip(MADE_BY, how, other)
        if value != usual
    )


def read_curves(folder, problems):
    """{(kind, name): (step_N, value_N)} of metrics.jsonl, e.g. ('validation', 'loss').

    Steps at which a number was not finite are those of (kind, 'no loss'), and those of an event, as
    a skipped step is, of ('skipped', ''); their values are 1.

    Args:
      folder: of the run.
      problems: list to which a sentence is added for a file that cannot be read.
    """
    path = os.path.join(folder, 'metrics.jsonl')
    points = collections.defaultdict(lambda: (array.array('d'), array.array('d')))
    if not os.path.lexists(path):
        return {}
    try:
        lines = files.read_bytes(path, ResultsError, most=1 << 30).splitlines(keepends=True)
    except ResultsError as error:
        problems.append(str(error))
        return {}
    bad = 0
    for line in lines:
        try:
            row = files.parse_json(line, ResultsError, where=path)
        except ResultsError:
            # The last line of a run that was killed is the beginning of one.
            bad += line.endswith(b'\n') or not line.startswith(b'{') or b'\0' in line
            continue
        if not isinstance(row.get('kind'), str) or not files.is_number(row.get('step')):
            bad += 1
            continue
        for name, value in row.items():
            if value is None or name == 'ids':  # not finite; what an event is of
                name, value = f'no {name}' if value is None else '', 1
            if name not in ('kind', 'step') and files.is_number(value) and abs(value) < 1e30:
                steps, values = points[row['kind'], name]
                steps.append(row['step'])
                values.append(value)
    if bad:
        problems.append(
            f'{path}: {bad} of {names.counted(len(lines), "line")} cannot be read and are left out'
        )
    return {key: tuple(map(np.array, value)) for key, value in points.items()}


def read_gates(folder, problems, config, trained_on=None):
    """Gates of a run's files.

    Args:
      folder, problems: as in `read_curves`.
      config: the run's, with its experiment, preset and seed.
      trained_on: name of the data set that the run was trained on; None where it is unknown.
    """
    unnamed = probe = 'an utterance that its files do not name'
    gates, means = {}, {}
    run = '{experiment}:{preset}, seed {seed}'.format_map(config)
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), 'gates', '*.npz'))):
        try:
            content = _read_npz(path)
            step = os.path.splitext(os.path.basename(path))[0]
            if not (step.isascii() and step.isdecimal() and len(step) < 19):
                raise ValueError('its name must be the number of a step')
            if 'gate_KN' not in content or ('id' in content and 'split' not in content):
                raise ValueError('it must hold gate_KN, and split beside id')
            of = f'{run}, step {int(step)}'
            if (said := str(content.get('of', of))) != of:  # earlier versions wrote none
                raise ValueError(f'it is of {said}')
            if trained_on and (said := str(content.get('trained_on', trained_on))) != trained_on:
                raise ValueError(f'it is of a run trained on {said}, not on {trained_on}')
            named = f'{content["split"]} utterance {content["id"]}' if 'id' in content else unnamed
            if gates and unnamed != probe != named:
                raise ValueError(f'it is of {named}, those before it are of {probe}')
            gate_KN = content['gate_KN']
            if (
                gate_KN.ndim != 2
                or gate_KN.dtype != np.uint8
                or not gate_KN.size
                or any(gate_KN.shape[1] != other.shape[1] for other in gates.values())
            ):
                raise ValueError(
                    f'gate_KN is {gate_KN.dtype}{list(gate_KN.shape)}, must be uint8[frames,'
                    ' units] of as many units as in the other files'
                )
            gates[int(step)], probe = gate_KN.astype(np.float32) / 255, named
            if 'mean_N' in content and 'id' in content:
                mean_N = content['mean_N']
                if mean_N.dtype != np.float32 or mean_N.shape != gate_KN.shape[1:]:
                    raise ValueError('mean_N must be a number for each unit of gate_KN')
                means[int(step)] = mean_N
        except ResultsError as error:
            problems.append(f'{error}; it is left out')
        except ValueError as error:
            problems.append(f'{path} cannot be read ({files.why(error)}) and is left out')
    return Gates(gates, probe, means)


def _read_npz(path):
    """{name: array} of an .npz file, as NumPy writes it.

    Raises:
      ResultsError: it cannot be read.
      ValueError: it is no such file, or not a whole one.
    """
    data = files.read_bytes(path, ResultsError)
    # Readers of zip files pass over what stands before and behind one.
    if not data.startswith(b'PK\3\4') or data[-22:-18] != b'PK\5\6':
        raise ValueError('it is no .npz file, or something was cut off or added')
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size <= files.MOST_BYTES:
            with np.load(io.BytesIO(data)) as content:
                arrays = dict(content)
            if all(isinstance(array, np.ndarray) for array in arrays.values()):
                return arrays
    except Exception as error:  # parsers of zip, of npy and of what is packed in them
        raise ValueError('it is damaged, or holds more than plain arrays') from error
    raise ValueError('it holds more than plain arrays of gates')


def read_examples(folder, problems, data_set=''):
    """{(data set, example id): content of example.json, with its folder under 'folder'}.

    Args:
      folder, problems: as in `read_curves`.
      data_set: folder below audio/; '' for all.
    """
    examples, below = {}, glob.escape(data_set) or '*'
    pattern = os.path.join(glob.escape(folder), 'audio', below, '*', 'example.json')
    for path in sorted(glob.glob(pattern)):
        where = os.path.dirname(path)
        try:
            content = files.read_json(path, ValueError, halves=True)
            _check_example(content, where)
        except (sound.SoundError, ValueError) as error:
            reason = names.shown(str(error).removeprefix(os.path.join(where, '')))
            problems.append(f'{where}: its sounds are left out ({reason})')
            continue
        examples[content['data_set'], content['id']] = {**content, 'folder': where}
    return examples


def _check(content, rules, where):
    """Raises ValueError for a key that is missing, or is not as its rule has it."""
    for key, (is_right, rule) in rules.items():
        name = key.removesuffix('?')
        if name not in content and name == key:
            raise ValueError(f'{where}{name} is missing, must be {rule}')
        if name in content and not is_right(content[name]):
            raise ValueError(f'{where}{name} = {content[name]!r:.60}, must be {rule}')


def _check_example(content, where):
    """Raises ValueError for an unusable example: key, value and rule; SoundError for a sound."""
    _check(content, _EXAMPLE, 'example.json: ')
    _check(content['files'], dict.fromkeys(content['files'], _OBJECT), 'example.json: ')
    for name, about in content['files'].items():
        _check(about, _FILE, f'{name}: ')
        _check(about, _ROLES[about['role']], f'{name}: ')
    roles = [about['role'] for about in content['files'].values()]
    if roles.count('mixture') != 1 or 'reference' not in roles:
        raise ValueError('a mixture and references are needed')
    if files.is_damaged(content):
        raise ValueError('example.json is damaged: its digest does not match')
    first = None
    for name, about in content['files'].items():
        if not names.is_below(name, where):
            raise ValueError(f'{name!r} is no file in its folder')
        signal_T, rate = sound.read(os.path.join(where, name), about.get('digest', ''))
        first = first or (len(signal_T), rate, name)
        if (len(signal_T), rate) != first[:2]:
            raise ValueError(
                f'{name} has {names.counted(len(signal_T), "sample")} at {rate} Hz, {first[2]}'
                f' {first[0]:,} at {first[1]} Hz: they must be alike'
            )
