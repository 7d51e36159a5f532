"""Reads Python sources, for tests of what stands in them."""

import ast
import gc


def parse(text):
    """`ast.parse`, which Python 3.11 ends with a SystemError where the garbage collector calls
    something meanwhile."""
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()
