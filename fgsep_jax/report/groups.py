"""The seeds of one experiment together, and labels that tell experiments apart."""

import dataclasses
import json

from fgsep_jax.report import runs as runs_lib

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
)


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        label: short and unique among the groups of a report.
        runs: sorted by seed.
    """

    label: str
    runs: tuple[runs_lib.Run, ...]

    model = property(lambda self: self.runs[0].model)
    objective = property(lambda self: self.runs[0].objective)
    trained_on = property(lambda self: self.runs[0].trained_on)
    task = property(lambda self: self.runs[0].task)
    config = property(lambda self: self.runs[0].config)

    def results(self, data_set, system=''):
        """The Results of its seeds on a data set, those that there are."""
        return [
            run.results[data_set][system]
            for run in self.runs
            if system in run.results.get(data_set, {})
        ]


def by_seed(runs):
    """Runs that differ in their seed alone, together.

    Args:
        runs: Runs.

    Returns:
        Groups in the papers' order, with one run a seed: of those of one seed the first of those
        with the most results. Labels say model, objective, training set and preset as far as
        they differ among the runs of that task, and other keys that still tell them apart.
    """
    found = {}
    for run in runs:
        fixed = {
            key: value
            for key, value in run.config.items()
            if key not in FREE and not key.startswith('evaluation.')
        }
        key = json.dumps(
            [run.trained_on, run.training_data.get('fingerprint'), fixed], sort_keys=True
        )
        seeds = found.setdefault(key, {})
        if run.seed not in seeds or _scored(run) > _scored(seeds[run.seed]):
            seeds[run.seed] = run
    order = list(runs_lib.NAMES.values())
    members = sorted(
        (sorted(group.values(), key=lambda run: run.seed) for group in found.values()),
        key=lambda group: (
            group[0].task != 'speech',
            order.index(group[0].model) if group[0].model in order else len(order),
            group[0].objective,
            group[0].trained_on,
            group[0].name,
        ),
    )
    labels = _labels([group[0] for group in members])
    return [Group(label, tuple(group)) for label, group in zip(labels, members)]


def _scored(run):
    """How many results a run holds; a copy of its configuration may be an empty folder."""
    return sum(len(systems) for systems in run.results.values())


def short_labels(members, *, panels=False):
    """{Group: label} that tell these groups apart, shorter than those of all.

    A group of one seed is marked, since its intervals leave out what another would have given.

    Args:
        members: Groups of one figure or table.
        panels: whether each training set has a part of its own, so that the label need not say it.
    """
    labels = _labels([group.runs[0] for group in members], without=('on',) if panels else ())
    return {
        group: label + ', one seed' * (len(group.runs) == 1)
        for group, label in zip(members, labels)
    }


def _labels(runs, without=()):
    def parts(run):
        return {
            'model': run.model,
            'objective': run.objective,
            'on': f'on {run.trained_on}',
            'preset': run.config['preset'],
        }

    labels = []
    for run in runs:
        others = [parts(other) for other in runs if other.task == run.task]
        own = parts(run)
        labels.append(
            ', '.join(
                value
                for key, value in own.items()
                if key == 'model'
                or key not in without
                and len({other[key] for other in others}) > 1
            )
        )
    for label in {label for label in labels if labels.count(label) > 1}:
        alike = [i for i, one in enumerate(labels) if one == label]
        for i in alike:
            config = runs[i].config
            differ = [
                f'{key.split(".")[-1]}={value}'
                for key, value in sorted(config.items())
                if key not in FREE
                and not key.startswith('evaluation.')
                and any(runs[j].config.get(key) != value for j in alike)
            ]
            labels[i] = ', '.join([label, *differ])
    return labels
