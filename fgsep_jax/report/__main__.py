"""Turns run folders into every table and figure of both papers and one page to read and hear.

    python -m fgsep_jax.report --runs=runs [--output_dir=report]
    python -m fgsep_jax.report --runs=runs/m1,runs/m2 --text

Reads result files only: no jax, no model, no data set.
"""

import os
import sys

from fgsep_jax import buckets, command_line, lock
from fgsep_jax.names import counted, shown
from fgsep_jax.report import runs, scores

OF_REPORT, OF_TEXT = {'output_dir', 'title', 'examples'}, {'data_sets', 'metrics'}  # flags


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
        type=command_line.some(command_line.path),
        help='folders with run folders in or below them',
    )
    parser.add_argument(
        '--output_dir',
        metavar='DIR',
        type=command_line.path,
        default='report',
        help='folder of the report, new, empty or of an earlier one, which is replaced',
    )
    parser.add_argument('--title', default='Sound separation: results', help='of the page')
    parser.add_argument(
        '--examples', type=command_line.count, default=1, help='to listen to, of each test set'
    )
    parser.switch('--text', 'print scores and differences instead, and write nothing')
    parser.add_argument(
        '--data_sets',
        type=command_line.words,
        default=[],
        help='with --text: names of results; default: those that all runs have',
    )
    parser.add_argument(
        '--metrics',
        type=command_line.words,
        default=[],
        help='with --text: e.g. sdri_foreground,si_snri; default: those that the paper of the runs'
        ' judges by',
    )
    options, _ = parser.parse(argv)
    idle = {*parser.given()} & (OF_REPORT if options.text else OF_TEXT)
    if idle:
        mode = 'a report that is written, without --text' if options.text else '--text'
        parser.error(f'--{min(idle)} goes with {mode}')
    for one in options.runs:  # before what may not be installed is missed
        if not buckets.is_url(one) and not os.path.isdir(one):
            return command_line.refusal(runs.no_runs(one)).code
    command_line.lend_caches()
    notes = []
    try:
        from fgsep_jax.report import page, text, write

        with buckets.copies():
            folder = buckets.local('' if options.text else options.output_dir, write.READ)
            met = []
            results = scores.read([buckets.local(one, runs.READ) for one in options.runs], met)
            notes = [*map(buckets.named, met)]
            if options.text:
                done = text.compare(results, data_sets=options.data_sets, metrics=options.metrics)
            else:
                with lock.held(folder, 'a report', flag='--output_dir'):
                    write.check(folder)
                    parts = page.sections(results, notes, examples=options.examples)
                    path = buckets.named(write.write(parts, folder, options.title))
                done = f'{counted(len(results.runs), "run")}; the report: {shown(path)}'
    except ImportError as error:  # of tables, figures or the page
        line = f"{error.name} is not installed: pip install 'fgsep_jax[report]'"
        return command_line.refusal(line).code
    except (runs.ResultsError, OSError) as error:
        _say(notes)  # what was left out may be why
        return command_line.refusal(error).code
    said = scores.seen_in_training(results.runs.folder) if evaluated else []
    _say(note for note in notes if note not in said)
    command_line.show(done)
    return 0


def _say(notes):
    for note in notes:
        print(f'note: {shown(note)}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
