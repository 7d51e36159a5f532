"""Lists the commands: python -m fgsep_jax"""

import sys

from fgsep_jax import command_line

COMMANDS = (
    ('fgsep-separate', 'fgsep_jax.separate', 'recordings in, their parts out'),
    (
        'fgsep-train',
        'fgsep_jax.main',
        'trains on a FOLDER of recordings, or what --config names; resumes',
    ),
    ('fgsep-evaluate', 'fgsep_jax.main --mode=evaluate', 'scores a run on data sets'),
    ('fgsep-app', 'fgsep_jax.app', 'a page in the browser: drop a sound, hear and see its parts'),
    (
        'fgsep-study',
        'fgsep_jax.study',
        'all that a paper trains, one after the other, and its report',
    ),
    ('fgsep-report', 'fgsep_jax.report', 'tables, figures and a page of many runs'),
    ('', 'fgsep_jax.interop.import_model', 'weights of other programs become a model file'),
    ('', 'fgsep_jax.interop.export_model', 'a trained model as files that run without us'),
    ('', 'data_prep', 'lists the jobs that make data sets'),
)


def main(argv=None):
    """Prints the commands."""
    epilog = '\n'.join(
        f'{script or "":16}python -m {module:32}{about}' for script, module, about in COMMANDS
    )
    parser = command_line.Parser('fgsep_jax', __doc__)
    given = (sys.argv[1:] if argv is None else argv)[:1]
    meant = [module for script, module, _ in COMMANDS if given and given[0] in (script[6:], module)]
    if meant:
        parser.error(f'{given[0]}: it is python -m {meant[0]}')
    parser.parse(argv)
    command_line.show(f'{epilog}\n\nEach takes --help.')


if __name__ == '__main__':
    main()
