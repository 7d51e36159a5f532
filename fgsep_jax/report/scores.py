"""All scores as tables: a row a run, in groups of seeds; a row an example, system and source."""

import dataclasses
import functools
import json
import os
from typing import Any
import warnings

import numpy as np

from fgsep_jax import names
from fgsep_jax.report import intervals, runs as runs_lib
from fgsep_jax.report.runs import ResultsError

# Keys in which runs of one experiment may differ: the seed, what only costs time or disk, and
# the folder of the data, for which their name stands.
FREE = (
    'seed',
    'data.dir',
    'data.name',
    'data.read_threads',
    'data.prefetch_batches',
    'training.log_steps',
    'training.checkpoint_steps',
    'training.keep_checkpoints',
    'training.audio_examples',
    'training.gates',
    'training.wandb',
)
LABEL = {'objective': '{}', 'trained_on': 'on {}', 'preset': '{}'}  # of a group, beside its model
ROLES = ('foreground', 'background')
STATISTIC = {'speech': 'mean', 'foreground': 'median'}  # as the papers do
SUBSETS = ('c1', 'c2', 'c3', 'c4')


def load_runs(folder):
    """Reads every result below a folder.

    Args:
      folder: searched for run folders.

    Returns:
      DataFrame, one row an example, system and source: run, task, experiment, model, objective,
      preset, seed, trained_on, step, parameters, data_set, system ('model', or the baseline's
      name), skipped (examples without a score), id, source, what is said of the source (speaker
      and sex, or class and recording), seconds, snr_db, and a column a metric in dB.

    Raises:
      ResultsError: there are no runs, or results that cannot be read.
    """
    runs = runs_lib.find(folder)
    for note in reconcile(runs):
        warnings.warn(note, stacklevel=2)
    if problems := [problem for run in runs for problem in run.problems]:
        raise ResultsError('; '.join(problems))
    return _scores(dict.fromkeys(runs, 0)).drop(columns=['group', 'split'])


def _once(method):
    """Decorates a method of Results: what it gives is made once, for all that share a table."""

    @functools.wraps(method)
    def kept(self, *args, **settings):
        key = method.__name__, args, *settings.items()
        if key not in self.made:
            self.made[key] = method(self, *args, **settings)
        return self.made[key]

    return kept


