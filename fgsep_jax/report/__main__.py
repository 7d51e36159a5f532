"""Turns run folders into every table and figure of both papers and one page to read and hear.

    python -m fgsep_jax.report --runs=runs [--output_dir=report]

Reads result files only: no jax, no model, no data set.
"""

import importlib.util
import os
import sys

from fgsep_jax import command_line, lock
from fgsep_jax.names import counted, shown
from fgsep_jax.report import results, runs as runs_lib


def main(argv=None, *, evaluated=False):
    """Runs the command line; mistakes end in one line and exit status 2.

    Args:
      argv: the command line; None for this process's.
      evaluated: whether the evaluation, which tells whom a run was trained on, was just read.
    """
    parser = command_line.Parser('fgsep_jax.report', __doc__)
    parser.add_argument(
        '--runs',
        metavar='DIR[,DIR...]',
        required=True,
        type=command_line.some(command_line.local_path),
        help='folders with run folders in or below them',
    )
    parser.add_argument(
        '--output_dir',
        metavar='DIR',
        type=command_line.local_path,
        default='report',
        help='folder of the report; an earlier report in it is replaced',
    )
    parser.add_argument('--title', default='Sound separation: results', help='of the page')
    parser.add_argument(
        '--examples',
        type=command_line.count,
        default=1,
        help='to listen to, of each test set',
    )
    options, _ = parser.parse(argv)
    command_line.lend_caches()
    try:
        if importlib.util.find_spec('matplotlib') is None:
            raise results.ResultsError(
                'matplotlib, which draws the figures, is not installed: pip install'
                " 'fgsep_jax[report]'"
            )
        notes = []
        found = list(
            {
                os.path.realpath(run.path): run
                for folder in options.runs
                for run in runs_lib.find(folder, notes)
            }.values()
        )
        try:
            from fgsep_jax.report import build, write  # matplotlib takes a second to import
        except ModuleNotFoundError as error:
            raise results.ResultsError(
                f'{error.name} is not installed, which draws the figures: pip install'
                " 'fgsep_jax[report]'"
            ) from error

        with lock.held(options.output_dir, 'a report', flag='--output_dir'):
            write.check(options.output_dir)
            notes += build.notes(found)
            path = write.write(
                build.sections(found, notes, examples=options.examples),
                options.output_dir,
                options.title,
            )
    except (results.ResultsError, OSError) as error:
        return command_line.refusal(error).code
    told = build.seen_in_training(found) if evaluated else []
    for note in notes:
        if note in told:
            continue
        print(f'note: {shown(note)}', file=sys.stderr)
    print(f'{counted(len(found), "run")}; the report: {shown(path)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
