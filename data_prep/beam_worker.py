"""Beam's worker process of `--direct_running_mode=multi_processing`, without its talk of itself."""

import logging
import os
import sys
import threading
import time


def _end_with(job: int) -> None:
    while os.getppid() == job:
        time.sleep(1)
    os._exit(1)  # it was killed, and who has not reached it yet would wait for ever


threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

from apache_beam.runners.worker import sdk_worker_main  # noqa: E402  (takes seconds)

logging.disable(logging.WARNING)  # what it logs of errors stays
sdk_worker_main.main(sys.argv)
