"""Paper 2, Kadioglu et al.: its claims, Tables 1 and 2, the matrix and Figs. 4 and 5."""

import itertools

import numpy as np

from fgsep_jax.names import counted
from fgsep_jax.report import figures, intervals, published
from fgsep_jax.report.common import claims_table, judged, parameters, reached, seeds_on
from fgsep_jax.report.parts import Figure, Table, cell_text, heads
from fgsep_jax.report.runs import SYSTEMS
from fgsep_jax.report.scores import place, short_labels

DEEP, PLAIN = 'Deep w/ PReLU', 'Conv-TasNet'
SI_SNR, SI_SNRI, SDRI = 'SI-SNR', ('si_snri', ''), ('sdri', '')  # the plain objective; metrics
NON_LINEARITY = {'linear': 'linear', 'prelu': 'PReLU', 'glu': 'GLU'}
STEPS_SHOWN = 5
ORDER = list(published.TABLE_1)
MASK, LAW = 'ideal_ratio_mask', ' + power law'  # a baseline; the other objective's addition
# What the paper takes its means over: models, with what their objective adds.
FIGURE_5 = [model + objective.removeprefix(SI_SNR) for model, objective in published.FIGURE_5]
PLACES = {'in-dataset': True, 'cross-dataset': False}
# (claim, first model, second, kind) of models that are trained and tested on one data set.
VARIANTS = (
    ('GLU level with PReLU', 'Deep w/ GLU', DEEP, 'level'),
    ('Dilation no better than PReLU', 'Deep w/ dilation', DEEP, 'not above'),
    ('Big-Conv-TasNet no better than Conv-TasNet', 'Big-Conv-TasNet', PLAIN, 'not above'),
)
# Of SDRi, where Table 2 has it. Which objective its deep model had, the paper does not say.
SDRI_CLAIMS = [
    (f'{first} {"level with" if kind == "level" else "above"} {second}, SDRi', first, second, kind)
    for system, other, kind in (
        (DEEP, PLAIN, 'above'),
        (DEEP, 'Yang et al.', 'level'),
        ('FurcaPy', DEEP, 'above'),
    )
    for law in ('', LAW)
    for first, second in [[name + law * (name == DEEP) for name in (system, other)]]
]
# (claim, model, kind, the paper's numbers in and across data sets) of its other objective.
POWER_LAW = (
    ('Power law helps the deep encoder', DEEP, 'above', published.POWER_LAW_DEEP),
    ('Power law hurts the linear encoder', PLAIN, 'below', published.POWER_LAW_LINEAR),
)


def claims(results, preset):
    """The paper's claims, held against the runs of one preset.

    Args:
      results: Results of speech runs.
      preset: of the runs to compare.

    Returns:
      Table.
    """
    runs = _Runs(results.of(preset=preset))
    table_1 = {model: numbers[-1] for model, numbers in published.TABLE_1.items()}
    table_2 = {model: numbers[0] for model, numbers in published.TABLE_2.items()}
    made = (
        (SI_SNRI, _deep(runs)),
        (SI_SNRI, _on_own_set(runs, VARIANTS, table_1, 'trained and tested on')),
        (SDRI, _on_own_set(runs, SDRI_CLAIMS, table_2, 'on')),
        (SI_SNRI, itertools.chain(_power_law(runs), _diversity(runs), _drops(runs))),
    )
    return claims_table(
        f'claims_speech-{preset}',
        f'Claims of the Conv-TasNet study, {preset} models: SI-SNRi where no other is named',
        {'published': 'difference (dB)', 'where': 'Here', 'difference': 'Difference (dB)'},
        [judged(runs.results, *claim, metric) for metric, claims in made for claim in claims],
        ' A drop holds how hard the test sets are; for the row on data sets that neither was'
        ' trained on that does not matter.',
        runs.several,
    )


