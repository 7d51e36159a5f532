"""Huge pages for XLA's temporaries, asked for before anything else is imported."""

import os
import sys


def use():
    """Starts this program again with huge pages, unless GLIBC_TUNABLES is set already.

    XLA's CPU client takes its temporaries afresh for every step, and mapping gigabytes page by
    page can cost as much as the arithmetic. glibc reads the variable once, at start-up.
    """
    if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
        os.execv(sys.executable, sys.orig_argv)
