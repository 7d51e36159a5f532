"""The reader of compiled programs, on one small enough to count by hand."""

import pathlib

import pytest

from benchmarks import hlo

PROGRAM = pathlib.Path(__file__).with_name('step.txt')
TILE = 8 * 128 * 4  # 100 columns are padded to 128
# name -> bytes read from HBM, bytes written there, operations of matrix products, times
EXPECTED = {
    'fetch': (TILE, 0, 0, 1),  # a copy into vector memory
    'near': (0, 0, 0, 1),
    # The first operand is in vector memory, of the second the fusion reads a slice of 100 rows.
    'product': (100 * 128 * 4, TILE, 2 * 8 * 100 * 128, 1),
    'update': (TILE + 4, TILE, 0, 1),  # in place: a ninth of the array; and the index
    'wide': (5 * TILE, 5 * TILE, 0, 5),  # in the loop's body
    'kernel': (TILE, TILE / 2, 0, 1),
    'sum': (TILE, TILE, 0, 1),
    # Operations are those of XLA's cost_analysis of these two convolutions.
    'grouped': (4 * (6 * 30 * 8 + 3 * 2 * 12), 0, 3 * 4224, 1),
    'split': (4 * (6 * 30 * 8 + 3 * 8 * 12), 0, 16896, 1),
}
PLACES = {
    ('backward', 'block_*/expand'): {'fetch', 'near', 'product'},  # copies are their consumer's
    ('forward', 'block_*'): {'wide'},
    ('forward', 'stft/fft'): {'update'},
    ('forward', 'sep/block_*/expand'): {'grouped'},
    ('again', 'sep/norm_1'): {'split'},
}


def test_a_program_costs_what_is_counted_by_hand(capsys):
    found, unknown = hlo.costs(PROGRAM.read_text())
    by_name = {cost.instruction.name: cost for cost in found}
    assert {
        name: (by_name[name].read, by_name[name].written, by_name[name].flops, by_name[name].times)
        for name in EXPECTED
    } == EXPECTED
    assert sum(cost.flops for cost in found) == sum(flops for _, _, flops, _ in EXPECTED.values())
    assert by_name['product'].touched == 4 * (8 * 100 + 100 * 128 + 8 * 128)
    assert by_name['wide'].cycles == 5 * 70
    assert hlo.collectives(found) == {'all-reduce': TILE}
    assert [call.claimed for call in hlo.custom_calls(found)['tpu_custom_call']] == [6144]
    places = {
        place: {cost.instruction.name for cost in group} & set(EXPECTED)
        for place, group in hlo.by_place(found).items()
    }
    assert {place: places[place] for place in PLACES} == PLACES
    assert hlo.direction('jit(train_step)/add') == 'update' and hlo.direction('') == ''
    assert unknown == []

    hlo.main([str(PROGRAM), '--topology=v5e:1x2', '--instructions=2'])
    printed = capsys.readouterr().out
    moved = sum(cost.bytes for cost in found)
    assert f'bytes in HBM       {moved / 1e9:.3f} GB' in printed
    assert 'all-reduce 0.004 MB' in printed and '1 x tpu_custom_call' in printed
    assert f'HBM {1e3 * moved / 819e9:.2f} ms' in printed and 'backward block_*/expand' in printed
    assert 'product -> f32[8,128]  backward block_*/expand/dot_general' in printed


@pytest.mark.parametrize(
    'text, message',
    [
        ('module @jit_f {}', 'no ENTRY'),
        ('ENTRY %m (a: f32[]) -> f32[] {\n  %a = f32[] parameter(0\n}', 'not a line of HLO'),
        (None, 'No such file'),
    ],
)
def test_what_is_no_program_is_one_line(tmp_path, capsys, text, message):
    path = tmp_path / 'file'
    if text:
        path.write_text(text)
    with pytest.raises(SystemExit) as error:
        hlo.main([str(path)])
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_a_loop_whose_trips_are_not_known_counts_once():
    unbounded = PROGRAM.read_text().replace(
        '%bound = s32[]{:T(128)} constant(5)',
        '%bound = s32[]{:T(128)} get-tuple-element(%state.1), index=0',
    )
    found, unknown = hlo.costs(unbounded)
    assert unknown == ['loop'] and 'loops              1' in hlo.summary(found, unknown)
    assert {cost.instruction.name: cost for cost in found}['wide'].times == 1