class _Runs:
    """Groups by model, training set and objective."""

    def __init__(self, results):
        self.results = results
        self.several = set()  # labels of those that differ in more than their seed
        self.sets = results.data_sets()
        self.own = sorted({group.trained_on for group in results.groups} & set(self.sets))

    def pick(self, on, name):
        """Number of the group of a model, with what its objective adds, trained on a data set; None
        unless there is just one."""
        model, law, _ = name.partition(LAW)
        fits = self.results.groups_of(model=model, trained_on=on, objective=SI_SNR + law)
        if len(fits) > 1:
            self.several.add(', '.join(group.label for group in fits))
        return fits[0].group if len(fits) == 1 else None

    def tests(self, on, inside):
        """Test sets in or across data sets, for training on one; all for None."""
        return [name for name in self.sets if inside is None or (name == on) == inside]

    def pairs(self, first, second, inside):
        """{training set: (number of a group, of another, test sets)}; first, second: of `pick`."""
        return {
            on: (self.pick(on, first), self.pick(on, second), self.tests(on, inside))
            for on in self.own
        }

    def speakers(self, on):
        """Speakers of a training set, 0 where nothing tells."""
        runs = self.results.runs[self.results.runs.trained_on == on].folder
        return max((run.training_data.get('speakers') or 0 for run in runs), default=0)


def _minus(first, second, tests, weight=1.0):
    """Terms of the mean difference of two groups over test sets."""
    signs = (1, first), (-1, second)
    return [(sign * weight / len(tests), group, test) for test in tests for sign, group in signs]


def _mean(pairs):
    """Where a mean over training sets is of, and its terms; `pairs` as of `_Runs.pairs`."""
    names = ' and on '.join(pairs)
    where = f'mean over training on {names}' if pairs else 'no training set'
    return where, [term for pair in pairs.values() for term in _minus(*pair, 1 / len(pairs))]


def _deep(runs):
    for name, (number, each) in zip(PLACES, (published.DEEP_IN, published.DEEP_CROSS)):
        pairs = runs.pairs(DEEP, PLAIN, PLACES[name])
        claim = f'Deep (PReLU) above Conv-TasNet (linear), {name}'
        yield claim, number, *_mean(pairs), 'above'
        for on, pair in pairs.items():
            if on in each or len(pairs) > 1:
                yield claim, each.get(on, ''), f'trained on {on}', _minus(*pair), 'above'


def _on_own_set(runs, claims, numbers, where):
    """Claims on models that are trained and tested on one data set, each of them by itself.

    Args:
      runs: _Runs.
      claims: as VARIANTS.
      numbers: {model: the paper's}.
      where: what is said before the name of the data set.
    """
    for on, (claim, *names, kind) in itertools.product(runs.own, claims):
        first, second = (numbers[name.removesuffix(LAW)] for name in names)
        terms = _minus(*(runs.pick(on, name) for name in names), [on])
        yield claim, f'{first - second:+.1f}', f'{where} {on}', terms, kind


def _drops(runs):
    """What the models of one training set lose on another's test set, each pair by itself."""
    for on, other in itertools.product(runs.own, runs.sets):
        picked = [runs.pick(on, model) for model in FIGURE_5]
        models = [
            model
            for model in picked
            if all(len(runs.results.part(model, name)) for name in (on, other))
        ]
        if models and on != other:
            terms = [
                (sign / len(models), model, name)
                for model in models
                for sign, name in ((1, on), (-1, other))
            ]
            where = f'trained on {on}, tested on {other}, mean of {counted(len(models), "model")}'
            number = published.DROP.get((on, other), '')
            yield 'Drop on another data set', number, where, terms, 'above'


def _power_law(runs):
    for claim, model, kind, numbers in POWER_LAW:
        for (name, inside), number in zip(PLACES.items(), numbers):
            pairs = runs.pairs(model + LAW, model, inside)
            pairs = {on: pair for on, pair in pairs.items() if None not in pair}
            yield f'{claim}, {name}', number, *_mean(pairs), kind
    claim = 'Deep with power law above Conv-TasNet with SI-SNR, all test sets'
    mean = _mean(runs.pairs(DEEP + LAW, PLAIN, None))
    yield claim, published.POWER_LAW_DEEP_OVER_PLAIN, *mean, 'above'


