"""The report: which tables, figures and sounds it has, and all of it as one page."""

import dataclasses
import importlib.resources
import re

import jinja2

from fgsep_jax import names
from fgsep_jax.report import common, figures, foreground, players, sounds, speech
from fgsep_jax.report.intervals import Estimate
from fgsep_jax.report.parts import Section, cell_text, is_published, numeric

TITLES = {'speech': 'Speech', 'foreground': 'Foreground and background'}
PAPERS = {
    'speech': 'Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020.',
    'foreground': 'Olvera et al., "Foreground-background ambient sound scene separation",'
    ' EUSIPCO 2020.',
}


def sections(results, notes=(), *, examples=1):
    """Parts of the report: what there is, then what the papers have.

    Args:
      results: Results.
      notes: sentences about what is left out.
      examples: to listen to, of each split.

    Returns:
      Sections; what no run fills is left out, single missing runs leave empty cells. Those of a
      paper of whose claims none can be held against the runs are folded.
    """
    tasks = {task: results.of(task=task) for task in TITLES if (results.runs.task == task).any()}
    scores, heard, curves, others, details, papers = [], [], [], [], [], []
    for task, ours in tasks.items():
        sets, other = ours.data_sets(), ours.data_sets('other')
        scores += [common.scores_table(ours, name) for name in sets]
        others += [common.scores_table(ours, name) for name in other]
        for name in sets + other:
            heard += sounds.examples(ours, name, examples)
        curves.append(common.curves(ours))
        if task == 'speech':
            curves += [make(ours) for make in (speech.stability, speech.gates, speech.gates_table)]
        makers = common.by_input_snr, common.by_length, common.by_kind, common.worst_ten
        title = f'{TITLES[task]}: easy and hard examples'
        parts = [make(ours, name) for name in sets for make in makers]
        details.append(Section(f'{task}_by_example', title, '', parts))
        papers += {'speech': _speech, 'foreground': _foreground}[task](ours)
    parts = [
        Section(
            'runs',
            'Scores and runs',
            'Runs that differ in their seed alone stand in one row. A cell without a'
            ' run is marked. Intervals are 95 %, over examples and seeds.',
            [*scores, common.runs_table(results)],
            tuple(notes),
        ),
        Section(
            'listening',
            'Listen',
            'All tracks of an example are played at the same loudness. Of each group its first'
            ' seed is heard, and the scores are of what is heard. Spectrograms are on mel bands'
            ' up to half the sample rate, in dB below the loudest of the example.',
            heard,
        ),
        Section('training', 'Over training', '', curves),
        *details,
        *papers,
        Section(
            'other_splits',
            'Other splits',
            'No claim rests on these: checkpoints are chosen by a validation split.',
            others,
        ),
    ]
    return _distinct(parts)


def _distinct(parts):
    """Sections without what is None or empty, whose items' names differ in more than case, since
    files and anchors have them."""
    taken, sections = [], []
    for section in parts:
        ours = []
        for item in section.items:
            name = item and item.name
            count = 1
            while item and names.alike([*taken, item.name]):
                count += 1
                item = dataclasses.replace(item, name=f'{name}-{count}')
            if item:
                taken.append(item.name)
                ours.append(item)
        if ours or section.notes:
            sections.append(dataclasses.replace(section, items=ours))
    return sections


def _speech(results):
    sets = results.data_sets()
    own = sorted({group.trained_on for group in results.groups} & set(sets))
    presets = list(dict.fromkeys(group.preset for group in results.groups))
    makers = speech.claims, speech.stability_claims
    claims = [make(results, preset) for make in makers for preset in presets]
    return _paper(
        'speech',
        [*filter(None, claims)],
        (
            'speech',
            'Tables 1 and 2',
            'Numbers from the paper are marked as published and'
            ' are of its own data; ours are of the data set that the heading names.',
            [make(results, name) for name in own for make in (speech.table_1, speech.table_2)],
        ),
        (
            'cross_dataset',
            'across data sets',
            '',
            [
                make(results, sets)
                for make in (
                    speech.cross_table,
                    speech.cross_means,
                    speech.cross_differences,
                    speech.cross_figure,
                )
            ],
        ),
    )


def _foreground(results):
    claims, items = [], []
    for family in foreground.families(results.data_sets()):
        ours = foreground.of_family(results, family)
        presets = dict.fromkeys(group.preset for group in ours.groups)
        claims += [foreground.claims(ours, family, preset) for preset in presets]
        items += [
            foreground.box_plots(ours, family),
            *foreground.medians(ours, family),
            foreground.mel_spectrograms(ours, family),
        ]
    return _paper('foreground', claims, ('foreground', 'C1 to C4', '', items))


def _paper(task, claims, *parts):
    """Sections of a paper: its claims, then its tables and figures. A table of claims without one
    difference is a note of one line; where all are, the sections are folded."""
    notes = [
        f'{table.title}: no claim can be held against these runs, since each compares models that'
        ' have not all been run.'
        for table in claims
        if not table.filled
    ]
    judged = [table for table in claims if table.filled]
    title = f'{TITLES[task]}: what the paper claims'
    return [
        Section(f'claims_{task}', title, PAPERS[task], judged, tuple(notes), not judged),
        *(
            Section(name, f'{TITLES[task]}: {title}', text, items, (), not judged)
            for name, title, text, items in parts
        ),
    ]


def render(sections, *, title):
    """The report as HTML text; styles, scripts, figures and sounds are inside it."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        'shown': names.shown,
        'is_published': is_published,
        'cell_text': cell_text,
        'number': lambda value, key: cell_text(float(value), key).replace('-', '\N{MINUS SIGN}'),
        'sorted_by': _sorted_by,
        'kinds': lambda table: ['number' if number else 'words' for number in numeric(table)],
        'inline': figures.inline,
        'listening': players.listening,
    }
    template = (importlib.resources.files('fgsep_jax.report') / 'page.html').read_text()
    body = environment.from_string(template).render(sections=sections)
    links = ''.join(
        f'<li><a href="#part-{section.name}">{players.escaped(section.title)}</a></li>'
        for section in sections
    )
    return players.page(title, body, links=links)


def _sorted_by(cell):
    """The number that a column is sorted by in the place of a cell, or None."""
    if isinstance(cell, Estimate):
        return repr(float(cell.value))
    if isinstance(cell, (int, float)):
        return repr(cell)
    span = re.fullmatch(r'[\d,]+ to ([\d,]+)', str(cell))  # by its upper end
    return span and span[1].replace(',', '')
