"""What the figures show, read back from their artists."""

import json

import numpy as np
import pytest

import fabricate
from fgsep_jax.report import (
    common,
    figures,
    foreground,
    scores,
    sound,
    sounds,
    speech as speech_lib,
)
from reading import results_in


@pytest.fixture(scope='module')
def everything(every_run):
    return scores.read([every_run], [])


@pytest.fixture(scope='module')
def speech(everything):
    return everything.of(task='speech')


@pytest.fixture(scope='module')
def masks(everything):
    return everything.of(task='foreground')


def texts(figure):
    return {text.get_text() for ax in figure.axes for text in ax.texts}


@pytest.mark.slow
def test_figure_5_has_a_bar_for_every_cell_of_the_matrix(speech):
    item = speech_lib.cross_figure(speech, ['alpha', 'beta'])
    heights = [patch.get_height() for ax in item.figure.axes for patch in ax.patches]
    cells = [
        speech.score(group.group, name, ('si_snri', '')).value
        for on in ('alpha', 'beta')
        for group in speech.groups
        if group.trained_on == on
        for name in ('alpha', 'beta')
    ]
    np.testing.assert_allclose(heights, cells)
    assert len(cells) == 2 * 9
    # The GLU was trained on alpha alone: two empty places in the panel of beta.
    assert [[text.get_text() for text in ax.texts] for ax in item.figure.axes] == [
        [],
        [' no run'] * 2,
    ]
    (legend,) = item.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        'Conv-TasNet, SI-SNR',
        'Conv-TasNet, SI-SNR + power law',
        'Deep w/ PReLU, SI-SNR',
        'Deep w/ PReLU, SI-SNR + power law',
        'Deep w/ GLU, SI-SNR',
    ]
    # One look for one bar of the legend, in both panels; hatches tell the objectives apart.
    first, second = (ax.patches for ax in item.figure.axes)
    assert first[0].get_facecolor() == second[0].get_facecolor()
    assert {patch.get_hatch() for patch in first} == {'', '////'}


@pytest.mark.slow
def test_figure_5_marks_what_was_not_evaluated(speech):
    item = speech_lib.cross_figure(speech, ['alpha', 'beta', 'gamma'])
    assert [len(ax.texts) for ax in item.figure.axes] == [5, 3 + 4]
    assert speech_lib.cross_figure(speech, []) is None


def test_unstable_trainings_are_counted(speech, monkeypatch):
    rows = {(row[0].split(',')[0], row[1]): row[2:] for row in speech_lib.stability(speech).rows}
    assert {name for name, _ in rows} == {group.model for group in speech.groups}
    for (name, _), (skipped, spike, rose) in rows.items():
        deep = name == 'Deep w/ PReLU'
        assert (spike, rose) == ('35.0' if deep else '1.0', '0') and skipped == '0'
    (folder,) = [run for run in speech.runs.folder if run.gates.frames]
    steps = np.arange(5.0)
    curves = {
        ('train', 'gradient_norm'): (steps, np.ones(5)),
        ('train', 'skipped'): (steps, np.array([0, 0, 1, 2, 2.0])),
        ('validation', 'loss'): (steps, np.array([-1, -3, -1.5, -1, 0.5])),
    }
    monkeypatch.setitem(folder.__dict__, 'curves', curves)
    (row,) = [row for row in speech_lib.stability(speech).rows if row[0].startswith('Deep w/ GLU')]
    assert row[2:] == ['2', '1.0', '2']


@pytest.mark.slow
def test_closing_gates_are_counted_over_the_whole_test_set(speech):
    table = speech_lib.gates_table(speech)
    steps = (0, 1, 2, 4, 8, 16, 32, 40)
    assert [row[2] for row in table.rows] == [*steps]
    for step, (closed, is_open, mean) in zip(steps, (row[3:] for row in table.rows)):
        count = step.bit_length()
        assert float(closed) == pytest.approx(100 * count / 16, abs=0.06) and is_open == '6.2'
        expected = (0.95 + 0.05 * count + 0.5 * (15 - count)) / 16
        assert float(mean) == pytest.approx(expected, abs=6e-4)
    assert speech_lib.gates_table(speech.of(model='Conv-TasNet')) is None