def _diversity(runs):
    """More diverse training data, for each pair of training sets of which one has more speakers."""
    sets = sorted((on for on in runs.own if runs.speakers(on)), key=runs.speakers)
    for few, many in itertools.combinations(sets, 2):
        models = [(runs.pick(few, model), runs.pick(many, model)) for model in FIGURE_5]
        models = [pair for pair in models if None not in pair]
        if runs.speakers(few) == runs.speakers(many) or not models:
            continue
        drops, across, share = [], [], 1 / len(models)
        of = f'mean of {counted(len(models), "model")}'
        for sign, on, i in ((1, few, 0), (-1, many, 1)):
            others = runs.tests(on, False)
            for pair in models:
                drops.append((sign * share, pair[i], on))
                across += [(-sign * share / len(others), pair[i], name) for name in others]
        where = f'drop of training on {few} ({runs.speakers(few)} speakers) minus that of {many}'
        where += f' ({runs.speakers(many)}), {of}'
        claim = 'Smaller drop from more diverse training data'
        yield claim, published.DROPS, where, drops + across, 'above'
        claim = 'More diverse training data better on the other data sets'
        where = f'trained on {many} minus {few}, each on all but its own, {of}'
        yield claim, published.MORE_DATA, where, across, 'above'
        neutral = [name for name in runs.sets if name not in (few, many)]
        where = f'trained on {many} minus {few}, tested on {", ".join(neutral) or "-"}, {of}'
        terms = [
            term
            for first, second in models
            if neutral
            for term in _minus(second, first, neutral, share)
        ]
        claim = 'More diverse training data better where neither was trained on'
        yield claim, published.MORE_DATA_NEUTRAL, where, terms, 'above'


def _plain(results, model, data_set, **more):
    """Groups of a model with the plain objective, trained on a data set."""
    return results.groups_of(model=model, objective=SI_SNR, trained_on=data_set, **more)


def table_1(results, data_set):
    """Table 1: the variants trained and tested on one data set, published numbers beside ours.

    Args:
      results: Results of speech runs.
      data_set: name of the training and the test set.
    """
    layers = {'layers': 'I (# layers)', 'non_linearity': 'Non-linearity'}
    layers['filters'] = '# first-layer filters'
    columns = heads('model', {f'published_{key}': label for key, label in layers.items()})
    columns |= {'published_si_snri': 'SI-SNRi, WSJ0-2mix (dB)'} | heads('preset', layers)
    rows = []
    for model, numbers in published.TABLE_1.items():
        for group in _plain(results, model, data_set) or [None]:
            ours = [None] * 8
            if group:
                encoder = group.config.get('model.encoder.name')
                ours = [
                    group.preset,
                    group.config.get('model.encoder.layers', 1 if encoder == 'linear' else None),
                    NON_LINEARITY.get(encoder, encoder),
                    group.config.get('model.encoder.basis'),
                    *_ours(results, group, data_set, SI_SNRI, SDRI),
                ]
            rows.append([model, *numbers, *ours])
    return Table(
        f'table_1-{data_set}',
        f'Table 1: variants trained and tested on {data_set}',
        columns | _our_heads(data_set, si_snri='SI-SNRi', sdri='SDRi'),
        rows,
        f'{NOT_OURS} The objective is SI-SNR.',
    )


NOT_OURS = (
    'Published numbers are of the full models on WSJ0-2mix; ours are of the sizes and the data set'
    ' that the columns name.'
)


def _ours(results, group, data_set, *metrics):
    number = group.group
    scores = [results.score(number, data_set, metric) for metric in metrics]
    return [parameters(results, number), seeds_on(results, number, [data_set]), *scores]


def _our_heads(data_set, **metrics):
    scores = {key: f'{label}, {data_set} (dB)' for key, label in metrics.items()}
    return heads('parameters seeds', scores)


