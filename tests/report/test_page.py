"""The page in a browser: it loads in silence, sorts, plays, and fits."""

import collections
import json
import re

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import browser
import fabricate
from fgsep_jax.report import __main__ as command, page
from fgsep_jax.report.parts import Section, Table

pytestmark = pytest.mark.slow  # each takes seconds, or waits for what does


@pytest.fixture(scope='module')
def report(every_report):
    return str(every_report / 'index.html')


@pytest.fixture(scope='module')
def driver(report):
    driver = browser.start()
    driver.get(f'file://{report}')
    yield driver
    driver.quit()


def test_nothing_is_said_on_the_console_and_nothing_asked_of_the_network(driver, report):
    driver.get_log('performance')
    driver.get(f'file://{report}')
    assert driver.title == 'A <report>'
    assert driver.get_log('browser') == []
    asked = [json.loads(entry['message'])['message'] for entry in driver.get_log('performance')]
    urls = [
        one['params']['request']['url']
        for one in asked
        if one['method'] == 'Network.requestWillBeSent'
    ]
    assert urls and {url.split(':')[0] for url in urls} <= {'file', 'data'}
    assert sum(url.startswith('file') for url in urls) == 1  # the page itself


def column_of(driver, table, label):
    """(header's button, function that reads the column's cells) of a table by its anchor."""
    table = driver.find_element(By.CSS_SELECTOR, f'#{table} table')
    heads = table.find_elements(By.CSS_SELECTOR, 'thead button')
    i = [head.get_attribute('textContent').strip() for head in heads].index(label)

    def cells():
        return [
            driver.execute_script('return arguments[0].cells[arguments[1]]', row, i)
            for row in table.find_elements(By.CSS_SELECTOR, 'tbody tr')
        ]

    return heads[i], cells


def test_sorting_sorts_and_keeps_missing_cells_last(driver):
    head, cells = column_of(driver, 'table_1-alpha', 'SI-SNRi, alpha (dB)')

    def values():
        return [cell.get_attribute('data-value') for cell in cells()]

    before = values()
    assert before.count(None) == 2  # no Big and no dilated model
    driver.execute_script('arguments[0].scrollIntoView({block: "center"})', head)
    head.click()
    numbers = [float(value) for value in values()[:3]]
    assert numbers == sorted(numbers, reverse=True) and values()[3:] == [None, None]
    assert head.find_element(By.XPATH, '..').get_attribute('aria-sort') == 'descending'
    head.send_keys(Keys.ENTER)  # by keyboard
    numbers = [float(value) for value in values()[:3]]
    assert numbers == sorted(numbers) and values()[3:] == [None, None]
    assert head.find_element(By.XPATH, '..').get_attribute('aria-sort') == 'ascending'
    other, names = column_of(driver, 'table_1-alpha', 'Model')
    other.click()
    shown = [cell.text for cell in names()]
    assert shown == sorted(shown, key=str.lower)
    assert head.find_element(By.XPATH, '..').get_attribute('aria-sort') == 'none'
    for order in ('descending', 'ascending'):
        other.click()
        assert other.find_element(By.XPATH, '..').get_attribute('aria-sort') == order
    assert 'no run' in [
        cell.find_element(By.TAG_NAME, 'span').get_attribute('aria-label')
        for cell in cells()
        if cell.find_elements(By.TAG_NAME, 'span')
    ]


SOUNDS = """
const done = arguments[arguments.length - 1];
(async () => {
  const context = new OfflineAudioContext(1, 1, 44100), found = [];
  for (const audio of document.querySelectorAll('audio')) {
    await new Promise((ok) => {
      if (audio.readyState >= 1) return ok();
      audio.addEventListener('loadedmetadata', ok, { once: true }); audio.load();
    });
    const bytes = Uint8Array.from(atob(audio.src.split(',')[1]), (c) => c.charCodeAt(0));
    const samples = (await context.decodeAudioData(bytes.buffer)).getChannelData(0);
    found.push([audio.duration, Number(audio.dataset.seconds), audio.getAttribute('aria-label'),
                Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length)]);
  }
  done(found);
})();
"""