@pytest.mark.slow
def test_figure_4_shows_the_gates_of_every_channel(speech):
    item = speech_lib.gates(speech)
    (run,) = [run for run in speech.runs.folder if run.gates.frames]
    images = [ax.images[0].get_array() for ax in item.figure.axes if ax.images]
    shown = [ax.get_title(loc='left') for ax in item.figure.axes if ax.images]
    assert shown == ['step 0', 'step 2', 'step 8', 'step 16', 'step 40']
    last = run.gates.frames[40]
    order = np.argsort(last.mean(axis=0))
    for title, image in zip(shown, images):
        np.testing.assert_array_equal(image, run.gates.frames[int(title.split()[1])][:, order].T)
    (means,) = [ax for ax in item.figure.axes if ax.get_ylabel() == 'mean gate']
    assert len(means.lines) == last.shape[1] + 1
    np.testing.assert_allclose(means.lines[-1].get_ydata()[-1], last.mean(), rtol=1e-5)
    assert speech_lib.gates(speech.of(model='Conv-TasNet')) is None


@pytest.mark.slow
def test_curves_are_means_over_seeds(speech, tmp_path):
    for seed, scale in ((0, 1), (1, 3)):
        fabricate.run(tmp_path / str(seed), 'convtasnet', seed=seed, sounds=False)
        (tmp_path / str(seed) / 'metrics.jsonl').write_text(
            ''.join(
                f'{{"step": {step}, "kind": "{kind}", "loss": 0, "si_snr": {scale * step}}}\n'
                for kind in ('train', 'validation')
                for step in (5, 10, 15)[: 3 - seed]
            )
        )
    item = common.curves(results_in(tmp_path))
    for ax in item.figure.axes:
        (line,) = ax.lines
        # The second seed is not finished.
        np.testing.assert_allclose(line.get_xydata(), [[5, 10], [10, 20], [15, 15]])
    assert 'SI-SNR (dB)' in [ax.get_ylabel() for ax in item.figure.axes]


def test_of_curves_of_many_steps_what_a_page_can_show_is_drawn(tmp_path):
    """With every spike; a few points are drawn as they are."""
    step_N = np.arange(1, 10_001)
    for seed in range(2):
        fabricate.run(tmp_path / str(seed), 'convtasnet', seed=seed, sounds=False, examples=1)
        loss_N = np.sin(step_N / 1000) + np.where(step_N == 777 * (seed + 1), 50.0, 0)
        lines = (
            f'{{"step": {step}, "kind": "{kind}", "loss": {loss:.4f}}}\n'
            for step, loss in zip(step_N, loss_N)
            for kind in ('train', *['validation'] * int(step % 2 == 0))
        )
        (tmp_path / str(seed) / 'metrics.jsonl').write_text(''.join(lines))
    item = common.curves(results_in(tmp_path))
    for ax, spikes in zip(item.figure.axes, (True, False)):
        (line,), (band,) = ax.lines, ax.collections
        drawn, edge = line.get_xdata(), band.get_paths()[0].vertices
        assert 900 < len(drawn) <= figures.MOST_POINTS and len(edge) < 3 * figures.MOST_POINTS
        assert (np.diff(drawn) > 0).all() and np.diff(drawn).max() < 50
        if spikes:
            assert {777, 1554} <= {*drawn} and edge[:, 1].max() > 50
    assert len(figures.rendered(item, 'svg')) < 600_000
    assert figures.extremes(np.zeros(figures.MOST_POINTS)) == slice(None)


@pytest.mark.parametrize(
    'measures, label, drawn',
    [
        (('si_snr', 'log_mse'), 'loss', -7.0),  # what both have
        (('snr', 'snr'), 'SNR (dB)', 7.0),
        (('si_snr', 'si_snr'), 'SI-SNR (dB)', 7.0),
    ],
)
def test_an_axis_of_curves_is_one_measure(tmp_path, measures, label, drawn):
    for model, measure in zip(('convtasnet', 'convtasnet_glu'), measures):
        fabricate.run(tmp_path / model, model, sounds=False, examples=1)
        (tmp_path / model / 'metrics.jsonl').write_text(
            json.dumps({'step': 5, 'kind': 'train', 'loss': -7.0, measure: 7.0}) + '\n'
        )
    item = common.curves(results_in(tmp_path))
    values = {line.get_ydata()[-1] for ax in item.figure.axes for line in ax.lines}
    assert values == {drawn}
    assert {ax.get_ylabel() for ax in item.figure.axes} - {''} == {label}