def table_2(results, data_set):
    """Table 2: SDR improvement and parameters, published numbers beside ours."""
    rows = []
    models = {**published.TABLE_2, **dict.fromkeys(published.NEXT_STEP, (None, None))}
    for model, numbers in models.items():
        for law in ('', LAW) if model == DEEP else ('',):
            fits = dict(model=model, objective=SI_SNR + law, trained_on=data_set)
            empty = [None] * (model in published.TABLE_2)  # a row without a run
            for group in results.groups_of(**fits) or empty:
                ours = group and [group.preset, *_ours(results, group, data_set, SDRI)]
                rows.append([model + law, *numbers, *(ours or [None] * 4)])
    paper = {'published_sdri': 'SDRi, WSJ0-2mix (dB)', 'published_parameters': 'Parameters'}
    return Table(
        f'table_2-{data_set}',
        f'Table 2: SDR improvement on {data_set}',
        heads('model', paper) | heads('preset') | _our_heads(data_set, sdri='SDRi'),
        rows,
        f'{NOT_OURS} Which objective its {DEEP} had, the paper does not say: both stand here.',
    )


def cross_table(results, data_sets):
    """The matrix behind Fig. 5: training set x test set x model x objective.

    Args:
      results: Results of speech runs.
      data_sets: names of the test sets.

    Returns:
      Table with a column a test set, then the mean over the test sets other than the run's own
      and the drop from its own to that mean, where all of them are there. What Fig. 5 has and
      no run fills is a row of empty cells.
    """
    rows = []
    for group in results.groups:
        cells = [results.score(group.group, name, SI_SNRI) for name in data_sets]
        _, cross, drop = _in_and_across(results, [group], data_sets)
        present = [name for name, cell in zip(data_sets, cells) if cell is not None]
        seeds = seeds_on(results, group.group, present)
        rows.append([*_kind(group), group.preset, seeds, *cells, cross, drop])
    for on in sorted({group.trained_on for group in results.groups}):
        for model, objective in _missing(results, on):
            rows.append([model, objective, on] + [None] * (len(data_sets) + 4))
    rows.sort(key=lambda row: (place(row[0], ORDER), *row[1:3]))
    oracle = []
    for name in data_sets:
        masked = (results.score(g.group, name, SI_SNRI, system=MASK) for g in results.groups)
        oracle.append(next(filter(None, masked), None))
    if any(oracle):
        rows.append([SYSTEMS[MASK], '', '', '', '', *oracle, '', ''])
    return Table(
        'cross_dataset',
        'Cross-dataset evaluation: SI-SNRi (dB)',
        heads('model objective trained_on preset seeds', _on(data_sets))
        | {'cross': 'Other data sets', 'drop': 'Drop'},
        rows,
        'The drop is what a model scores on the test set of its own data set minus its mean on the'
        ' others; it holds how hard those test sets are, too. IRM: ideal ratio mask. Test sets: '
        + '; '.join(_size(results, name) for name in data_sets)
        + '.',
    )


def _missing(results, on):
    """The (model, objective) of Fig. 5 that no run on a training set has, but should have."""
    has = {(group.model, group.objective, group.trained_on) for group in results.groups}
    once = published.ONCE if any(kind[:2] == published.ONCE for kind in has) else None
    return [kind for kind in published.FIGURE_5 if kind != once and (*kind, on) not in has]


def _on(data_sets):
    return {f'on_{name}': f'On {name}' for name in data_sets}


def _kind(group):
    return [group.model, group.objective, group.trained_on]


def _size(results, data_set):
    """'libri: 150 mixtures of 31 speakers'."""
    mixtures = speakers = 0
    for group in results.groups:
        if len(results.part(group.group, data_set)):
            examples = results.examples(group.group, data_set)
            mixtures = len(examples)
            speakers = examples['speaker'].stack().nunique() if 'speaker' in examples else 0
            break
    return f'{data_set}: {counted(mixtures, "mixture")} of {counted(speakers, "speaker")}'