def test_players_have_sound_of_the_right_duration_and_one_level(driver):
    driver.set_script_timeout(60)
    found = driver.execute_async_script(SOUNDS)
    # Two speech sets with 9 groups and an oracle, c1..c4 with 4 and two oracles; a mixture and two
    # references each.
    assert len(found) == 2 * (3 + 2 * (9 + 1)) + 4 * (3 + 2 * (4 + 2))
    duration, seconds, labels, rms = zip(*found)
    expected = [0.5 if 'fgbg' in label else 1.0 for label in labels]
    np.testing.assert_allclose(duration, expected, atol=2e-3)
    np.testing.assert_allclose(seconds, expected, atol=2e-3)
    assert min(rms) > 0.05
    levels = collections.defaultdict(list)
    for label, level in zip(labels, rms):
        levels[label.split(', ')[-1]].append(level)
    assert len(levels) == 6
    for level in levels.values():
        np.testing.assert_allclose(level, level[0], rtol=0.02)
    assert len(set(labels)) == len(labels)  # a screen reader tells them apart


def test_one_plays_at_a_time_and_a_click_on_the_picture_seeks(driver):
    driver.execute_script('for (const one of document.querySelectorAll("details")) one.open = true')
    first, second = driver.find_elements(By.TAG_NAME, 'audio')[:2]
    driver.execute_script('arguments[0].loop = true; return arguments[0].play()', first)
    assert not first.get_property('paused')
    picture = second.find_element(By.XPATH, '../div[contains(@class, "picture")]')
    driver.execute_script('arguments[0].loop = true', second)
    driver.execute_script('arguments[0].scrollIntoView({block: "center"})', picture)
    picture.click()  # in its middle
    # play() clears `paused` at once; the event that pauses the others comes a task later.
    WebDriverWait(driver, 10).until(lambda _: first.get_property('paused'))
    assert not second.get_property('paused')
    assert 'active' in picture.get_attribute('class')
    for _ in range(3):  # quicker than they can start
        driver.execute_script(
            'for (const one of arguments) one.click()',
            picture,
            first.find_element(By.XPATH, '../div[contains(@class, "picture")]'),
        )
    driver.execute_script('for (const one of arguments) one.pause()', first, second)
    assert driver.get_log('browser') == []


def test_sounds_stand_before_the_claims_and_unfolded(driver):
    order = driver.execute_script(
        'return [...document.querySelectorAll("section, nav a")].map((one) => one.id || one.hash)'
    )
    for prefix in ('part-', '#part-'):
        listening = order.index(f'{prefix}listening')
        assert listening < min(
            i for i, one in enumerate(order) if one.startswith(f'{prefix}claims')
        )
    assert driver.execute_script(
        'return [...document.querySelectorAll("audio")].every((one) => one.checkVisibility())'
    )


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """The page of one run on recordings of one's own: no claim of a paper is about it."""
    folder = tmp_path_factory.mktemp('own')
    fabricate.run(
        folder / 'runs' / 'voices', 'convtasnet_glu', trained_on='voices', test_sets=('voices',)
    )
    assert command.main([f'--runs={folder}/runs', f'--output_dir={folder}/out']) == 0
    return str(folder / 'out' / 'index.html')


def test_the_page_of_ones_own_begins_with_what_there_is(driver, report, own):
    """Scores, sounds and curves without a cell that no run fills; the paper below and folded."""
    driver.get(f'file://{own}')
    sections = driver.execute_script(
        'return [...document.querySelectorAll("section")].map((section) => [section.id,'
        ' !!section.querySelector(":scope > details:not([open])"),'
        ' [...section.querySelectorAll(".missing")].some((cell) => cell.checkVisibility())])'
    )
    names = [name for name, *_ in sections]
    assert names[:3] == ['part-runs', 'part-listening', 'part-training']
    folded = {name for name, is_folded, _ in sections if is_folded}
    assert folded == {'part-claims_speech', 'part-speech', 'part-cross_dataset'}
    assert not folded & set(names[: -len(folded)])
    # Of the worst ten no other system tells anything.
    assert {name for name, _, hatched in sections if hatched} <= {'part-speech_by_example'}
    assert driver.execute_script(
        'return document.querySelector("#scores-voices td[data-value]").checkVisibility()'
    )
    table = driver.find_element(By.ID, 'table_1-voices')
    assert not table.is_displayed()
    link = driver.find_element(By.CSS_SELECTOR, 'nav a[href="#part-speech"]')
    driver.execute_script('arguments[0].click()', link)
    WebDriverWait(driver, 10).until(lambda _: table.is_displayed())
    assert driver.get_log('browser') == []
    driver.get(f'file://{report}')
    assert not driver.find_elements(By.CSS_SELECTOR, 'section > details:not([open])')


OUTSIDE = """return [...document.querySelectorAll('body *')].filter((one) => {
  const box = one.getBoundingClientRect();
  return !one.closest('.scroll') && !one.matches('.skip') && box.width
    && (box.right > innerWidth + 1 || box.left < -1);
}).map((one) => one.outerHTML.slice(0, 80))"""


