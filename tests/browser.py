"""Headless Chromium for tests of pages."""

import os
import shutil

import pytest

FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--autoplay-policy=no-user-gesture-required',
    '--mute-audio',
    '--window-size=1280,900',
)


def start(*flags):
    """A selenium driver; skips the test where there is no browser, unless REQUIRE_BROWSER is set.

    Its log has what the page printed, its performance log what it asked the network for.
    """
    chromium = shutil.which('chromium') or shutil.which('google-chrome')
    driver = shutil.which('chromedriver')
    if not (chromium and driver):
        if os.environ.get('REQUIRE_BROWSER'):
            pytest.fail('REQUIRE_BROWSER is set, and chromium or chromedriver is not installed')
        pytest.skip('needs chromium and chromedriver')
    from selenium import webdriver
    from selenium.webdriver.chrome import service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, *flags):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    return webdriver.Chrome(options=options, service=service.Service(driver))