def _in_and_across(results, groups, data_sets):
    """Estimates of the in-dataset mean, the cross-dataset mean and the drop of some groups; None
    where one of them lacks a test set."""
    if not all(group.trained_on in data_sets for group in groups):
        return [None] * 3
    own = [(1 / len(groups), group.group, group.trained_on) for group in groups]
    cross = [
        (1 / len(groups) / (len(data_sets) - 1), group.group, name)
        for group in groups
        for name in data_sets
        if name != group.trained_on and len(data_sets) > 1
    ]
    lost = own + [(-weight, *rest) for weight, *rest in cross] if cross else []
    return [results.difference(terms, SI_SNRI) for terms in (own, cross, lost)]


def cross_means(results, data_sets):
    """Means in and across data sets of each model and objective, over all that it was trained on.

    Args:
      results: Results of speech runs.
      data_sets: names of the test sets.
    """
    rows, kinds = [], {}
    for group in results.groups:
        kinds.setdefault((group.model, group.objective, group.preset), []).append(group)
    for kind, groups in kinds.items():
        names = [group.trained_on for group in groups]
        unique = len(set(names)) == len(names)  # else they differ in yet another key
        means = _in_and_across(results, groups, data_sets) if unique else [None] * 3
        rows.append([*kind, ', '.join(names), *means])
    return Table(
        'cross_means',
        'In-dataset and cross-dataset means: SI-SNRi (dB)',
        heads('model objective preset trained_on')
        | {'in_dataset': 'In-dataset', 'cross_dataset': 'Cross-dataset', 'drop': 'Drop'},
        rows,
        'Each training set counts alike, and so does each of its other test sets; rows that were'
        ' trained on different sets cannot be compared.',
    )


def cross_differences(results, data_sets):
    """What each model and objective scores over Conv-TasNet with SI-SNR, on the same examples;
    None where there is no other.

    Args:
      results: Results of speech runs.
      data_sets: names of the test sets.
    """
    rows = []
    for group in results.groups:
        plain = _plain(results, PLAIN, group.trained_on, preset=group.preset)
        if group.group not in [other.group for other in plain]:
            first = plain[0].group if len(plain) == 1 else None
            cells = [
                results.difference([(1, group.group, name), (-1, first, name)], SI_SNRI)
                for name in data_sets
            ]
            rows.append([*_kind(group), group.preset, *cells])
    if not rows:
        return None
    return Table(
        'cross_differences',
        'Above Conv-TasNet with SI-SNR of the same training set: SI-SNRi (dB)',
        heads('model objective trained_on preset', _on(data_sets)),
        rows,
        'Means of the differences on the same examples, with intervals for those.',
    )


@figures.styled
def cross_figure(results, data_sets):
    """Grouped bars of SI-SNRi as in Fig. 5, a panel a training set; None without results.

    Every panel has a place for each model and objective of the paper's figure, and for what else
    was trained on any set; a place without a run says so.

    Args:
      results: Results of speech runs.
      data_sets: names of the test sets.
    """
    from matplotlib import patches

    if not data_sets:
        return None
    trained, bars = sorted({group.trained_on for group in results.groups}), _bars(results)
    styles = figures.styles([(model, name) for name, (model, _) in bars.items()])
    figure, axes = figures.axes(
        len(trained), width=8.5, height=2.5 * len(trained) + 0.5, sharey=True
    )
    values, width = [], 0.84 / len(bars)
    for ax, on in zip(axes[:, 0], trained):
        # A run that the paper has on one training set, and that another set has here.
        elsewhere = '' if published.ONCE in _missing(results, on) else ', '.join(published.ONCE)
        for b, (name, (_, groups)) in enumerate(bars.items()):
            style = {key: styles[name][key] for key in ('color', 'hatch')}
            for d, data_set in enumerate(data_sets):
                x = d + (b - (len(bars) - 1) / 2) * width
                cell = results.score(groups[on], data_set, SI_SNRI) if on in groups else None
                if cell is None:
                    if on in groups or name != elsewhere:
                        figures.no_run(ax, x)
                    continue
                ax.bar(x, cell.value, width * 0.9, edgecolor='white', linewidth=0, **style)
                if cell.low is not None:
                    ends = [[cell.value - cell.low], [cell.high - cell.value]]
                    ink = figures.INK
                    ax.errorbar(x, cell.value, ends, color=ink, elinewidth=0.9, capsize=2)
                values.append(
                    f'{name}, trained on {on}, tested on {data_set}: {cell_text(cell)} dB'
                )
        ax.axhline(0, color=figures.INK, linewidth=0.7)
        ax.set_xlim(-0.5, len(data_sets) - 0.5)
        ax.set_xticks(
            range(len(data_sets)),
            [f'test: {figures.short(name)}' + ' (in-dataset)' * (name == on) for name in data_sets],
        )
        ax.grid(axis='x', visible=False)
        ax.set_title(f'trained on {figures.short(on)}')
        ax.set_ylabel('SI-SNRi (dB)')
    handles = {
        name: patches.Patch(
            facecolor=style['color'], hatch=style['hatch'], edgecolor='white', linewidth=0
        )
        for name, style in styles.items()
    }
    figures.legend_below(figure, handles)
    return Figure(
        'figure_5',
        f'Fig. 5: cross-dataset evaluation on {", ".join(data_sets)}',
        'Bars of SI-SNR improvement. ' + '; '.join(values) + '.',
        figure,
        'Bars are means over examples and seeds, whiskers their 95 % intervals. The paper has'
        ' WSJ0-2mix, LibriTTS and VCTK in these places.',
    )