@pytest.mark.parametrize('kind', ['train', 'validation'])
def test_a_curve_of_one_point_is_seen(tmp_path, kind):
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False, examples=1)
    (tmp_path / 'one' / 'metrics.jsonl').write_text(
        json.dumps({'step': 5, 'kind': kind, 'loss': 0, 'si_snr': 1}) + '\n'
    )
    item = common.curves(results_in(tmp_path))
    (line,) = (line for ax in item.figure.axes for line in ax.lines)
    assert line.get_marker() == 'o' and line.get_xydata().tolist() == [[5, 1]]


def test_curves_need_a_log(tmp_path):
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False)
    (tmp_path / 'one' / 'metrics.jsonl').unlink()
    assert common.curves(results_in(tmp_path)) is None


@pytest.fixture(scope='module')
def many(tmp_path_factory):
    """Two seeds of one model on sixty examples."""
    root = tmp_path_factory.mktemp('many')
    for seed in range(2):
        fabricate.run(root / str(seed), 'convtasnet', seed=seed, examples=60, sounds=False)
    return results_in(root)


@pytest.mark.parametrize(
    'make, value_of',
    [
        (common.by_length, lambda examples: examples['seconds', '']),
        (common.by_input_snr, lambda examples: abs(examples['snr_db', ''])),
    ],
)
def test_bins_hold_every_example_once(many, make, value_of):
    item = make(many, 'alpha')
    (ax,) = item.figure.axes
    line = ax.lines[-1]  # the points' own; error bars come first
    value_SN = many.matrix(0, 'alpha', ('si_snri', '')).to_numpy()
    x_N = value_of(many.examples(0, 'alpha')).to_numpy()
    edges = np.quantile(x_N, np.linspace(0, 1, 6))
    bin_N = np.clip(np.searchsorted(edges, x_N, side='right') - 1, 0, 4)
    expected = [value_SN[:, bin_N == b].mean() for b in range(5)]
    np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_allclose(line.get_xdata(), (edges[:-1] + edges[1:]) / 2)


def test_no_bins_where_nothing_varies_or_little_is_there(many, tmp_path):
    assert common.by_length(many, 'nowhere') is None
    fabricate.run(tmp_path / 'few', 'convtasnet', examples=12, sounds=False)
    few = results_in(tmp_path)
    assert common.by_length(few, 'alpha') is None


@pytest.mark.slow
def test_kinds_are_pairs_of_sexes_or_classes(many, masks):
    item = common.by_kind(many, 'alpha')
    (ax,) = item.figure.axes
    sexes = many.examples(0, 'alpha')['sex']
    both = sexes[sexes['1'] != sexes['2']].index
    ticks = [label.get_text() for label in ax.get_yticklabels()]
    assert ticks[1] == f'female, male ({len(both)})'
    points = [line for line in ax.lines if line.get_marker() == 'o']
    mean = many.matrix(0, 'alpha', ('si_snri', ''))[both].to_numpy().mean()
    assert points[0].get_xdata()[1] == pytest.approx(mean)
    item = common.by_kind(masks, 'fgbg-c2')
    labels = [[label.get_text() for label in ax.get_yticklabels()] for ax in item.figure.axes]
    assert labels == [['dog (6)', 'door (6)'], ['rain (12)']]


def test_no_kinds_where_rows_do_not_tell(tmp_path):
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False, oracle=False)
    for path in (tmp_path / 'one/evaluation/alpha').rglob('examples.csv'):
        path.write_text(path.read_text().replace(',F,', ',,').replace(',M,', ',,'))
    assert common.by_kind(results_in(tmp_path), 'alpha') is None


