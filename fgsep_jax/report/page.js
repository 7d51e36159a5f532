// Tables that sort, players that take turns, a playhead to click on, light or dark.
'use strict';

function sortTable(header) {
  const table = header.closest('table'), body = table.tBodies[0];
  const column = [...header.parentNode.children].indexOf(header);
  // Numbers start with the highest, words with the first.
  const now = header.getAttribute('aria-sort');
  const ascending = header.matches('.number') ? now === 'descending' : now !== 'ascending';
  const sign = ascending ? 1 : -1;
  for (const other of header.parentNode.children) other.setAttribute('aria-sort', 'none');
  header.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
  const key = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.matches('.missing, .number') ? null : cell.textContent;
  };
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number'
    ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
  const rows = [...body.rows].map((row) => [key(row), row]);
  // Cells without a run stay at the end, whichever the order.
  rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b));
  body.append(...rows.map(([, row]) => row));
}

for (const button of document.querySelectorAll('.sortable th button')) {
  button.addEventListener('click', () => sortTable(button.parentNode));
}

// What is wider than the page shows at which side there is more.
const regions = [...document.querySelectorAll('.scroll')];
function showMore(region) {
  const rest = region.scrollWidth - region.clientWidth - region.scrollLeft;
  const sides = [...(region.scrollLeft > 1 ? ['left'] : []), ...(rest > 1 ? ['right'] : [])];
  if (sides.length) region.dataset.more = sides.join(' '); else delete region.dataset.more;
}
const resized = new ResizeObserver((entries) => entries.forEach((entry) => showMore(entry.target)));
for (const region of regions) {
  region.addEventListener('scroll', () => showMore(region), { passive: true });
  resized.observe(region);
}

const players = [...document.querySelectorAll('audio')];
for (const audio of players) {
  const picture = audio.parentNode.querySelector('.picture');
  const head = picture.querySelector('.playhead');
  const draw = () => {
    head.style.left = `${100 * audio.currentTime / (audio.duration || 1)}%`;
    if (!audio.paused) requestAnimationFrame(draw);
  };
  audio.addEventListener('play', () => {
    for (const other of players) if (other !== audio) other.pause();
    picture.classList.add('active');
    draw();
  });
  audio.addEventListener('seeked', draw);
  picture.addEventListener('click', (event) => {
    const box = picture.getBoundingClientRect();
    if (audio.duration) audio.currentTime = audio.duration * (event.clientX - box.left) / box.width;
    audio.play().catch(() => {});  // another was chosen before it began
  });
}

// The system's theme is the style sheet's to follow, as long as none is chosen here.
const themes = ['system', 'light', 'dark'], toggle = document.getElementById('theme');
let theme = 'system';
toggle.addEventListener('click', () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  document.documentElement.dataset.theme = theme;
  toggle.textContent = `Theme: ${theme}`;
});

// A link opens what is folded around, at, or directly below its target.
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  const inside = target && target.querySelector(':scope > details');
  if (inside) inside.open = true;
  for (let at = target; at; at = at.parentElement) if (at instanceof HTMLDetailsElement) at.open = true;
  if (target) target.scrollIntoView();
}
addEventListener('hashchange', openTarget);
openTarget();