def _bars(results):
    """{label: (model, {training set: group})} of every bar that a panel of Fig. 5 has."""
    several = len({group.preset for group in results.groups}) > 1
    bars = {}
    for group in results.groups:
        name = f'{group.model}, {group.objective}' + several * f', {group.preset}'
        if group.trained_on in bars.get(name, (None, {}))[1]:  # differs in another key still
            name = group.label
        bars.setdefault(name, (group.model, {}))[1][group.trained_on] = group.group
    if not several:
        for model, objective in published.FIGURE_5:
            bars.setdefault(f'{model}, {objective}', (model, {}))
    return dict(sorted(bars.items(), key=lambda bar: (place(bar[1][0], ORDER), bar[0])))


ROSE = 1.0  # dB of validation loss that a stable training does not lose from epoch to epoch


def stability(results):
    """How smoothly the models were trained, of which the paper notes that its deep encoder was not
    with SI-SNR alone; None without logs.

    Args:
      results: Results of speech runs.
    """
    rows = []
    for group in results.groups:
        runs = results.runs_of(group.group)
        logs = [run.curves for run in runs if ('train', 'gradient_norm') in run.curves]
        if not logs:
            continue
        norms = [log['train', 'gradient_norm'][1] for log in logs]
        spikes = [np.nanmax(norm_N) / max(np.nanmedian(norm_N), 1e-12) for norm_N in norms]
        skipped = [log['train', 'skipped'][1][-1] for log in logs if ('train', 'skipped') in log]
        losses = [log['validation', 'loss'][1] for log in logs if ('validation', 'loss') in log]
        rose = sum(int((np.diff(loss_N) > ROSE).sum()) for loss_N in losses)
        cells = [f'{int(sum(skipped)):,}', f'{max(spikes):.1f}', f'{rose:,}']
        rows.append([group.label, len(logs), *cells])
    if not rows:
        return None
    heading = {'skipped': 'Skipped steps', 'spike': 'Largest gradient over the median'}
    heading['rose'] = f'Epochs that lost {ROSE:g} dB and more'
    return Table(
        'stability',
        'How smoothly the models were trained',
        heads('system seeds') | heading,
        rows,
        'Over all seeds; steps are skipped where loss or gradient is not finite, gradients are'
        ' those of the steps that were logged, before clipping.',
    )


