"""Which tables, figures and sounds a report has, from the runs that there are."""

import dataclasses

from fgsep_jax import names
from fgsep_jax.report import (
    claims_foreground,
    claims_speech,
    figures_common,
    figures_foreground,
    figures_speech,
    groups as groups_lib,
    items,
    listening,
    results,
    runs as runs_lib,
    tables_foreground,
    tables_speech,
)
from fgsep_jax.report.tables_common import (
    SUBSETS,
    other_splits,
    runs_table,
    split_table,
    test_sets,
    worst_ten,
)


def notes(runs):
    """Reads the runs and says what is wrong with them.

    Args:
        runs: Runs; results that cannot stand beside the others are taken out of them.

    Returns:
        Sentences.
    """
    found = runs_lib.reconcile(runs)
    kept = {run for group in groups_lib.by_seed(runs) for run in group.runs}
    found += [
        f'{run.name} is left out: another run has its configuration and its seed, too.'
        for run in runs
        if run not in kept
    ]
    found += seen_in_training(runs)
    for run in runs:
        for read in ('curves', 'gates', 'examples'):  # now, so that their problems are known
            getattr(run, read)
        found += run.problems
    return found


def seen_in_training(runs):
    """Sentences on the results whose speakers or recordings a run was trained on."""
    members = {}
    for run in runs:
        for data_set, systems in run.results.items():
            for count, seen in {
                tuple(result.summary.get(key) for key in results.SEEN)
                for system, result in systems.items()
                if not system
            }:
                if seen or (count and seen is None):
                    which = data_set, count, seen, run.trained_on, run.task
                    members.setdefault(which, []).append(run.name)
    sentences = []
    for (data_set, count, seen, trained_on, task), named in sorted(members.items(), key=str):
        kind = 'speakers' if task == 'speech' else 'recordings'
        whose = f'the training data of {", ".join(named)} ({trained_on})'
        sentences.append(
            f'Whether some of the {count} {kind} in {data_set} are in {whose} could not be checked.'
            if seen is None
            else f'{seen} of the {count} {kind} in {data_set} are called as some in {whose}: if'
            ' they are the same, these scores are not of unseen ones.'
        )
    return sentences


def sections(runs, notes=(), *, examples=1):
    """Parts of the report.

    Args:
        runs: Runs.
        notes: sentences about what is left out.
        examples: to listen to, of each split.

    Returns:
        Sections; what no run fills is left out, single missing runs leave empty cells.
    """
    groups = groups_lib.by_seed(runs)
    parts = [
        items.Section(
            'runs',
            'Runs',
            'Runs that differ in their seed alone stand in one row. A cell without a'
            ' run is marked. Intervals are 95 %, over examples and seeds.',
            [runs_table(groups)],
            tuple(notes),
        )
    ]
    sounds = listening.examples(groups, examples)
    if sounds:
        parts.append(
            items.Section(
                'listening',
                'Listen',
                'All tracks of an example are played at the same loudness. Of each group its first'
                ' seed is heard, and the scores are of what is heard. Spectrograms are on mel bands'
                ' up to half the sample rate, in dB below the loudest of the example.',
                sounds,
            )
        )
    speech = [group for group in groups if group.task == 'speech']
    masks = [group for group in groups if group.task == 'foreground']
    if speech:
        parts += _speech(speech)
    if masks:
        parts += _foreground(masks)
    tables = [split_table(one, name) for one in (speech, masks) for name in other_splits(one)]
    if tables:
        parts.append(
            items.Section(
                'other_splits',
                'Other splits',
                'No claim rests on these: checkpoints are chosen by a validation split.',
                tables,
            )
        )
    return _told_apart(parts)


def _told_apart(parts):
    """Parts whose items' names differ in more than case, since files and anchors have them."""
    taken, found = [], []
    for section in parts:
        ours = []
        for item in section.items:
            count = 1
            while names.alike([*taken, item.name]):
                count += 1
                item = dataclasses.replace(item, name=f'{item.name}-{count}')
            taken.append(item.name)
            ours.append(item)
        found.append(dataclasses.replace(section, items=ours))
    return found


def _speech(groups):
    sets = test_sets(groups)
    own = sorted({group.trained_on for group in groups} & set(sets))
    presets = list(dict.fromkeys(group.config['preset'] for group in groups))
    return [
        items.Section(
            'claims_speech',
            'Speech: what the paper claims',
            'Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020.',
            *_judged([claims_speech.speech(groups, preset) for preset in presets]),
        ),
        items.Section(
            'speech',
            'Speech: Tables 1 and 2',
            'Numbers from the paper are marked as published and'
            ' are of its own data; ours are of the data set that the heading names.',
            [
                table(groups, name)
                for name in own
                for table in (tables_speech.table_1, tables_speech.table_2)
            ],
        ),
        items.Section(
            'cross_dataset',
            'Speech: across data sets',
            '',
            _present(
                [
                    tables_speech.cross_table(groups, sets),
                    tables_speech.cross_means(groups, sets),
                    tables_speech.cross_differences(groups, sets),
                    figures_speech.cross_dataset(groups, sets),
                ]
            ),
        ),
        items.Section(
            'training_speech',
            'Speech: over training',
            '',
            _present([figures_common.curves(groups), figures_speech.gates(groups)]),
        ),
        *_by_example('speech', groups, sets),
    ]


def _foreground(groups):
    sets = test_sets(groups)
    families = tables_foreground.families(sets)
    named = {
        family: [
            group
            for group in groups
            if any(group.results(f'{family}-{subset}') for subset in SUBSETS)
        ]
        for family in families
    }
    return [
        items.Section(
            'claims_foreground',
            'Foreground and background: what the paper claims',
            'Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020.',
            *_judged(
                [
                    claims_foreground.foreground(members, family, preset)
                    for family, members in named.items()
                    for preset in dict.fromkeys(group.config['preset'] for group in members)
                ]
            ),
        ),
        items.Section(
            'foreground',
            'Foreground and background: C1 to C4',
            '',
            _present(
                [
                    item
                    for family, members in named.items()
                    for item in (
                        figures_foreground.box_plots(members, family),
                        *tables_foreground.medians(members, family),
                        figures_foreground.mel_spectrograms(members, family),
                    )
                ]
            ),
        ),
        items.Section(
            'training_foreground',
            'Foreground and background: over training',
            '',
            _present([figures_common.curves(groups)]),
        ),
        *_by_example('foreground', groups, sets),
    ]


def _by_example(name, groups, sets):
    """Sections on what the improvement depends on."""
    title = {'speech': 'Speech', 'foreground': 'Foreground and background'}[name]
    makers = (
        figures_common.by_input_snr,
        figures_common.by_length,
        figures_common.by_kind,
        worst_ten,
    )
    found = _present([make(groups, one) for one in sets for make in makers])
    return [items.Section(f'{name}_by_example', f'{title}: easy and hard examples', '', found)]


def _judged(tables):
    """(tables of claims, notes): a table without one difference is a note of one line."""
    judged = [
        table
        for table in tables
        if any(isinstance(cell, items.Estimate) for row in table.rows for cell in row)
    ]
    notes = [
        f'{table.title}: no claim can be held against these runs, since each compares models that'
        ' have not all been run.'
        for table in tables
        if table not in judged
    ]
    return judged, tuple(notes)


def _present(found):
    return [item for item in found if item is not None]
