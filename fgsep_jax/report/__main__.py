"""Turns run folders into every table and figure of both papers and one page to read and hear.

    python -m fgsep_jax.report --runs=runs [--output_dir=report]

Reads result files only: no jax, no model, no data set.
"""

import argparse
import os
import sys

from fgsep_jax import lock
from fgsep_jax.report import results, runs as runs_lib


def _folders(text):
    folders = [folder for folder in text.split(',') if folder]
    if not folders:
        raise argparse.ArgumentTypeError('names no folder')
    return folders


def _count(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text}: must be a whole number, 0 or more')
    return int(text)


def main(argv=None):
    """Runs the command line; mistakes end in one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog='python -m fgsep_jax.report', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--runs',
        required=True,
        type=_folders,
        help='folders with run folders in or below them, separated by commas',
    )
    parser.add_argument('--output_dir', default='report', help='default: %(default)s')
    parser.add_argument('--title', default='Sound separation: results')
    parser.add_argument(
        '--examples',
        type=_count,
        default=1,
        help='to listen to, of each test set; default: %(default)s',
    )
    options = parser.parse_args(argv)
    try:
        notes = []
        found = list(
            {
                os.path.realpath(run.path): run
                for folder in options.runs
                for run in runs_lib.find(folder, notes)
            }.values()
        )
        from fgsep_jax.report import build, write  # matplotlib takes a second to import

        with lock.held(options.output_dir, 'a report', flag='--output_dir'):
            write.prepare(options.output_dir)
            notes += build.notes(found)
            path = write.write(
                build.sections(found, notes, examples=options.examples),
                options.output_dir,
                options.title,
            )
    except (results.ResultsError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    for note in notes:
        print(f'note: {note}', file=sys.stderr)
    print(f'{len(found)} run{"s" * (len(found) != 1)}; the report: {path}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
