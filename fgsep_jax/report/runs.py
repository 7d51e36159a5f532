"""Run folders as they are found on disk."""

import dataclasses
import functools
import json
import os

from fgsep_jax import config as config_lib, files, validate
from fgsep_jax.report import results, run_files

NAMES = {
    'convtasnet': 'Conv-TasNet',
    'convtasnet_big': 'Big-Conv-TasNet',
    'convtasnet_prelu': 'Deep w/ PReLU',
    'convtasnet_dilated': 'Deep w/ dilation',
    'convtasnet_glu': 'Deep w/ GLU',
    'blstm_m1': 'M1',
    'blstm_m1_plus': 'M1+',
    'blstm_m2': 'M2',
    'blstm_m2_plus': 'M2+',
}


IDENTITY = ('task', 'experiment', 'preset', 'seed', 'data.dir')  # keys that every config.json has


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
        name = self.config.get('loss.name', 'si_snr')
        name = {'si_snr': 'SI-SNR', 'snr': 'SNR'}.get(name, str(name))
        return name + (' + power law' if self.config.get('loss.power_law_weight') else '')

    @functools.cached_property
    def results(self):
        """{data set: {system: results.Result}}; the model's own system is ''."""
        root, found = os.path.join(self.path, 'evaluation'), {}
        for path in files.find(root, 'summary.json'):
            folder, _, system = os.path.relpath(os.path.dirname(path), root).partition(os.sep)
            try:
                loaded = results.load(self.path, folder, system)
            except results.ResultsError as error:
                self.problems.append(f'{self.name}: {error}')
                continue
            found.setdefault(loaded.data_set, {})[system and loaded.system] = loaded
        return found

    @functools.cached_property
    def curves(self):
        """{(kind, name): (step_N, value_N)} of metrics.jsonl, e.g. ('validation', 'loss')."""
        return run_files.read_curves(self.path, self.problems)

    @functools.cached_property
    def _gates(self):
        return run_files.read_gates(self.path, self.problems)

    @property
    def gates(self):
        """{step: gate_KN in 0..1} of the first gated layer for one utterance; {} without."""
        return self._gates[0]

    @property
    def probe(self):
        """The utterance that the gates are of, e.g. 'test utterance 1234_0.5_77_-0.5'."""
        return self._gates[1]

    @functools.cached_property
    def examples(self):
        """{data set: {example id: content of example.json, with its folder under 'folder'}}."""
        return run_files.read_examples(self.path, self.problems)


def open_run(path, name=''):
    """Reads what identifies the run in a folder.

    Raises:
        ResultsError: config.json or training_data.json cannot be read, or lacks what it needs.
    """
    path = os.path.expanduser(path)
    try:
        return _open_run(path, name)
    except results.ResultsError as error:
        raise results.ResultsError(f'{path} is no readable run folder ({error})') from error


def _open_run(path, name):
    content = files.read_json(os.path.join(path, 'config.json'), results.ResultsError, halves=True)
    task = content.get('task')
    wrong = [f'task = {task!r:.60}']
    if isinstance(task, str) and task in config_lib.TASKS:
        _, wrong = files.misfits(content, config_lib.defaults(task))
    config = files.flatten(content)
    wrong += [f'{key} is missing' for key in IDENTITY if key not in config]
    if wrong:
        raise results.ResultsError(f'config.json has {"; ".join(wrong)}')
    about, problems = os.path.join(path, 'training_data.json'), []
    try:
        validate.validate(config_lib.from_json(json.dumps(content), where='config.json'))
    except config_lib.ConfigError as error:
        problems.append(f'{name or path}: config.json cannot be used any more: {error}')
    content = None
    if os.path.lexists(about):
        content = files.read_json(about, results.ResultsError, halves=True)
    if content is not None and not files.is_damaged(content):
        trained_on, training_data = content.get('name'), content.get('train', {})
        if not (
            trained_on
            and isinstance(trained_on, str)
            and trained_on == trained_on.encode(errors='ignore').decode()
            and isinstance(training_data, dict)
            and type(training_data.get('speakers', 0)) is int
            and type(training_data.get('fingerprint')) in (str, type(None))
        ):
            raise results.ResultsError(
                f'{about} has {content!r:.100}; train again, or copy it back'
            )
    else:
        trained_on = os.path.basename(os.path.normpath(config['data.dir'] or 'embedded'))
        training_data = {}
        problems.append(
            f'{name or path}: training_data.json is'
            f' {"missing" if content is None else "damaged, its digest does not match"};'
            ' that it was trained on'
            f' {trained_on} is taken from the name of its data.dir.'
        )
    return Run(
        path,
        name or os.path.basename(os.path.normpath(path)),
        config,
        trained_on,
        training_data,
        problems,
    )


