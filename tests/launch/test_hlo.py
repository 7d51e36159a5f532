"""The reader of HLO text on a program small enough to count by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgsep_jax.launch import hlo_bytes, hlo_text

PROGRAM = """HloModule jit_step, is_scheduled=true

%fused (p.0: f32[8,100], p.1: f32[400,128]) -> f32[8,128] {
  %p.0 = f32[8,100]{1,0:T(8,128)} parameter(0)
  %p.1 = f32[400,128]{1,0:T(8,128)} parameter(1)
  %cut = f32[100,128]{1,0:T(8,128)} slice(%p.1), slice={[0:100], [0:128]}
  ROOT %out = f32[8,128]{1,0:T(8,128)} convolution(%p.0, %cut), dim_labels=bf_io->bf
}

%body (state: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %state = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %x = f32[8,128]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)S(6)} add(%i, %one)
  %wide = f32[8,128]{1,0:T(8,128)} negate(%x), \
metadata={op_name="jit(train_step)/jvp(Net)/block_3/neg"}, backend_config={"estimated_cycles":"70"}
  ROOT %both = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%next, %wide)
}

%condition (state.1: (s32[], f32[8,128])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %bound = s32[]{:T(128)} constant(5)
  %i.1 = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %bound), direction=LT
}

ENTRY %main (a: f32[8,100], b: f32[400,128]) -> f32[8,128] {
  %a = f32[8,100]{1,0:T(8,128)} parameter(0)
  %b = f32[400,128]{1,0:T(8,128)} parameter(1)
  %fetch = (f32[8,100]{1,0:T(8,128)S(1)}, f32[8,100]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%a)
  %near = f32[8,100]{1,0:T(8,128)S(1)} copy-done(%fetch)
  %product = f32[8,128]{1,0:T(8,128)} fusion(%near, %b), kind=kOutput, calls=%fused, \
metadata={op_name="jit(train_step)/transpose(jvp(Net))/block_0/expand/dot_general"}
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%zero, %product)
  %loop = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  %y = f32[8,128]{1,0:T(8,128)} get-tuple-element(%loop), index=1
  %kernel = bf16[8,128]{1,0:T(8,128)(2,1)} custom-call(%y), custom_call_target="tpu_custom_call", \
backend_config={"custom_call_config":{"cost_estimate":{"flops":"9","bytes_accessed":"6144"}}}
  ROOT %sum = f32[8,128]{1,0:T(8,128)} all-reduce(%y), replica_groups={{0,1}}, to_apply=%add
}
"""
TILE = 8 * 128 * 4  # 100 columns are padded to 128


def found(text=PROGRAM):
    costs, unknown = hlo_bytes.costs(text)
    assert unknown == []
    return {cost.instruction.name: cost for cost in costs}


def test_bytes_in_hbm_are_counted_in_tiles_and_vector_memory_not_at_all():
    costs = found()
    assert (costs['fetch'].read, costs['fetch'].written) == (TILE, 0)
    assert costs['near'].bytes == 0
    # The first operand is in vector memory, of the second the fusion reads a slice of 100 rows.
    assert (costs['product'].read, costs['product'].written) == (100 * 128 * 4, TILE)
    assert costs['product'].touched == 4 * (8 * 100 + 100 * 128 + 8 * 128)


def test_a_loop_counts_with_its_trips():
    wide = found()['wide']
    assert (wide.times, wide.bytes, wide.cycles) == (5, 5 * 2 * TILE, 5 * 70)
    unbounded = PROGRAM.replace(
        '%bound = s32[]{:T(128)} constant(5)',
        '%bound = s32[]{:T(128)} get-tuple-element(%state.1), index=0',
    )
    costs, unknown = hlo_bytes.costs(unbounded)
    assert unknown == ['loop']
    assert {cost.instruction.name: cost for cost in costs}['wide'].times == 1


def test_operations_collectives_and_custom_calls():
    costs = found()
    assert costs['product'].flops == 2 * 8 * 100 * 128
    assert sum(cost.flops for cost in costs.values()) == costs['product'].flops
    assert hlo_bytes.collectives(costs.values()) == {'all-reduce': TILE}
    (call,) = hlo_bytes.custom_calls(costs.values())['tpu_custom_call']
    assert (call.claimed, call.bytes) == (6144, TILE + TILE / 2)


def test_costs_are_grouped_by_direction_and_place():
    groups = hlo_bytes.by_place(found().values())
    assert 'wide' in {one.instruction.name for one in groups['forward', 'block_*']}
    # The copy has no name of its own and is its consumer's.
    assert {one.instruction.name for one in groups['backward', 'block_*/expand']} >= {
        'fetch',
        'product',
    }


@pytest.mark.parametrize(
    'op_name, direction, place',
    [
        ('jit(train_step)/jvp(jit(stft))/jit(fft)/fft', 'forward', 'stft/fft'),
        (
            'jit(train_step)/transpose(jvp(Net))/sep/jvp(Net)/sep/checkpoint/block_12/norm_1/mul',
            'backward',
            'sep/block_*/norm_1',
        ),
        (
            'jit(train_step)/transpose(jvp(Net))/sep/jvp(Net)/sep/checkpoint/rematted_computation/norm/mul',
            'again',
            'sep/norm',
        ),
        (
            'jit(train_step)/jvp(Net)/sep/block_3/cond/branch_0_fun/expand/dot_general',
            'forward',
            'sep/block_*/expand',
        ),
        ('jit(train_step)/add', 'update', '-'),
        ('', '', '-'),
    ],
)
def test_where_an_op_name_stands(op_name, direction, place):
    assert (hlo_bytes.direction(op_name), hlo_bytes.place(op_name)) == (direction, place)


def test_an_update_in_place_counts_for_what_it_writes():
    text = """
