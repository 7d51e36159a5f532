"""What XLA compiled is kept for the next start of the same program."""

import hashlib
import os
import platform
import re

import jax


def use():
    """Sets JAX's persistent compilation cache to `folder`, unless JAX was told what to do.

    $JAX_COMPILATION_CACHE_DIR names another folder, or none if it is empty.
    """
    if 'JAX_COMPILATION_CACHE_DIR' not in os.environ and not jax.config.jax_compilation_cache_dir:
        jax.config.update('jax_compilation_cache_dir', folder())


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