@dataclasses.dataclass(eq=False)
class Results:
    """What a report shows, as tables.

    Attributes:
      runs: DataFrame, a row a run, by group and seed: run, group (runs that differ in their seed
        alone have one number), label of the group, task, experiment, model, objective, preset,
        seed, trained_on, config {key: value}, and the run itself as `folder`.
      table: DataFrame as of `load_runs`, with each row's group and split: 'test' on whole test
        sets, 'other' on other whole splits, '' on parts of one; of these runs and of others.
      made: what was made of the table, see `_once`.
    """

    runs: Any  # pandas takes half a second to import: reading folders does without
    table: Any
    made: dict = dataclasses.field(default_factory=dict)

    def of(self, **values):
        """The Results of the runs that have some values, e.g. task='speech'."""
        return self.where(np.all([self.runs[key] == values[key] for key in values], axis=0))

    def groups_of(self, **values):
        """Those of `groups` that have some values, e.g. model='M1'."""
        return [
            group
            for group in self.groups
            if all(getattr(group, key) == value for key, value in values.items())
        ]

    def runs_of(self, group):
        """The Runs of a group, by seed."""
        return [*self.runs[self.runs.group == group].folder]

    def where(self, chosen):
        """The Results of the chosen rows of `runs`, an array of bools."""
        return Results(self.runs[chosen], self.table, self.made)

    @functools.cached_property
    def scores(self):
        """The rows of `table` of these runs."""
        ours = self.table.group.isin(self.runs.group)
        return self.table if ours.all() else self.table[ours]

    @functools.cached_property
    def groups(self):
        """The first run of each group as a tuple with the columns' names, in the papers' order."""
        return list(self.runs.drop_duplicates('group').itertuples(index=False))

    @property
    def task(self):
        """'speech' or 'foreground', of all runs."""
        return self.runs.task.iloc[0]

    def data_sets(self, split='test'):
        """Names of the results on whole test sets, or on whole other splits, sorted."""
        return sorted(self.each[self.each.split == split].data_set.unique())

    @functools.cached_property
    def each(self):
        """What is said of each result as a whole, DataFrame: its first row of `scores`."""
        each = self._first_rows()
        return each[each.group.isin(self.runs.group)]

    @_once
    def _first_rows(self):
        return self.table.drop_duplicates(['group', 'seed', 'data_set', 'system'])

    @_once
    def _places(self):
        return self.table.groupby(['group', 'data_set', 'system']).indices

    def part(self, group, data_set, system='model'):
        """Rows of `each` of one system of a group on one data set, by seed."""
        each = self.each
        return each[(each.group == group) & (each.data_set == data_set) & (each.system == system)]

    @_once
    def _wide(self, group, data_set, system):
        """The rows of one system of a group on a data set, a row a seed and example, its columns
        (column of `table`, source); all sorted. None without results."""
        place = group, data_set, system
        if place not in self._places():
            return None
        rows = self.table.iloc[self._places()[place]].set_index(['seed', *runs_lib.ID])
        rows = rows[~rows.index.duplicated(keep='last')]  # ids that differed in half characters
        return rows.iloc[:, rows.columns.get_loc('skipped') + 1 :].unstack('source')

    @_once
    def matrix(self, group, data_set, metric, system='model'):
        """Scores as a DataFrame, seeds x ids, both sorted; NaN where a seed has none.

        Args:
          group: number of the group.
          data_set, system: names.
          metric: (name, source); without a source, '', the mean over the sources counts.
        """
        import pandas

        wide, (name, source) = self._wide(group, data_set, system), metric
        if wide is None or (metric if source else name) not in wide:
            return pandas.DataFrame()
        values = wide[metric] if source else wide[name].mean(axis=1, skipna=False)
        return values.unstack('id')

    @_once
    def examples(self, group, data_set, system='model'):
        """What is said of the examples of the first seed, a row an example, the index its id:
        seconds, snr_db, and of each source what there is, e.g. ('class', 'foreground')."""
        wide = self._wide(group, data_set, system)
        wide = wide.xs(wide.index[0][0], level='seed')
        there = [
            name
            for name in (*runs_lib.NUMBERS, *runs_lib.TEXTS)
            if name in wide and (name in runs_lib.NUMBERS or wide[name].notna().any(axis=None))
        ]
        examples = wide[there].copy()
        for name in runs_lib.NUMBERS:
            examples[name, ''] = wide[name].iloc[:, 0]
        return examples

    @_once
    def _clusters(self, group, data_set, system):
        """Who or what each example of `matrix` holds, for `intervals.Term`: its recordings or its
        speakers, as their numbers, since sorting a million texts takes seconds."""
        there = self.examples(group, data_set, system)
        for kind, named in CLUSTERS.items():
            if kind in there:
                number = self._wide(group, data_set, system)[named].groupby('id').first()
                sources = [source for source in ROLES if source in number] or [*number]
                number = number[sources].fillna(intervals.NOBODY).astype(int)
                return intervals.clusters(kind, number)
        return ()

    def difference(self, terms, metric, *, statistic=None, system='model', ids=None):
        """A weighted sum of what groups of runs score.

        Args:
          terms: list of (weight, group's number or None, data set).
          metric: (name, source).
          statistic: 'mean' or 'median'; the task's own if None.
          system: name. A baseline has no seed: the first of its results stands for all.
          ids: of the examples that count; None for all.

        Returns:
          Estimate over the seeds that a group has on all data sets wanted of it and the examples
          that all groups share; None where there is none.
        """
        if not terms or any(group is None for _, group, _ in terms):
            return None
        ids = ids if ids is None else tuple(ids)
        return self._difference(
            tuple(terms), metric, statistic or STATISTIC[self.task], system, ids
        )

    @_once
    def _difference(self, terms, metric, statistic, system, ids):
        import pandas

        matrix, seeds, value, labels = {}, {}, {}, {}
        for _, group, name in terms:
            scores = self.matrix(group, name, metric, system)
            matrix[group, name] = scores if system == 'model' else scores[:1]
            there = matrix[group, name].index
            seeds[group] = there.intersection(seeds.get(group, there))
        if not all(map(len, seeds.values())):
            return None
        for name in dict.fromkeys(name for _, name in matrix):
            groups = [group for group, other in matrix if other == name]
            scores = {group: matrix[group, name].loc[seeds[group]] for group in groups}
            common = pandas.concat(scores, join='inner').dropna(axis=1)  # examples that all have
            if ids is not None:
                common = common[common.columns.intersection(ids)]
            if not common.size:
                return None
            value |= {(group, name): common.loc[group].to_numpy() for group in groups}
            at_N = matrix[groups[0], name].columns.get_indexer(common.columns)
            labels[name] = [label[at_N] for label in self._clusters(groups[0], name, system)]
        return intervals.contrast(
            [
                intervals.Term(weight, value[group, name], group, name, labels[name])
                for weight, group, name in terms
            ],
            statistic=statistic,
        )

    def score(self, group, data_set, metric, *, system='model', ids=None):
        """What one system of a group scores on a data set.

        Args:
          group: its number.
          data_set: name.
          metric, system, ids: as in `difference`. That there is one seed is noted of untrained
            models, not of oracles, which have none.

        Returns:
          Estimate, or None.
        """
        estimate = self.difference([(1, group, data_set)], metric, system=system, ids=ids)
        if estimate and system.startswith('ideal_') and estimate.note == 'one seed':
            return estimate._replace(note='')
        return estimate


