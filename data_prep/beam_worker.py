"""Beam's worker process of `--direct_running_mode=multi_processing`, without its talk of itself."""

import logging
import sys

from apache_beam.runners.worker import sdk_worker_main

logging.disable(logging.WARNING)  # what it logs of errors stays
sdk_worker_main.main(sys.argv)
