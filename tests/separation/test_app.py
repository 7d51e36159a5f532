"""The page that takes sounds apart, in a browser: drop, record, hear, see, download."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
import soundfile

import browser
import fgsep_jax
from fgsep_jax import app
import models

pytestmark = pytest.mark.slow  # each takes seconds

RATE = 8000


def noise(samples=4000, channels=1):
    return 0.3 * np.random.default_rng(0).standard_normal((samples, channels))


@pytest.mark.parametrize('there', [None, types.ModuleType('gradio')])  # a mere folder's is empty
def test_without_the_library_one_line_says_how_to_get_it(monkeypatch, capsys, there):
    monkeypatch.setitem(sys.modules, 'gradio', there)
    with pytest.raises(SystemExit) as stop:
        app.main(['voices'])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count('\n') == 1
    assert "pip install 'fgsep_jax[app]'" in error


def test_what_one_may_not_expect_is_said(tmp_path):
    soundfile.write(tmp_path / 'in.wav', noise(), RATE)
    separator = models.separator('convtasnet')
    real = separator.separate_file
    separator.separate_file = lambda *args, **options: dataclasses.replace(
        real(*args, **options), gain=0.5, low_margin_seconds=3.0
    )
    said, folder = app.separated(separator, str(tmp_path / 'in.wav'), tmp_path)
    assert 'all parts -6.0 dB, not to clip' in said and 'decided by little in 3.0 s' in said
    assert sorted(os.listdir(folder)) == ['in_speaker_1.wav', 'in_speaker_2.wav']


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    names = {'sounds': 'blstm_m2', 'adapted': 'blstm_m2_plus'}
    return [models.run(folder / name, config) for name, config in names.items()]


@pytest.fixture(scope='module')
def gradio():
    if not importlib.util.find_spec('gradio'):  # not imported: it looks for its folder then
        pytest.skip('needs the extra app')


@pytest.mark.parametrize(
    'flag, reason',
    [
        ('--port={taken}', '--host=127.0.0.1 --port={taken}: Address already in use'),
        ('--port=65536', '--port=65536: must be 65535 or less'),
        ('--host=192.0.2.1', '--host=192.0.2.1 --port=7860: Cannot assign requested address'),
    ],
)
def test_where_it_cannot_listen_one_line_says_why(capfd, flag, reason):
    with socket.create_server(('127.0.0.1', 0)) as other, pytest.raises(SystemExit) as stop:
        taken = other.getsockname()[1]
        app.main(['voices', flag.format(taken=taken)])
    error = capfd.readouterr().err
    assert stop.value.code == 2 and error.count('\n') == 1 and reason.format(taken=taken) in error


@pytest.fixture(scope='module')
def served(gradio, runs):
    with app.served(runs) as address:
        yield address


@pytest.fixture(scope='module')
def browsing(tmp_path_factory):
    flags = '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'
    driver = browser.start(*flags)
    yield driver
    driver.quit()


@pytest.fixture
def driver(browsing, served, tmp_path):
    browsing.execute_cdp_cmd(
        'Browser.setDownloadBehavior', {'behavior': 'allow', 'downloadPath': str(tmp_path)}
    )
    browsing.get_log('performance')
    browsing.get(served)
    wait(browsing, lambda: one(browsing, '#file input[type=file]'))
    yield browsing
    browsing.switch_to.default_content()
    assert not [line for line in browsing.get_log('browser') if line['level'] == 'SEVERE']


def wait(driver, found):
    """What a function finds, once it finds something."""
    passing = (NoSuchElementException, StaleElementReferenceException)
    return WebDriverWait(driver, 60, ignored_exceptions=passing).until(lambda _: found())


def one(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector)


def click(driver, selector):
    """Clicks once nothing lies over it: gradio covers what an event is at work on."""

    def clicked():
        try:
            one(driver, selector).click()
        except ElementClickInterceptedException:
            return False
        return True

    wait(driver, clicked)


def drop(driver, path):
    one(driver, '#file input[type=file]').send_keys(str(path))
    wait(driver, lambda: driver.find_elements(By.CSS_SELECTOR, '#file a[download]'))


def separate(driver):
    """Presses the button; enters the frame of the parts and returns its players."""
    click(driver, '#go')
    driver.switch_to.frame(wait(driver, lambda: one(driver, '#parts iframe')))
    return wait(driver, lambda: driver.find_elements(By.TAG_NAME, 'audio'))


def seconds(driver, player):
    """A player's duration, once it knows it."""
    return wait(driver, lambda: driver.execute_script('return arguments[0].duration', player))


def sentence(driver):
    return wait(driver, lambda: one(driver, '#parts [role=alert]').text)


