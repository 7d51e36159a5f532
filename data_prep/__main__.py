"""python -m data_prep: names the jobs, each of which is a program of its own."""

import ast
import pathlib
import shlex
import sys


def jobs() -> dict[str, str]:
    """{name: first line of its docstring} of the programs in this folder."""
    programs = {}
    for path in sorted(pathlib.Path(__file__).parent.glob('[a-z]*.py')):
        text = path.read_text(encoding='utf-8')
        if "__name__ == '__main__'" in text:
            programs[path.stem] = ast.get_docstring(ast.parse(text)).partition('\n')[0]
    return programs


def main(argv=None) -> int:
    """Prints the jobs: all that there is to do without one; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in jobs():
        rest = shlex.join(words[1:]) or '--help'
        print(
            f'error: a job is called with a dot: python -m data_prep.{words[0]} {rest}',
            file=sys.stderr,
        )
        return 2
    lines = [f'  python -m data_prep.{name:<16}{about}' for name, about in jobs().items()]
    wants_help = {'-h', '--help'} & {*words}
    head = 'the jobs (--help after one shows its flags):'
    print(
        head if wants_help else f'error: a job is needed; {head}',
        *lines,
        sep='\n',
        file=sys.stdout if wants_help else sys.stderr,
    )
    return 0 if wants_help else 2


if __name__ == '__main__':
    sys.exit(main())