def find(folder, problems=None):
    """All runs in a folder and below it, by name.

    Args:
        folder: to search.
        problems: list to which a sentence is added for each folder that is no readable run; None
            refuses them.

    Raises:
        ResultsError: there are none, or one is unreadable.
    """
    if not folder:
        raise results.ResultsError('the name of a folder with runs is empty')
    found, folder = [], os.path.expanduser(folder)
    for path in map(os.path.dirname, files.find(folder, 'config.json')):
        try:
            name = os.path.relpath(path, folder)  # '.' of a folder that is a run itself
            found.append(open_run(path, '' if name == os.curdir else name))
        except results.ResultsError as error:
            if problems is None:
                raise
            problems.append(str(error))
    if not found and problems:
        raise results.ResultsError(f'{folder} holds no readable run: {"; ".join(problems)}')
    if not found:
        raise results.no_runs(folder)
    return found


def reconcile(runs):
    """Leaves out results that cannot stand beside the others, since they differ in
    `results.MADE_BY`.

    The models' results decide, and how baselines were made nothing: those by the newest rules
    stay and, of these, those made as most are.

    Args:
        runs: Runs; what is left out is taken out of their results.

    Returns:
        Sentences that say what was left out.
    """
    made, stale, notes = {}, {}, {}
    for run in runs:
        for data_set, systems in run.results.items():
            for system, result in systems.items():
                member = results.made_by(result), run, system
                made.setdefault((run.task, data_set), []).append(member)
    for (_, data_set), members in made.items():
        models = [(how, run) for how, run, system in members if not system]
        ways = [how for how, _ in models] or [how for how, *_ in members]
        chosen = max(ways, key=lambda how: (_version(how), ways.count(how)))
        staying = [run for how, run in models if how == chosen]
        left_out = {}
        for how, run, system in members:
            if how == chosen:
                continue
            del run.results[data_set][system]
            if not run.results[data_set]:
                del run.results[data_set]
            reason = results.difference(how, chosen)
            if run in staying:
                stale.setdefault(reason, []).append((run.name, data_set, system))
            else:
                left_out.setdefault(reason, set()).add(f'{run.name} {system}'.strip())
        for reason, names in left_out.items():
            notes.setdefault((', '.join(sorted(names)), reason), []).append(data_set)
    return [
        f'The baselines {_listed(each, 2)} of {_listed(each, 0)} on {_listed(each, 1)} are left'
        f" out, since they were made otherwise than the model's results beside them: {reason}. Make"
        ' them again with --mode=evaluate --baselines.'
        for reason, each in stale.items()
    ] + [
        f'Results on {", ".join(sets)} of {names} are left out, since they were made otherwise'
        f' than those beside them: {reason}. Evaluate them again on the same data, or report them'
        ' alone.'
        for (names, reason), sets in notes.items()
    ]


def _version(how):
    rules = how[results.MADE_BY.index('rules')]
    return rules if type(rules) is int else 0


def _listed(each, place):
    return ', '.join(dict.fromkeys(one[place] for one in each))
