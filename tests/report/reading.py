"""What tests read of tables and of run folders."""

import csv
import os

import numpy as np

from fgsep_jax.report import scores


def results_in(folder):
    return scores.read([str(folder)], [])


def notes_in(folder):
    notes = []
    scores.read([str(folder)], notes)
    return notes


def rows_in(folder, data_set, system=''):
    """Rows of an examples.csv, read by hand."""
    path = os.path.join(folder, 'evaluation', data_set, system, 'examples.csv')
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def rows_of(table):
    """[{key: cell}] of a Table."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def mean_of(folder, data_set, metric, source=''):
    """Mean of a column of an examples.csv, of one source or of both."""
    rows = rows_in(folder, data_set)
    return np.mean([float(row[metric]) for row in rows if source in ('', row['source'])])


def by_hand(folder, model, weight, pairs, metric='si_snri'):
    """Mean over seeds and [(training set, test set)] of what a model scores, from its files."""
    return np.mean(
        [
            mean_of(folder / f'{model}-{weight}-{on}-{seed}', name, metric)
            for on, name in pairs
            for seed in range(3)
        ]
    )
