"""Run folders as they are found on disk."""

import dataclasses
import functools
import glob
import json
import os
import zipfile

import numpy as np
import soundfile

from fgsep_jax.report import results

NAMES = {
    'convtasnet': 'Conv-TasNet', 'convtasnet_big': 'Big-Conv-TasNet',
    'convtasnet_prelu': 'Deep w/ PReLU', 'convtasnet_dilated': 'Deep w/ dilation',
    'convtasnet_glu': 'Deep w/ GLU',
    'blstm_m1': 'M1', 'blstm_m1_plus': 'M1+', 'blstm_m2': 'M2', 'blstm_m2_plus': 'M2+',
}


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
        return NAMES.get(self.config['experiment'], self.config['experiment'])

    @property
    def objective(self):
        """What was minimised, in the papers' words."""
        if self.task == 'foreground':
            return 'equation 5'
        name = {'si_snr': 'SI-SNR', 'snr': 'SNR'}[self.config['loss.name']]
        return name + (' + power law' if self.config['loss.power_law_weight'] else '')

    @functools.cached_property
    def results(self):
        """{data set: {system: results.Result}}; the model's own system is ''."""
        folder = os.path.join(self.path, 'evaluation')
        found = {}
        for path in sorted(glob.glob('**/summary.json', root_dir=folder, recursive=True)):
            data_set, _, system = os.path.dirname(path).partition(os.sep)
            try:
                loaded = results.load(self.path, data_set, system)
            except results.ResultsError as error:
                self.problems.append(f'{self.name}: {error}')
                continue
            found.setdefault(data_set, {})[system] = loaded
        return found

    @functools.cached_property
    def curves(self):
        """{(kind, name): (steps, values)} of metrics.jsonl, e.g. ('validation', 'loss')."""
        points = {}
        path = os.path.join(self.path, 'metrics.jsonl')
        if not os.path.exists(path):
            return {}
        with open(path) as file:
            lines = file.readlines()
        for line in lines:
            try:
                row = json.loads(line)
                kind, step = row.pop('kind'), row.pop('step')
            except (ValueError, KeyError, AttributeError, TypeError):
                continue  # the last line of a run that was killed
            for name, value in row.items():
                if isinstance(value, (int, float)):
                    points.setdefault((kind, name), []).append((step, value))
        return {key: tuple(np.array(value).T) for key, value in points.items()}

    @functools.cached_property
    def gates(self):
        """{step: gate_KN in 0..1} of the first gated layer for one utterance; {} without."""
        found = {}
        for path in sorted(glob.glob(os.path.join(glob.escape(self.path), 'gates', '*.npz'))):
            try:
                with np.load(path) as content:
                    step = int(os.path.splitext(os.path.basename(path))[0])
                    found[step] = content['gate_KN'].astype(np.float32) / 255
            except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                self.problems.append(f'{path} cannot be read ({error!r}) and is left out')
        return found

    @functools.cached_property
    def probe(self):
        """The utterance that the gates are of, e.g. 'test utterance 1234_0.5_77_-0.5'."""
        for path in sorted(glob.glob(os.path.join(glob.escape(self.path), 'gates', '*.npz'))):
            try:
                with np.load(path) as content:
                    return f'{content["split"]} utterance {content["id"]}'
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                continue
        return 'an utterance that its files do not name'

    @functools.cached_property
    def examples(self):
        """{data set: {example id: content of example.json, with its folder under 'folder'}}."""
        found = {}
        pattern = os.path.join(glob.escape(self.path), 'audio', '*', '*', 'example.json')
        for path in sorted(glob.glob(pattern)):
            folder = os.path.dirname(path)
            try:
                with open(path) as file:
                    content = json.load(file)
                for name in content['files']:
                    soundfile.info(os.path.join(folder, name))
                found.setdefault(content['data_set'], {})[content['id']] = {
                    **content, 'folder': folder}
            except (OSError, ValueError, KeyError, TypeError,
                    soundfile.LibsndfileError) as error:
                self.problems.append(f'{folder}: its sounds are left out ({error!r})')
        return found


def flatten(tree, prefix=''):
    """Turns nested dicts into {'a.b': value}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[prefix + key] = value
    return flat


def open_run(path, name=''):
    """Reads what identifies the run in a folder.

    Raises:
        ResultsError: config.json cannot be read.
    """
    try:
        with open(os.path.join(path, 'config.json')) as file:
            config = flatten(json.load(file))
        trained_on = os.path.basename(os.path.normpath(config['data.dir'] or 'embedded'))
        about, training_data = os.path.join(path, 'training_data.json'), {}
        if os.path.exists(about):
            with open(about) as file:
                content = json.load(file)
            trained_on, training_data = content['name'], dict(content.get('train', {}))
        missing = [key for key in ('task', 'experiment', 'preset', 'seed') if key not in config]
        if missing:
            raise ValueError(f"config.json lacks {', '.join(missing)}")
        return Run(path, name or os.path.basename(os.path.normpath(path)), config, trained_on,
                   training_data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise results.ResultsError(f'{path} is no readable run folder ({error!r})') from error


def find(folder, problems=None):
    """All runs in a folder and below it, by name.

    Args:
        folder: to search.
        problems: list to which a sentence is added for each folder that is no readable run; None
            refuses them.

    Raises:
        ResultsError: there are none, or one is unreadable.
    """
    paths = sorted(os.path.dirname(path) for path in glob.glob(
        os.path.join(glob.escape(folder), '**', 'config.json'), recursive=True))
    found = []
    for path in paths:
        try:
            name = os.path.relpath(path, folder)  # '.' of a folder that is a run itself
            found.append(open_run(path, '' if name == os.curdir else name))
        except results.ResultsError as error:
            if problems is None:
                raise
            problems.append(str(error))
    if not found:
        raise results.ResultsError(
            f'{folder} holds no runs: no config.json in it or below. Train one with'
            ' `python -m fgsep_jax.main --config=configs/convtasnet_glu.py:demo`')
    return found


def reconcile(runs):
    """Leaves out results that cannot stand beside the others: made on other data of the same
    name, or with another length of BSS-eval's filters.

    Args:
        runs: Runs; the results of the fewer are taken out of them.

    Returns:
        Sentences that say what was left out.
    """
    made, notes = {}, []
    for run in runs:
        for data_set, systems in run.results.items():
            for system, result in systems.items():
                how = tuple(result.summary.get(key) for key in (
                    'data_fingerprint', 'filter_taps', 'sample_rate', 'resampled_from'))
                made.setdefault((run.task, data_set), {}).setdefault(how, []).append((run, system))
    for (_, data_set), ways in made.items():
        most = max(ways.values(), key=len)
        for members in ways.values():
            if members is most:
                continue
            for run, system in members:
                del run.results[data_set][system]
                if not run.results[data_set]:
                    del run.results[data_set]
            names = ', '.join(sorted({run.name for run, _ in members}))
            notes.append(f'Results on {data_set} of {names} are left out: they were made on other'
                         ' data, at another sample rate, or with other evaluation.filter_taps,'
                         ' than those of most runs.')
    return notes
