"""The commands that an installation puts on the path; `python -m fgsep_jax` lists them."""

import importlib
import sys

import fgsep_jax


def _run(module, *words):
    fgsep_jax.start_program()
    from fgsep_jax import stopping

    sys.argv[1:1] = words
    stopping.run(lambda: sys.exit(importlib.import_module(module).main()))


def separate():
    """fgsep-separate"""
    _run('fgsep_jax.separate')


def train():
    """fgsep-train"""
    _run('fgsep_jax.main')


def evaluate():
    """fgsep-evaluate"""
    _run('fgsep_jax.main', '--mode=evaluate')


def app():
    """fgsep-app"""
    _run('fgsep_jax.app')


def study():
    """fgsep-study"""
    _run('fgsep_jax.study')


def report():
    """fgsep-report"""
    _run('fgsep_jax.report.__main__')