@pytest.mark.slow
def test_box_plots_have_the_medians_of_all_seeds(masks):
    item = foreground.box_plots(masks, 'fgbg')
    assert len(item.figure.axes) == 12
    for i, metric in enumerate(('sdri', 'siri', 'sar')):
        for j in range(4):
            ax = item.figure.axes[4 * i + j]
            # Of each box: the box is a patch, then two whiskers, two caps and the median.
            medians = [line.get_ydata()[0] for line in ax.lines[4::5]][:4]
            expected = [
                np.median(masks.matrix(group.group, f'fgbg-c{j + 1}', (metric, 'foreground')))
                for group in masks.groups
            ]
            np.testing.assert_allclose(medians, expected)
            # Four models and two oracles, side by side.
            np.testing.assert_allclose(
                [patch.get_path().get_extents().intervalx.mean() for patch in ax.patches], range(6)
            )
    for ax in item.figure.axes:  # a system without a run may be the first, or the last
        low, high = ax.get_xlim()
        assert low <= min(ax.get_xticks()) - 0.5 and high >= max(ax.get_xticks()) + 0.5
    assert foreground.box_plots(masks, 'nothing') is None
    assert 'M2 C3 SDR improvement' in item.description


@pytest.mark.slow
def test_spectrograms_are_of_the_foreground(masks):
    item = foreground.mel_spectrograms(masks, 'fgbg')
    with_images = [ax for ax in item.figure.axes if ax.images]
    assert len(with_images) == 4 * 7  # mixture, truth, four models, oracle
    titles = [ax.get_title(loc='left') for ax in with_images[:7]]
    assert titles == ['Mixture', 'Ground truth', 'M1', 'M1+', 'M2', 'M2+', 'IRM, mel bands']
    example = sounds.common_example(masks, 'fgbg-c1')
    (truth,) = [
        track
        for track in example.tracks
        if (track.role, track.source) == ('reference', 'foreground')
    ]
    np.testing.assert_array_equal(
        with_images[1].images[0].get_array(), sound.mel_db(*sound.read(truth.path))
    )
    assert foreground.mel_spectrograms(masks, 'nothing') is None


@pytest.mark.slow
def test_a_missing_model_leaves_a_marked_panel(tmp_path):
    fabricate.run(tmp_path / 'm1', 'blstm_m1', trained_on='fgbg', test_sets=('fgbg',))
    fabricate.run(
        tmp_path / 'm2',
        'blstm_m2',
        trained_on='fgbg',
        test_sets=('fgbg',),
        sounds=False,
        oracle=False,
    )
    groups = results_in(tmp_path)
    assert 'no run' in texts(foreground.mel_spectrograms(groups, 'fgbg').figure)


@pytest.mark.slow
def test_files_are_the_same_each_time(speech):
    for kind in ('svg', 'png'):
        first, second = (
            figures.rendered(speech_lib.cross_figure(speech, ['alpha']), kind) for _ in range(2)
        )
        assert first == second
    svg, _ = figures.inline(speech_lib.cross_figure(speech, ['alpha']))
    assert 'var(--ink)' in svg and figures.INK not in svg


def test_figure_5_has_a_place_for_every_bar_of_the_papers(tmp_path):
    fabricate.run(tmp_path / 'one', 'convtasnet', sounds=False, oracle=False)
    item = speech_lib.cross_figure(results_in(tmp_path), ['alpha'])
    assert [text.get_text() for text in item.figure.legends[0].get_texts()] == [
        'Conv-TasNet, SI-SNR',
        'Conv-TasNet, SI-SNR + power law',
        'Deep w/ PReLU, SI-SNR',
        'Deep w/ PReLU, SI-SNR + power law',
    ]
    (ax,) = item.figure.axes
    assert len(ax.patches) == 1 and len(ax.texts) == 3


def test_sounds_of_other_examples_than_those_scored_are_not_heard(tmp_path):
    """An earlier evaluation, on other data of the same name, may have left some."""
    fabricate.run(tmp_path / 'one', 'convtasnet', oracle=False)
    heard = sounds.examples(results_in(tmp_path), 'alpha')
    assert [example.example for example in heard] == ['alpha-003']
    path = tmp_path / 'one' / 'audio' / 'alpha' / 'alpha-003' / 'example.json'
    path.write_text(path.read_text().replace('alpha-003', 'alpha-999'))
    assert sounds.examples(results_in(tmp_path), 'alpha') == []