def stability_claims(results, preset):
    """What the paper notes of stability, held against the runs of one preset; None where no two
    models that it compares have been trained.

    Args:
      results: Results of speech runs.
      preset: of the runs to compare.
    """
    runs, rows = _Runs(results.of(preset=preset)), []
    for on in runs.own:
        speakers = f' ({runs.speakers(on):,} speakers)' * bool(runs.speakers(on))
        for claim, second in (
            ('Deep (PReLU) less stable than Conv-TasNet (linear), both with SI-SNR', PLAIN),
            ('Deep (PReLU) less stable with SI-SNR than with the power law', DEEP + LAW),
        ):
            groups = runs.pick(on, DEEP), runs.pick(on, second)
            bad = [_unstable(runs.results, group) for group in groups]
            if any(bad_SK is None for bad_SK in bad):
                continue
            first, second = (
                intervals.Term(sign, 100.0 * bad_SK, system=sign, data=sign)
                for sign, bad_SK in zip((1, -1), bad)
            )
            estimate = intervals.contrast([first, second])
            estimate = estimate._replace(note=estimate.note.replace('examples', 'epochs'))
            terms = [(1, groups[0], on), (-1, groups[1], on)]
            verdict = published.verdict(estimate, 'above', reached(runs.results, terms))
            rows.append([claim, 'yes', f'trained on {on}{speakers}', estimate, verdict])
    if not rows:
        return None
    return claims_table(
        f'claims_stability-{preset}',
        f'Claims of the Conv-TasNet study, {preset} models: unstable epochs in training',
        {'published': 'claim', 'where': 'Here', 'difference': 'Difference (%)'},
        rows,
        ' The paper notes "some stability issues during training on very large'
        ' datasets that were specific to the deep encoder/decoder when it is optimized solely with'
        ' SI-SNR", which the power-law term resolved, and gives no measure of them. Ours: the share'
        f' of epochs in which a step was skipped or the validation loss rose by {ROSE:g} dB and'
        ' more, or was not finite; of a training that ended by that, the epochs that it lacks, too.'
        ' Epochs are the examples. Its large data set has 1,151 speakers.',
    )


def _unstable(results, group):
    """Which epochs of each seed's training were unstable, bool [seeds, epochs], as many as all
    seeds have, but those that diverged; None without logs."""
    epochs = []
    for run in results.runs_of(group):
        if not {('train', 'skipped'), ('skipped', '')} & run.curves.keys():
            return None
        steps = {kind: step_N for kind, (step_N, _) in run.curves.items()}
        skipped_N = steps.get(('skipped', ''), np.zeros(0))
        step_K, loss_K = run.curves.get(('validation', 'loss'), (np.zeros(0),) * 2)
        end_K = np.union1d(step_K, steps.get(('validation', 'no loss'), ()))
        value_K = np.full(len(end_K), np.nan)
        value_K[np.searchsorted(end_K, step_K)] = loss_K
        rise_K = np.diff(value_K, prepend=value_K[:1])
        skips_K = np.bincount(np.searchsorted(end_K, skipped_N), minlength=len(end_K) + 1)
        bad_K = (skips_K[:-1] > 0) | ~(rise_K <= ROSE)
        # Ended by as many skipped steps in a row as end a training.
        limit = run.config.get('training.max_nonfinite_steps') or 0
        row_N = skipped_N[skipped_N > max(end_K, default=0)][-limit:]
        diverged = 0 < limit == len(row_N) == row_N[-1] - row_N[0] + 1
        epochs.append((bad_K, diverged))
    whole = [len(bad_K) for bad_K, diverged in epochs if not diverged]
    count = min(whole) if whole else max((len(bad_K) + 1 for bad_K, _ in epochs), default=0)
    bad = [np.r_[bad_K, np.full(count * diverged, True)][:count] for bad_K, diverged in epochs]
    return np.array(bad) if count else None