def test_a_file_is_dropped_and_its_parts_are_heard_seen_and_downloaded(
    driver, served, runs, tmp_path
):
    path = tmp_path / 'a talk, \N{LATIN SMALL LETTER E WITH ACUTE}.wav'
    soundfile.write(path, noise(channels=2), 2 * RATE)
    drop(driver, path)
    players = separate(driver)
    assert [seconds(driver, player) for player in players] == [0.25] * 3
    pictures = driver.find_elements(By.CSS_SELECTOR, 'img[alt^=spectrogram]')
    assert len(pictures) == 3 and all(one.get_property('naturalWidth') > 10 for one in pictures)
    driver.switch_to.default_content()
    assert 'model hears up to 4,000 Hz' in one(driver, '#parts').text
    driver.switch_to.frame(one(driver, '#parts iframe'))
    expected = fgsep_jax.load(runs[0]).separate_file(path, tmp_path / 'expected').outputs
    links = driver.find_elements(By.CSS_SELECTOR, 'a[download]')
    assert len(links) == len(expected) == 2
    for link, (part, file) in zip(links, expected.items()):
        link.click()
        got = tmp_path / link.get_attribute('download')
        assert got.stem.endswith(part)
        wait(driver, got.exists)
        assert got.read_bytes() == pathlib.Path(file).read_bytes()
    messages = [json.loads(entry['message'])['message'] for entry in driver.get_log('performance')]
    urls = [
        message['params']['request']['url']
        for message in messages
        if message['method'] == 'Network.requestWillBeSent'
    ]
    assert len(urls) > 5 and not [u for u in urls if not u.startswith((served, 'data:', 'blob:'))]


def test_what_the_microphone_hears_counts_where_it_came_last(driver, tmp_path):
    """Chromium's own microphone beeps once a second."""
    path = tmp_path / 'before.wav'
    soundfile.write(path, noise(), RATE)
    drop(driver, path)
    wait(driver, lambda: one(driver, '#recorded .record-button').is_displayed())
    click(driver, '#recorded .record-button')
    time.sleep(1.5)
    click(driver, '#recorded .stop-button')
    wait(driver, lambda: one(driver, '#recorded .waveform-container'))
    players = separate(driver)
    lengths = [seconds(driver, player) for player in players]
    assert 1 < lengths[0] < 5 and lengths == pytest.approx([lengths[0]] * 3, abs=1e-3)


def test_what_is_no_sound_costs_a_sentence(driver, tmp_path):
    path = tmp_path / 'notes.wav'
    path.write_text('no sound')
    click(driver, '#go')
    assert sentence(driver) == 'There is no sound yet: drop a file, or record one.'
    drop(driver, path)
    click(driver, '#go')
    wait(driver, lambda: 'notes.wav' in sentence(driver))
    assert 'unreadable' in sentence(driver) and 'Traceback' not in sentence(driver)


def test_background_alone_is_said_to_models_that_take_it(driver, tmp_path):
    path = tmp_path / 'in.wav'
    soundfile.write(path, noise(), RATE)
    fields = '#span input'
    assert not [f for f in driver.find_elements(By.CSS_SELECTOR, fields) if f.is_displayed()]
    click(driver, '#model input')
    choices = wait(driver, lambda: driver.find_elements(By.CSS_SELECTOR, '[role=option]'))
    choices[1].click()
    wait(driver, lambda: one(driver, fields).is_displayed())
    drop(driver, path)
    for field, value in zip(driver.find_elements(By.CSS_SELECTOR, fields), ('0.2', '0')):
        field.send_keys(value)
    click(driver, '#go')
    assert sentence(driver).startswith('Background alone from 0.2 to 0 s: must be')
    driver.find_elements(By.CSS_SELECTOR, fields)[1].send_keys('.3')
    separate(driver)
    driver.switch_to.default_content()
    assert '0.20-0.25 s taken for background alone' in one(driver, '#parts').text


@pytest.mark.parametrize('width', [390, 1280])
def test_it_fits_a_phone_and_a_desk(driver, tmp_path, width):
    size = {'width': width, 'height': 800, 'deviceScaleFactor': 2, 'mobile': width < 800}
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
    path = tmp_path / f'{"long name " * 12}.wav'
    soundfile.write(path, noise(), RATE)
    drop(driver, path)
    separate(driver)
    wide = 'return [document.documentElement.scrollWidth, innerWidth]'
    for _ in ('the frame', 'the page'):
        scrolled, inner = driver.execute_script(wide)
        assert scrolled <= inner
        driver.switch_to.default_content()
    frame = one(driver, '#parts iframe')
    wait(driver, lambda: frame.size['height'] > 400)  # as high as what stands in it
    driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})


def test_stopped_it_leaves_no_file(gradio, runs, tmp_path):
    environment = {**os.environ, 'TMPDIR': str(tmp_path)}
    command = [sys.executable, '-m', 'fgsep_jax.app', runs[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        line = process.stdout.readline()
        assert line.startswith(b'http://127.0.0.1:')
        assert [name for name in os.listdir(tmp_path) if name.startswith('fgsep-app-')]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert not [name for name in os.listdir(tmp_path) if name.startswith('fgsep-app-')]
