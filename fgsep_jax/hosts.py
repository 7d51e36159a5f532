"""Several processes as one run: how they find one another, and what is left of them where one goes.

JAX waits for a host that is gone for minutes, or ends the process with a page of C++. So each host
shows every second, in the store that JAX's coordinator in the first one keeps, that it is there;
the first looks at all others, and these at what it says. Where one is gone the others end at once,
in a line that names it, with a status that schedulers can start them again on.

JAX aborts a process whose connection to the coordinator ends; hence the process of `relay` between
them, which keeps JAX's end of it open.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import traceback

from fgsep_jax import config as config_lib, stopping
from fgsep_jax.launch import relay
from fgsep_jax.names import shown

# JAX is imported where it is used: once the command line is understood.

LOST = 75  # exit status of those that are left: sysexits.h's EX_TEMPFAIL, "try again"
BEAT = 1.0  # seconds between two signs of life
SILENCE = 8.0  # seconds after which a host is taken for gone
PATIENCE = 300.0  # seconds that the hosts of a run wait for one another at the start
_GRACE = 3.0  # seconds for what ends on all hosts alike to be said by each
_VERDICT = SILENCE + 2 * _GRACE  # seconds until a host that is gone is known to all
_STORE = 'fgsep_jax'
_AGAIN = (
    'type the same command again, on as many hosts as there are: a training goes on from its last'
    ' checkpoint'
)

_hosts = None  # of this process, once it has joined others


def flags(parser):
    """Adds the flags by which the processes of a run find one another."""
    parser.switch(
        '--multihost',
        'join the other processes of a pod, Slurm step, Kubernetes job or mpirun before anything'
        ' else',
    )
    parser.add_argument(
        '--coordinator',
        metavar='HOST:PORT',
        help='elsewhere, on every host: where process 0 runs, and a free port there;'
        ' with --processes and --process',
    )
    parser.add_argument('--processes', type=int, metavar='N', help='with it: how many there are')
    parser.add_argument(
        '--process', type=int, metavar='K', help='with it: which this is, from 0 to N-1'
    )


def check(args):
    """Whether this process is one of several.

    Raises:
      ConfigError: the flags do not say which.
    """
    given = {name: getattr(args, name) for name in ('coordinator', 'processes', 'process')}
    missing = [f'--{name}' for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return args.multihost
    if missing:
        raise config_lib.ConfigError(
            f'{", ".join(missing)}: missing; a process of several needs all of --coordinator,'
            ' --processes and --process'
        )
    if args.multihost:
        raise config_lib.ConfigError(
            '--multihost finds the other processes by itself, --coordinator names them: give one'
            ' of them'
        )
    host, _, port = args.coordinator.rpartition(':')
    if not host or not re.fullmatch(r'\d{1,5}', port) or not 0 < int(port) < 65536:
        raise config_lib.ConfigError(
            f'--coordinator={args.coordinator}: must be HOST:PORT, e.g. 10.0.0.2:8476'
        )
    if args.processes < 1:
        raise config_lib.ConfigError(f'--processes={args.processes}: must be 1 at least')
    if not 0 <= args.process < args.processes:
        raise config_lib.ConfigError(
            f'--process={args.process}: must be from 0 to {args.processes - 1}, since'
            f' --processes={args.processes}'
        )
    return args.processes > 1


def join(args):
    """Joins the other processes of a run, and watches from now on whether they are there.

    Raises:
      ConfigError: there are none.
    """
    global _hosts
    import jax

    flag = '--multihost' if args.multihost else f'--coordinator={args.coordinator}'
    found = dict(
        coordinator_address=args.coordinator,
        num_processes=args.processes,
        process_id=args.process,
        # Else, in a step of Slurm's, JAX would take one of the host's devices alone.
        cluster_detection_method='deactivate',
    )
    if args.multihost:
        found = _of_environment()
    way = None
    if found.get('process_id'):
        way = _Relay(found['coordinator_address'])
        found['coordinator_address'] = f'127.0.0.1:{way.port}'
    joined = threading.Event()
    patience = threading.Thread(
        target=_wait_for, args=(joined, flag, found.get('num_processes'), way), daemon=True
    )
    patience.start()
    try:
        jax.distributed.initialize(**found, initialization_timeout=round(100 * PATIENCE))
    except (ValueError, RuntimeError) as error:
        where = (
            'JAX finds them on Cloud TPU, Slurm, Open MPI and Kubernetes; elsewhere --coordinator,'
            ' --processes and --process say who they are, and for one machine leave the flag out'
        )
        if args.coordinator:
            where = 'process 0 must be able to open this port on its machine'
        raise config_lib.ConfigError(
            f'{flag}: no other processes were found ({str(error).strip()}). {where}'
        ) from error
    finally:
        joined.set()
    if jax.process_count() > 1:
        _hosts = _Hosts(way)
        if args.processes not in (None, jax.process_count()):
            raise config_lib.ConfigError(
                f'--processes={args.processes}: process 0 was started with {jax.process_count()};'
                ' all need the same command'
            )


@contextlib.contextmanager
def together():
    """Within, a process that ends by an error tells the others; at the end all leave together."""
    try:
        yield
    except BaseException as error:
        agreed = isinstance(error, SystemExit) and (
            not error.code or isinstance(error.code, int) and error.code > 128
        )
        if _hosts and not agreed:
            _hosts.leave(error)
        if _hosts:
            _hosts.part()
        raise
    if _hosts:
        _hosts.part()


def await_reason(error):
    """Does not come back where an error of this process is that of a host that is gone, which the
    libraries in between tell in words of their own."""
    if _hosts and error.__cause__ is not None:
        time.sleep(_VERDICT)


def _of_environment():
    """What the platform says of the processes, as arguments of `jax.distributed.initialize`; {}
    where this version of JAX cannot be asked, and finds them itself."""
    try:
        from jax._src import clusters

        found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, round(PATIENCE)
        )
        address, count, index, devices = found
    except Exception:  # of a module that has no contract
        return {}
    if not address or count is None or index is None:
        return {}
    return dict(
        coordinator_address=address,
        num_processes=count,
        process_id=index,
        local_device_ids=devices,
    )


def _wait_for(joined, flag, count, way):
    """Ends this process where the others do not come."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not (way and way.ended.is_set()):
        if joined.wait(BEAT):
            return
    tried = f' (the first: {way.problem})' if way and way.problem else ''
    of = f' of {count}' if count else ''
    stopping.leave(
        f'error: {flag}: not all{of} processes were there within {PATIENCE:.0f} s, or one went'
        f' again{tried}. Start the same command on every host, each with its own number',
        LOST,
    )


