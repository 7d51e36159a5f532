"""What every test of a job holds, whatever it is about."""

import re

import pytest

from data_prep import options, report

FLAG = re.compile(r'(?<![\w-])--[a-z]\w*')


def hints_of_others(text, known):
    """The flags that a text for people names and their job does not have."""
    return {flag for flag in FLAG.findall(text) if flag not in known}


@pytest.fixture(scope='session', autouse=True)
def jobs_name_flags_that_they_have():
    """Whatever a job refuses or warns of names no flag of another job."""
    jobs, run, warnings = [], options.run, report.warnings
    beam = options.beam_flags()

    def checked_run(parser, argv, *args, **keywords):
        jobs.append({*parser.known, *beam, *(word.split('=')[0] for word in argv or ())})
        try:
            return run(parser, argv, *args, **keywords)
        except SystemExit as stop:
            assert not hints_of_others(str(stop), jobs[-1]), stop
            raise
        finally:
            jobs.pop()

    def checked_warnings(*args, **keywords):
        lines = warnings(*args, **keywords)
        assert not jobs or not hints_of_others(' '.join(lines), jobs[-1]), lines
        return lines

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, 'run', checked_run)
        patch.setattr(report, 'warnings', checked_warnings)
        yield
