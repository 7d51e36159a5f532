"""The processes of a run are named by three flags, all or none; a relay stands before the first."""

import contextlib
import re
import socket
import struct
import time
import types

import jax
import pytest

from fgsep_jax import hosts, main

THREE = dict(coordinator='10.0.0.2:8476', processes=2, process=1)


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(process=None), '--process: missing'),
        (dict(coordinator=None, processes=None), '--coordinator, --processes: missing'),
        (dict(coordinator='10.0.0.2'), '--coordinator=10.0.0.2: must be HOST:PORT'),
        (dict(coordinator='host:99999'), 'must be HOST:PORT'),
        (dict(processes=0), '--processes=0: must be 1 at least'),
        (dict(process=2), '--process=2: must be from 0 to 1, since --processes=2'),
        (dict(multihost=True), 'give one of them'),
    ],
)
def test_flags_that_do_not_say_which_process_this_is_are_refused(change, says, tmp_path, capsys):
    given = {name: value for name, value in {**THREE, **change}.items() if value is not None}
    flags = [f'--{name}={value}' for name, value in given.items()]
    with pytest.raises(SystemExit) as stop:
        main.main([f'--workdir={tmp_path}', *flags])
    assert stop.value.code == 2
    assert re.fullmatch(f'error: .*{re.escape(says)}.*\n', capsys.readouterr().err)


def test_one_process_alone_joins_nobody():
    given = types.SimpleNamespace(multihost=False, coordinator='h:1', processes=1, process=0)
    assert not hosts.check(given)
    assert hosts.check(types.SimpleNamespace(**{**vars(given), 'processes': 2}))


def test_of_a_process_that_flags_name_slurm_is_not_asked(monkeypatch):
    """Where it is, JAX gives each process one of the devices of its host, also of the only one."""
    given = {}
    monkeypatch.setattr(jax.distributed, 'initialize', lambda **how: given.update(how))
    flags = dict(coordinator='10.0.0.2:8476', processes=2, process=0)
    hosts.join(types.SimpleNamespace(multihost=False, **flags))
    assert given['cluster_detection_method'] == 'deactivate'
    assert given['num_processes'] == 2 and given['coordinator_address'] == '10.0.0.2:8476'


def test_a_relay_keeps_a_connection_open_whose_other_side_is_gone():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        way = hosts._Relay(f'127.0.0.1:{listener.getsockname()[1]}')
        stack.callback(way.end)
        here = stack.enter_context(socket.create_connection(('127.0.0.1', way.port)))
        there, _ = listener.accept()
        here.sendall(b'to')
        assert there.recv(9) == b'to'
        there.sendall(b'fro')
        assert here.recv(9) == b'fro' and not way.ended.is_set()
        there.close()
        assert way.ended.wait(10)
        here.settimeout(0.2)
        with pytest.raises(TimeoutError):
            here.recv(9)
        listener.close()
        with socket.create_connection(('127.0.0.1', way.port)) as again:
            assert again.recv(9) == b''
        until = time.monotonic() + 10
        while not way.problem and time.monotonic() < until:
            time.sleep(0.01)
        assert way.problem == 'Connection refused'


@pytest.mark.parametrize('linger', [None, struct.pack('ii', 1, 0)])  # an end, a reset
def test_a_relay_tells_whose_end_it_is(linger):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        way = hosts._Relay(f'127.0.0.1:{listener.getsockname()[1]}')
        stack.callback(way.end)
        here = socket.create_connection(('127.0.0.1', way.port))
        there, _ = listener.accept()
        here.sendall(b'to')
        assert there.recv(9) == b'to'
        if linger:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        here.close()
        assert there.recv(9) == b''  # at once, and nobody is told that the other is gone
        assert not way.ended.wait(0.3)
        there.close()