# (table, whether it is wider than its place, whether that is said), with the longest note that a
# score can have in every score.
HIDDEN = """
const intervals = document.querySelectorAll('td .interval');
if (intervals.length) for (const flag of document.querySelectorAll('.flag')) flag.remove();
for (const interval of intervals) {
  const flag = document.createElement('span');
  flag.className = 'flag';
  flag.textContent = 'fewer than 4 speakers or recordings: no interval';
  interval.replaceWith(flag);
}
const regions = [...document.querySelectorAll('.scroll:has(table)')];
for (const region of regions) showMore(region);
return regions.map((region) => [region.getAttribute('aria-labelledby'),
  region.scrollWidth > region.clientWidth,
  getComputedStyle(region.nextElementSibling).display !== 'none']);
"""


@pytest.mark.parametrize('width', [360, 390, 1280])
def test_the_page_fits_a_phone_and_a_desk(driver, width):
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': width, 'height': 800, 'deviceScaleFactor': 2, 'mobile': width < 800},
    )
    wide, size = driver.execute_script(
        'return [document.documentElement.scrollWidth,'
        ' parseFloat(getComputedStyle(document.querySelector("td")).fontSize)]'
    )
    outside = driver.execute_script(OUTSIDE)
    tables = driver.execute_script(HIDDEN)
    driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
    assert wide <= width and size >= 12 and not outside
    if width > 1000:
        assert not any(wider for _, wider, _ in tables), tables
    assert all(wider == said for _, wider, said in tables), tables


def test_what_is_wider_than_the_page_says_at_which_side_there_is_more(driver):
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': 390, 'height': 800, 'deviceScaleFactor': 1, 'mobile': True},
    )
    region = driver.find_element(By.CSS_SELECTOR, '#table_1-alpha .scroll')
    for place, sides in ((0, 'right'), (50, 'left right'), (1e6, 'left'), (0, 'right')):
        driver.execute_script('arguments[0].scrollLeft = arguments[1]', region, place)
        WebDriverWait(driver, 10).until(lambda _: region.get_attribute('data-more') == sides)
    driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
    WebDriverWait(driver, 10).until(lambda _: region.get_attribute('data-more') is None)


def test_light_and_dark(driver):
    def contrast():
        ink, paper = (
            sum(map(int, re.findall(r'\d+', color)[:3]))
            for color in driver.execute_script(
                'const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]'
            )
        )
        label = driver.execute_script(
            'return getComputedStyle(document.querySelector(".drawing text")).fill'
        )
        return ink, paper, sum(map(int, re.findall(r'\d+', label)[:3]))

    def is_dark():
        ink, paper, label = contrast()
        assert label == ink and (paper < 200 < 600 < ink or ink < 200 < 600 < paper)
        return paper < ink

    toggle = driver.find_element(By.ID, 'theme')
    driver.execute_script('scrollTo(0, 0)')
    # The system's theme may change while the page is open; what is chosen stays until the system's
    # is chosen again.
    for chosen in ('system', 'light', 'dark', 'system'):
        assert toggle.text == f'Theme: {chosen}'
        for scheme in ('dark', 'light', 'dark'):
            driver.execute_cdp_cmd(
                'Emulation.setEmulatedMedia',
                {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]},
            )
            WebDriverWait(driver, 10).until(
                lambda _: is_dark() == ((scheme if chosen == 'system' else chosen) == 'dark')
            )
        toggle.click()
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})


def test_a_reader_that_sees_nothing_is_told_everything(report):
    with open(report) as file:
        text = file.read()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', text)) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    assert all(' alt="' in tag for tag in re.findall('<img [^>]*', text))
    assert all('aria-label="' in tag for tag in re.findall('<audio [^>]*', text))
    drawings = re.findall('<div class="drawing" role="img" aria-label="([^"]+)"', text)
    assert len(drawings) == text.count('class="drawing"') and min(map(len, drawings)) > 40
    assert not re.search(r'(src|href)="https?:', text)


def test_what_a_cell_says_is_escaped():
    table = Table('t', '<b>', {'a': '<i>'}, [['<script>x</script>']], '<p>')
    text = page.render([Section('s', '<s>', '<u>', [table])], title='&')
    for raw in ('<b>', '<i>', '<script>x', '<s>', '<u>', '<p><'):
        assert raw not in text
    assert '&lt;script&gt;x' in text