# Columns of the table that say who or what is in an example, and those of their numbers.
CLUSTERS = {'recording': 'recording_number', 'speaker': 'speaker_number'}


def read(folders, notes):
    """Reads all runs in some folders and below.

    Args:
      folders: to search.
      notes: list to which sentences are added on what is damaged, left out or to be known.

    Returns:
      Results.

    Raises:
      ResultsError: there are no runs.
    """
    runs = {}
    for folder in folders:
        runs |= {os.path.realpath(run.path): run for run in runs_lib.find(folder, notes)}
    return of(list(runs.values()), notes)


def of(runs, notes):
    """As `read`, of Runs."""
    import pandas

    notes += reconcile(runs)
    groups = _groups(runs)
    kept = set().union(*groups)
    notes += [
        f'{run.name} is left out: another run has its configuration and its seed, too.'
        for run in runs
        if run not in kept
    ]
    notes += seen_in_training(runs)
    for run in runs:
        for name in ('curves', 'gates', 'examples'):  # now, so that their problems are said
            getattr(run, name)
        notes += run.problems
    labels = _labels([_about(group[0]) for group in groups])
    number = {run: i for i, group in enumerate(groups) for run in group}
    rows = [{**_about(run), 'group': i, 'label': labels[i]} for run, i in number.items()]
    table = _scores(number)
    for kind, named in CLUSTERS.items():
        if kind in table:
            numbers = table[kind].astype('category').cat.codes
            table.insert(table.columns.get_loc('id'), named, numbers)
    return Results(pandas.DataFrame(rows), table)


def _about(run):
    """What identifies a run."""
    about = {
        'run': run.name,
        'task': run.task,
        'experiment': run.config['experiment'],
        'model': run.model,
        'objective': run.objective,
        'preset': run.config['preset'],
        'seed': run.seed,
        'trained_on': run.trained_on,
        'config': {utf8(key): utf8(value) for key, value in run.config.items()},
        'folder': run,
    }
    return {key: utf8(value) for key, value in about.items()}


def utf8(value):
    """A text of any origin as one that has a place in every table and page; else the value."""
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        return names.shown(value)
    return value


def _scores(number):
    """All results of {Run: number of its group} as one DataFrame."""
    import pandas

    frames = []
    for run, group in number.items():
        about = _about(run)
        del about['config'], about['folder']
        for result in run.results.values():
            summary, columns = result.summary, {}
            for name, column in result.columns.items():
                if name in runs_lib.TEXTS + runs_lib.ID:
                    known = {cell: utf8(cell) for cell in set(column)}
                    columns[name] = [known[cell] for cell in column]
                else:
                    columns[name] = np.where(np.isinf(column), np.nan, column)
            fixed = {
                'group': group,
                **about,
                'step': summary['step'],
                'parameters': summary['parameters'],
                'data_set': utf8(result.data_set),
                'split': _split(result),
                'system': utf8(result.system) or 'model',
                'skipped': sum(summary.get('skipped', {}).values()),
            }
            rows = range(len(result.columns['id']))
            frames.append(pandas.DataFrame({**fixed, **columns}, rows))
    if not frames:
        none = ['group', 'run', 'seed', 'step', 'data_set', 'split', 'system', *runs_lib.ID]
        return pandas.DataFrame(columns=none)
    return pandas.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def _split(result):
    split, base = result.summary['split'], result.summary['data_set']
    if result.data_set == base or (split in SUBSETS and result.data_set == f'{base}-{split}'):
        return 'test'
    return 'other' if result.data_set == f'{base}-{split}' else ''