@figures.styled
def gates(results):
    """Gate outputs of the first gated layer over training, as Fig. 4; None without gated runs.

    Args:
      results: Results of speech runs; of each gated group its first seed is shown.
    """
    gated = results.where([bool(run.gates.frames) for run in results.runs.folder])
    if not gated.groups:
        return None
    labels = short_labels(results.where(results.runs.group.isin(gated.runs.group)))
    count = len(gated.groups)
    figure, axes = figures.axes(2 * count, STEPS_SHOWN, width=9.0, height=4.6 * count)
    for r, group in enumerate(gated.groups):
        gate_KN = group.folder.gates.frames
        steps = sorted(gate_KN)
        chosen = [
            steps[i]
            for i in np.unique(np.linspace(0, len(steps) - 1, STEPS_SHOWN).round().astype(int))
        ]
        # Channels in one order throughout: the one most open at the end on top.
        order_N = np.argsort(gate_KN[steps[-1]].mean(axis=0))
        for ax in axes[2 * r, len(chosen) :]:
            ax.remove()
        for c, (ax, step) in enumerate(zip(axes[2 * r], chosen)):
            image = ax.imshow(gate_KN[step][:, order_N].T, vmin=0, vmax=1, cmap='viridis')
            ax.set_title(f'step {step}')
            ax.set_xlabel('part of the segment')
            ax.grid(visible=False)
            ax.set_yticks([] if c else [0, len(order_N) - 1], [] if c else [1, len(order_N)])
        axes[2 * r, 0].set_ylabel(f'channel\n({figures.short(labels[group.group])})')
        figure.colorbar(image, ax=axes[2 * r, : len(chosen)], label='gate, 1 is open', pad=0.01)
        _gate_means(figure, axes[2 * r + 1], gate_KN, steps)
    return Figure(
        'figure_4',
        'Fig. 4: gate outputs of the first gated layer over training',
        'Heat maps of the gates of all channels over the length of one utterance at several steps,'
        ' and the mean gate of every channel against the step.',
        figure,
        'The same utterance at every step: '
        + '; '.join(
            f'{group.run or group.label}, the {group.folder.gates.of}' for group in gated.groups
        )
        + '. Above: channels, sorted by how open they are in the end, over the first segment of the'
        ' utterance in at most 256 equal parts, of which the mean is shown. Below: the mean over'
        ' the segment, a line a channel, and the bold line their mean.',
    )


CLOSED, OPEN = 0.1, 0.9  # mean gates of channels that pass nearly nothing, or all


def gates_table(results):
    """How many channels of the first gated layer close or open over training; None without any.

    Args:
      results: Results of speech runs.
    """
    rows = []
    for group in results.groups:
        means = [run.gates.means for run in results.runs_of(group.group) if run.gates.means]
        for step in sorted(set.intersection(*map(set, means))) if means else ():
            mean_SN = np.stack([of_run[step] for of_run in means])
            shares = (mean_SN < CLOSED).mean(), (mean_SN > OPEN).mean()
            numbers = [f'{100 * share:.1f}' for share in shares]
            rows.append([group.label, len(means), step, *numbers, f'{mean_SN.mean():.3f}'])
    if not rows:
        return None
    heading = {'closed': 'Closed (%)', 'open': 'Open (%)', 'mean': 'Mean gate'}
    return Table(
        'gates',
        'Channels of the first gated layer that close or open over training',
        heads('system seeds') | {'step': 'Step'} | heading,
        rows,
        f'Closed: the mean gate over all frames of the first segment of every test mixture is below'
        f' {CLOSED:g}; open: above {OPEN:g}. Means over the seeds.',
    )


def _gate_means(figure, row, gate_KN, steps):
    grid = row[0].get_gridspec()
    index = row[0].get_subplotspec().rowspan.start
    for ax in row:
        ax.remove()
    ax = figure.add_subplot(grid[index, :])
    mean_SN = np.array([gate_KN[step].mean(axis=0) for step in steps])
    place = np.arange(len(steps))
    ax.plot(place, mean_SN, color=figures.COLORS['Deep w/ GLU'], linewidth=0.5, alpha=0.5)
    ax.plot(place, mean_SN.mean(axis=1), color=figures.INK, linewidth=2)
    ax.set_xticks(place, steps)
    ax.set_ylim(0, 1)
    ax.set_xlabel('step')
    ax.set_ylabel('mean gate')
