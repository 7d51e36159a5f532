"""Where compiled programs are kept."""

import os

import jax
import pytest

from fgsep_jax import compilation_cache


@pytest.fixture(autouse=True)
def unset(monkeypatch, tmp_path):
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update('jax_compilation_cache_dir', None)
    yield
    jax.config.update('jax_compilation_cache_dir', before)


def test_what_jax_was_told_wins(monkeypatch, tmp_path):
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '')  # as JAX reads it: none
    compilation_cache.use()
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
    jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'mine'))
    compilation_cache.use()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / 'mine')
    jax.config.update('jax_compilation_cache_dir', None)
    compilation_cache.use()
    assert jax.config.jax_compilation_cache_dir.startswith(str(tmp_path / 'home'))


def test_without_a_home_to_write_to_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('mine')
    for home in ('', '~', 'relative', str(tmp_path / 'file')):
        monkeypatch.setenv('XDG_CACHE_HOME', home)
        monkeypatch.setattr(os.path, 'expanduser', lambda path: path)  # no such user, no $HOME
        compilation_cache.use()
        assert jax.config.jax_compilation_cache_dir is None
        assert os.listdir(tmp_path) == ['file']


def test_every_kind_of_processor_has_a_folder_of_its_own(monkeypatch):
    here = compilation_cache.folder()
    assert compilation_cache.folder() == here
    monkeypatch.setattr(compilation_cache, '_processor', lambda: 'another')
    other = compilation_cache.folder()
    assert other != here and os.path.dirname(other) == os.path.dirname(here)
