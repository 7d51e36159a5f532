"""What XLA compiled is kept for the next start of the same program."""

import contextlib
import hashlib
import os
import platform
import re

import jax


def use():
    """Sets JAX's persistent compilation cache to `folder`, unless JAX was told what to do.

    $JAX_COMPILATION_CACHE_DIR names another folder, or none if it is empty. Where there is no home,
    or none to write to, as in a container, nothing is kept: in a folder that all may write to, what
    is kept could be another's.
    """
    if 'JAX_COMPILATION_CACHE_DIR' in os.environ or jax.config.jax_compilation_cache_dir:
        return
    place = folder()
    if os.path.isabs(place):  # else a `~` that stands for nothing
        with contextlib.suppress(OSError):
            os.makedirs(place, exist_ok=True)
        if os.access(place, os.W_OK | os.X_OK):
            jax.config.update('jax_compilation_cache_dir', place)


def folder():
    """Folder in the user's cache, one for each kind of processor.

    Programs for a CPU are native code: machines of several kinds that share a home must not run
    one another's.
    """
    root = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    name = hashlib.sha256(_processor().encode()).hexdigest()[:16]
    return os.path.join(root, 'fgsep_jax', 'compiled', name)


def _processor():
    try:
        with open('/proc/cpuinfo') as file:
            found = re.findall(r'^(?:model name|flags|Features)\s*:.*$', file.read(), re.MULTILINE)
    except OSError:
        found = [platform.processor()]
    return '\n'.join([platform.machine(), *sorted(set(found))])
