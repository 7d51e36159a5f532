"""More mixtures of the same recordings, made on the device of each batch that was read.

A pure function of the batch and a key: rows are numbered by their place in the batch of all hosts,
so that a resumed run, and any number of hosts or devices, makes the same ones.
"""

import functools
import math

import jax
import jax.numpy as jnp

STEPS = 4096  # speeds are whole numbers of these parts of 1, so that places are exact
TRIES = 6  # at dealing a batch anew
TAPS = 32  # of the interpolation between samples


def augment(batch, rng, *, samples, remix=False, remix_db=0.0, speed=0.0):
    """Deals the sources of a batch anew over its rows, and plays each at a speed of its own.

    All sources but the last of each row change places, never to one of the same name; those that
    do get a level of their own, too. The last keeps its place, its level and the adaptation segment
    that belongs to it.

    Args:
      batch: as `data.pipeline.train_batches` makes it: 'source_BST', 'row_B', 'name_BS', ...
      rng: key.
      samples: of the segments that are made; those in `batch` may be longer.
      remix: whether sources are dealt.
      remix_db: most by which a source that is dealt gets louder or softer.
      speed: most by which a source is played faster or slower, as a share; the last keeps its own
        where an adaptation segment belongs to it.

    Returns:
      The batch as `Task.loss` takes it: 'source_BST' of full scale 32768, float32, and 'length_B'
      where there was one: up to where all sources of a row last.
    """
    row_B = batch['row_B']
    source_BST = batch['source_BST'].astype(jnp.float32)
    size, sources, there = source_BST.shape
    length_BS = jnp.broadcast_to(
        batch.get('length_B', jnp.full(size, there))[:, None], (size, sources)
    )
    dealing, leveling, speeding = jax.random.split(rng, 3)
    if remix:
        at_B = jnp.argsort(row_B)  # where each row of the whole batch is
        dealt_BS = at_B[deal(dealing, batch['name_BS'][at_B])[row_B]]
        columns_S = jnp.arange(sources)[None]
        source_BST = source_BST[dealt_BS, columns_S]
        length_BS = length_BS[dealt_BS, columns_S]
        change_BS = jax.random.uniform(leveling, (size, sources), jnp.float32, -1, 1)[row_B]
        gain_BS = 10 ** (remix_db / 20 * change_BS.at[:, -1].set(0.0))
        source_BST = source_BST * gain_BS[..., None]
    if speed:
        most = math.floor(speed * STEPS)
        faster_BS = jax.random.randint(speeding, (size, sources), -most, most + 1, jnp.int32)
        faster_BS = faster_BS[row_B]
        if 'adaptation_BT' in batch:
            faster_BS = faster_BS.at[:, -1].set(0)
        play = jax.vmap(jax.vmap(functools.partial(resample, samples=samples)))
        source_BST, length_BS = play(source_BST, faster_BS, length_BS)
    made = {k: v for k, v in batch.items() if k not in ('row_B', 'name_BS', 'length_B')}
    if 'length_B' in batch:
        made['length_B'] = length_BS.min(axis=1)
        valid_BT = jnp.arange(samples)[None] < made['length_B'][:, None]
        source_BST = source_BST * valid_BT[:, None]
    return {**made, 'source_BST': source_BST}


def deal(rng, name_BS):
    """Deals all columns but the last anew over the rows, so that no row gets a name twice.

    Each gets a random order, in which rows that would keep what they have, or get one of their
    names again, change places with others; `TRIES` of them, the later ones of which may leave a row
    what it has. Where none does, all columns keep their places.

    Args:
      rng: key.
      name_BS: whose each source is, a number.

    Returns:
      The row that each source comes from, int32 [B, S].
    """
    name_BS = jnp.asarray(name_BS)
    size, sources = name_BS.shape
    own_B = jnp.arange(size, dtype=jnp.int32)
    free, dealt, taken = True, [own_B], [name_BS[:, -1]]
    for column, key in zip(range(sources - 2, -1, -1), jax.random.split(rng, sources)):
        name_B = name_BS[:, column]
        # [to, from]: whether a source would meet one of its own name there.
        meets_BB = (name_B[None, None] == jnp.stack(taken, 1)[..., None]).any(axis=1)
        strict_BB = meets_BB | jnp.eye(size, dtype=bool)
        refused_NBB = jnp.stack([strict_BB] * (TRIES // 2) + [meets_BB] * (TRIES // 2))
        from_NB, works_N = jax.vmap(_order)(jax.random.split(key, TRIES), refused_NBB)
        from_B = from_NB[jnp.argmax(works_N)]
        free &= works_N.any()
        dealt.insert(0, from_B)
        taken.append(name_B[from_B])
    return jnp.where(free, jnp.stack(dealt, 1), own_B[:, None])


def _order(rng, refused_BB):
    """A random order [B] that takes nothing from where it is refused, [to, from]; whether it is."""
    size = len(refused_BB)
    own_B = jnp.arange(size, dtype=jnp.int32)
    ordering, choosing = jax.random.split(rng)
    luck_BB = jax.random.uniform(choosing, (size, size), jnp.float32)

    def swap(turn, from_B):
        row = turn % size
        other_B = ~refused_BB[row, from_B] & ~refused_BB[own_B, from_B[row]]
        other = jnp.argmax(jnp.where(other_B, luck_BB[row], -1))
        wanted = refused_BB[row, from_B[row]] & other_B.any()
        swapped_B = from_B.at[row].set(from_B[other]).at[other].set(from_B[row])
        return jnp.where(wanted, swapped_B, from_B)

    from_B = jax.lax.fori_loop(0, 2 * size, swap, jax.random.permutation(ordering, own_B))
    return from_B, ~refused_BB[own_B, from_B].any()


def resample(signal_T, faster, length, *, samples):
    """Plays a signal at 1 + faster / STEPS times its speed: in time and pitch, by windowed sincs.

    Args:
      signal_T: [T].
      faster: int32, negative for slower.
      length: of the signal [samples].
      samples: wanted; zeros behind its end.

    Returns:
      (signal [samples], its length).
    """
    number_T = jnp.arange(samples, dtype=jnp.int32)
    # Parts of a sample, over the number: exact, and by turns of STEPS no product is too large.
    turns_T, parts_T = number_T // STEPS * faster, number_T % STEPS * faster
    first_T = number_T + turns_T + parts_T // STEPS
    between_T = (parts_T % STEPS).astype(jnp.float32) / STEPS
    width = jnp.minimum(1.0, STEPS / (STEPS + faster))  # of what the new rate can hold
    padded_T = jnp.pad(signal_T, (TAPS // 2 - 1, TAPS // 2))
    made_T = jnp.zeros(samples, jnp.float32)
    for tap in range(1 - TAPS // 2, TAPS // 2 + 1):
        away_T = tap - between_T
        weight_T = width * jnp.sinc(width * away_T) * jnp.cos(jnp.pi * away_T / TAPS) ** 2
        place_T = jnp.clip(first_T + tap + TAPS // 2 - 1, 0, padded_T.size - 1)
        made_T += weight_T * padded_T[place_T]
    within_T = first_T < length
    return made_T * within_T, within_T.sum()
