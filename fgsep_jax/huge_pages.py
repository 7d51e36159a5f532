"""Huge pages for XLA's temporaries, asked for before JAX is imported."""

import os
import sys


def use():
    """Starts this program again with huge pages, unless GLIBC_TUNABLES is set already.

    XLA's CPU client takes its temporaries afresh for every step, and mapping gigabytes page by
    page can cost as much as the arithmetic. glibc reads the variable once, at start-up. A program
    that a debugger or profiler watches goes on as it is: they would lose it.
    """
    if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ and not _watched():
        os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
        os.execv(sys.executable, sys.orig_argv)


def _watched():
    tools = getattr(sys, 'monitoring', None)  # of Python 3.12 and later
    return bool(
        # A debugger without a breakpoint yet traces nothing; it is there all the same.
        {'bdb', 'pydevd'} & sys.modules.keys()
        or sys.gettrace()
        or sys.getprofile()
        or (tools and any(map(tools.get_tool, range(6))))
    )
