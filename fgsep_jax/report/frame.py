"""All scores of all runs as one tidy table, for plots of one's own."""

import warnings

from fgsep_jax.report import runs as runs_lib


def load_runs(folder):
    """Reads every result below a folder.

    Args:
        folder: searched for run folders.

    Returns:
        One row an example, system, data set and run: run, experiment, model, objective, preset,
        seed, trained_on, step, parameters, data_set, system ('model', or the baseline's name),
        and the columns of its examples.csv. A pandas DataFrame if pandas is installed, else a
        list of dicts; a column that a row lacks (the tasks differ) is None. Results that were made
        on other data, or by other rules, than those of most runs are left out, with a warning.

    Raises:
        ResultsError: there are no runs, or results that cannot be read.
    """
    rows, found = [], runs_lib.find(folder)
    for note in runs_lib.reconcile(found):
        warnings.warn(note, stacklevel=2)
    for run in found:
        about = {
            'run': run.name,
            'experiment': run.config['experiment'],
            'model': run.model,
            'objective': run.objective,
            'preset': run.config['preset'],
            'seed': run.seed,
            'trained_on': run.trained_on,
        }
        for data_set, systems in run.results.items():
            for system, result in systems.items():
                fixed = {
                    **about,
                    'step': result.summary['step'],
                    'parameters': result.summary['parameters'],
                    'data_set': data_set,
                    'system': system or 'model',
                }
                rows += [{**fixed, **row} for row in result.rows.values()]
        if run.problems:
            raise runs_lib.results.ResultsError('; '.join(run.problems))
    columns = dict.fromkeys(key for row in rows for key in row)
    rows = [{key: row.get(key) for key in columns} for row in rows]
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows, columns=list(columns))