class _Relay:
    """The process of `relay` before an address.

    Attributes:
      port: of this machine.
      problem: why the other machine could not be reached, in words; '' as long as it could.
      ended: threading.Event, that it has closed a connection.
    """

    def __init__(self, address):
        host, _, port = address.rpartition(':')
        self._process = subprocess.Popen(
            [sys.executable, '-I', '-S', relay.__file__, host.strip('[]'), port],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.port = int(self._process.stdout.readline())
        self.problem, self.ended = '', threading.Event()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def end(self):
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._listening.join()
        self._process.stdout.close()

    def _listen(self):
        for line in self._process.stdout:
            if line == 'ended\n':
                self.ended.set()
            else:
                self.problem = line.strip()
        self.ended.set()  # nothing passes any more


class _Hosts:
    """The processes of a run, from one's point of view; it begins to watch when it is made.

    Args:
      way: the _Relay to the first process; None in that one.
    """

    def __init__(self, way):
        import jax
        from jax._src.distributed import global_state

        self._client, self._way = global_state.client, way
        self._index, self._count = jax.process_index(), jax.process_count()
        self._names = {}
        self._ending, self._leaving = None, False
        self._stopped = threading.Event()
        now = time.monotonic()
        self._heard = now  # of the store
        self._seen = dict.fromkeys(range(1, self._count), ('', now))  # (sign, since when)
        self._client.key_value_set(f'{_STORE}/name/{self._index}', socket.gethostname())
        self._until_the_end = contextlib.ExitStack()
        self._until_the_end.enter_context(stopping.finishing(self._tell))
        for work in (self._beat, self._judge):
            threading.Thread(target=work, daemon=True).start()

    def _beat(self):
        """Shows that this process is there, and looks who else is."""
        sign = 0
        while not self._stopped.wait(BEAT):
            sign += 1
            try:
                if self._index:
                    self._client.key_value_set(
                        f'{_STORE}/alive/{self._index}', str(sign), allow_overwrite=True
                    )
                else:
                    self._look()
                if len(self._names) < self._count:
                    self._names = self._read('name')
                for ending in self._read('ending').values():
                    self._ending = self._ending or json.loads(ending)
                self._heard = time.monotonic()
            except Exception:  # no answer: `_judge` counts how long
                continue

    def _look(self):
        signs, now = self._read('alive'), time.monotonic()
        for host, (sign, since) in self._seen.items():
            if signs.get(host, '') != sign:
                self._seen[host] = signs[host], now
            elif now - since > SILENCE:
                self._announce(LOST, host)

    def _read(self, what):
        """{host: value} of what the hosts have stored under a name."""
        there = self._client.key_value_dir_get(f'{_STORE}/{what}/')
        return {int(key.rpartition('/')[2]): value for key, value in there}

    def _announce(self, status=LOST, host=None):
        """Tells all that one of them, this one or another, is no longer there."""
        host = self._index if host is None else host
        ending = json.dumps({'host': host, 'status': status})
        with contextlib.suppress(Exception):  # the first counts
            self._client.key_value_set(f'{_STORE}/ending/0', ending)

    def _tell(self):
        """As `_announce`, where this process is stopped, and does not wait for an answer."""
        telling = threading.Thread(target=self._announce, daemon=True)
        telling.start()
        telling.join(BEAT)

    def _judge(self):
        """Ends this process where the run is over."""
        while not self._stopped.wait(BEAT / 4):
            silent = time.monotonic() - self._heard > SILENCE
            ended = self._way and self._way.ended.is_set()
            # The first may have left together with all others.
            if ended and not self._ending and not silent and self._stopped.wait(_GRACE):
                return
            if silent or ended or self._ending:
                if self._leaving:
                    return
                self._end(self._ending or {'host': 0, 'status': LOST})

    def _end(self, ending):
        host, status = ending['host'], ending['status']
        name = self._names.get(host, '')
        who = f'host {host} of {self._count}' + f' ({shown(name)})' * bool(name)
        if host == self._index:
            text = f'{who}, this one, was not heard of for {SILENCE:.0f} s, and the others ended'
        else:
            text = f'{who} is gone'
        if status == LOST:
            text = f'error: {text}: {_AGAIN}'
        else:
            time.sleep(_GRACE)
            if self._leaving:  # for the same reason
                return
            text = f'error: {who} ended with status {status}; what it said there is why'
        if not self._index:
            time.sleep(_GRACE)  # the store ends with this process; the others are to see it
        stopping.leave(text, status)

    def leave(self, error):
        """Ends this process for an error, of which the others are told."""
        if not isinstance(error, SystemExit):
            time.sleep(_VERDICT)
            traceback.print_exception(error)
        self._leaving = True
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        status = error.code if isinstance(error, SystemExit) and type(error.code) is int else 1
        self._announce(status)
        if not self._index:
            time.sleep(_GRACE)
        stopping.leave('', status)

    def part(self):
        """Waits until all others are done too."""
        with contextlib.suppress(Exception):
            self._client.wait_at_barrier(f'{_STORE}/done', timeout_in_ms=7 * 86400 * 1000)
        self._stopped.set()