%fused (p: f32[9,8,128], q: f32[1,8,128], i: s32[]) -> f32[9,8,128] {
  %p = f32[9,8,128]{2,1,0:T(8,128)} parameter(0)
  %q = f32[1,8,128]{2,1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)} parameter(2)
  ROOT %d = f32[9,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%p, %q, %i, %i, %i)
}

ENTRY %main (a: f32[9,8,128], b: f32[1,8,128], c: s32[]) -> f32[9,8,128] {
  %a = f32[9,8,128]{2,1,0:T(8,128)} parameter(0)
  %b = f32[1,8,128]{2,1,0:T(8,128)} parameter(1)
  %c = s32[]{:T(128)S(6)} parameter(2)
  ROOT %f = f32[9,8,128]{2,1,0:T(8,128)} fusion(%a, %b, %c), kind=kLoop, calls=%fused
}
"""
    (cost,) = [one for one in hlo_bytes.costs(text)[0] if one.instruction.name == 'f']
    assert (cost.read, cost.written) == (TILE, TILE)


@pytest.mark.parametrize(
    'groups, stride, padding, dilation, spread',
    [(1, 1, (0, 0), 1, 1), (1, 2, (3, 1), 1, 1), (4, 1, (2, 2), 2, 1), (1, 1, (2, 2), 1, 3)],
)
def test_operations_of_a_convolution_are_those_of_xla(groups, stride, padding, dilation, spread):
    x, kernel = jnp.ones((2, 30, 8)), jnp.ones((3, 8 // groups, 12))
    program = jax.jit(
        lambda x, kernel: jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride,),
            [padding],
            lhs_dilation=(spread,),
            rhs_dilation=(dilation,),
            feature_group_count=groups,
            dimension_numbers=('NWC', 'WIO', 'NWC'),
        )
    ).lower(x, kernel)
    # As a compiled program prints itself: names marked, arguments beside the entry's name.
    text = re.sub(
        r'(?<![\w%])((?:x|kernel|conv_general_dilated|main)\.\d+)',
        r'%\1',
        program.as_text('hlo').replace('main.1 {', 'main.1 () -> f32[] {'),
    )
    costs, _ = hlo_bytes.costs(text)
    assert sum(cost.flops for cost in costs) == program.cost_analysis()['flops'] > 0


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match='no ENTRY'):
        hlo_text.parse('module @jit_f {}')
    with pytest.raises(ValueError, match='not a line of HLO'):
        hlo_text.parse('ENTRY %m (a: f32[]) -> f32[] {\n  %a = f32[] parameter(0\n}')
    assert np.isfinite(hlo_text.shapes('token[]')[0].bytes)