def reconcile(runs):
    """Leaves out results that cannot stand beside the others, since they differ in
    `runs_lib.MADE_BY`.

    The models' results decide, and how baselines were made nothing: those by the newest rules
    stay and, of these, those made as most are.

    Args:
      runs: Runs; what is left out is taken out of their results.

    Returns:
      Sentences that say what was left out.
    """
    made, stale, notes = {}, {}, {}
    for run in runs:
        for (data_set, system), result in run.results.items():
            member = runs_lib.made_by(result.summary), run, system
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
            del run.results[data_set, system]
            reason = runs_lib.unlike(how, chosen)
            if run in staying:
                stale.setdefault(reason, []).append((run.name, data_set, system))
            else:
                called = f'{run.name} {system}'.strip()
                left_out.setdefault(reason, set()).add(called)
        for reason, those in left_out.items():
            notes.setdefault((', '.join(sorted(those)), reason), []).append(data_set)
    return [
        f'The baselines {_listed(each, 2)} of {_listed(each, 0)} on {_listed(each, 1)} are left'
        f" out, since they were made otherwise than the model's results beside them: {reason}. Make"
        ' them again with --mode=evaluate --baselines.'
        for reason, each in stale.items()
    ] + [
        f'Results on {", ".join(sets)} of {those} are left out, since they were made otherwise'
        f' than those beside them: {reason}. Evaluate them again on the same data, or report them'
        ' alone.'
        for (those, reason), sets in notes.items()
    ]


def _version(how):
    rules = how[runs_lib.MADE_BY.index('rules')]
    return rules if type(rules) is int else 0


def _listed(each, place):
    return ', '.join(dict.fromkeys(row[place] for row in each))


def seen_in_training(runs):
    """Sentences on the results whose speakers or recordings a run was trained on."""
    runs_of = {}
    for run in runs:
        for (data_set, system), result in run.results.items():
            count, seen = map(result.summary.get, runs_lib.SEEN)
            if not system and (seen or (count and seen is None)):
                which = data_set, count, seen, run.trained_on, run.task
                runs_of.setdefault(which, []).append(run.name)
    sentences = []
    for (data_set, count, seen, trained_on, task), those in sorted(runs_of.items(), key=str):
        kind = 'speakers' if task == 'speech' else 'recordings'
        whose = f'the training data of {", ".join(those)} ({trained_on})'
        sentences.append(
            f'Whether some of the {count} {kind} in {data_set} are in {whose} could not be checked.'
            if seen is None
            else f'{seen} of the {count} {kind} in {data_set} are called as some in {whose}: if'
            ' they are the same, these scores are not of unseen ones.'
        )
    return sentences


def _groups(runs):
    """Runs that differ in their seed alone, together, sorted by seed, in the papers' order: of
    those of one seed the first of those with the most results."""
    groups = {}
    for run in runs:
        fixed = {key: value for key, value in run.config.items() if _fixed(key)}
        key = json.dumps(
            [run.trained_on, run.training_data.get('fingerprint'), fixed], sort_keys=True
        )
        seeds = groups.setdefault(key, {})
        if run.seed not in seeds or len(run.results) > len(seeds[run.seed].results):
            seeds[run.seed] = run
    return sorted(
        (sorted(group.values(), key=lambda run: run.seed) for group in groups.values()),
        key=lambda group: (
            group[0].task != 'speech',
            place(group[0].model, [*runs_lib.NAMES.values()]),
            group[0].objective,
            group[0].trained_on,
            group[0].name,
        ),
    )


def place(name, order):
    """Where a name stands in an order: behind it if it does not."""
    return order.index(name) if name in order else len(order)


def short_labels(groups, *, panels=False):
    """{group's number: label} that tell these groups apart, shorter than those of all.

    A group of one seed is marked, since its intervals leave out what another would have given.

    Args:
      groups: Results, of one figure or table.
      panels: whether each training set has a part of its own, so that the label need not say it.
    """
    labels = _labels([row._asdict() for row in groups.groups], ('trained_on',) if panels else ())
    seeds = groups.runs.groupby('group').seed.nunique()
    return {
        row.group: label + ', one seed' * int(seeds[row.group] == 1)
        for row, label in zip(groups.groups, labels)
    }


def _labels(rows, without=()):
    """Model, objective, training set and preset as far as they differ among the rows of a task, and
    other keys that still tell them apart."""
    labels = []
    for row in rows:
        others = [other for other in rows if other['task'] == row['task']]
        differ = [
            form.format(row[key])
            for key, form in LABEL.items()
            if key not in without and len({other[key] for other in others}) > 1
        ]
        labels.append(', '.join([row['model'], *differ]))
    for label in {label for label in labels if labels.count(label) > 1}:
        alike = [i for i, other in enumerate(labels) if other == label]
        for i in alike:
            differ = [
                f'{key.split(".")[-1]}={value}'
                for key, value in sorted(rows[i]['config'].items())
                if _fixed(key) and any(rows[j]['config'].get(key) != value for j in alike)
            ]
            labels[i] = ', '.join([label, *differ])
    return labels


def _fixed(key):
    return key not in FREE and not key.startswith('evaluation.')
