"""Runs that fill every part of a report, written once."""

import pytest

import fabricate


@pytest.fixture(scope='session')
def every_run(tmp_path_factory):
    """Folder of `fabricate.everything`."""
    return fabricate.everything(tmp_path_factory.mktemp('every_run'))
