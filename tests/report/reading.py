"""What tests read of tables and of run folders."""

import csv
import os

import numpy as np

from fgsep_jax.report import groups as groups_lib, runs


def groups_in(folder):
    return groups_lib.by_seed(runs.find(str(folder)))


def rows_of(table):
    """[{key: cell}] of a Table."""
    return [
        dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.rows
    ]


def mean_of(folder, data_set, metric):
    """Mean of a column of an examples.csv, read by hand."""
    with open(os.path.join(folder, 'evaluation', data_set, 'examples.csv')) as file:
        return np.mean([float(row[metric]) for row in csv.DictReader(file)])


def by_hand(folder, model, weight, pairs, metric='si_snri'):
    """Mean over seeds and [(training set, test set)] of what a model scores, from its files."""
    return np.mean(
        [
            mean_of(folder / f'{model}-{weight}-{on}-{seed}', name, metric)
            for on, name in pairs
            for seed in range(3)
        ]
    )
