// What a page does by itself. Everything here is convenience: each page is whole without it.
(() => {
  'use strict';

  // --- times ------------------------------------------------------------------------------------------------------------

  // The server's clock decides, as everywhere; a browser's own may be wrong.
  let ahead = 0;

  // The same words as the server's.
  function span(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  }

  function told(at) {
    const passed = Date.now() + ahead - at;
    if (passed >= -2000 && passed < 5000) return 'just now';
    const seconds = Math.floor(Math.abs(passed) / 1000);
    return passed < 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
  }

  function tick() {
    if (document.hidden) return;
    for (const time of document.querySelectorAll('time[data-rel]')) {
      const text = told(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // --- toasts -----------------------------------------------------------------------------------------------------------

  const STAY = 9000;

  // Shows a node for some time; longer while somebody reads it.
  function toast(node) {
    const region = document.getElementById('toasts');
    if (!region) return;
    while (region.children.length >= 4) region.firstElementChild.remove();
    node.classList.add('toast');
    const close = document.createElement('button');
    close.type = 'button';
    close.className = 'quiet';
    close.setAttribute('aria-label', 'Close');
    close.textContent = '×';
    close.addEventListener('click', () => node.remove());
    node.append(close);
    region.append(node);
    let timer = setTimeout(() => node.remove(), STAY);
    const hold = () => clearTimeout(timer);
    const release = () => { timer = setTimeout(() => node.remove(), STAY / 2); };
    node.addEventListener('pointerenter', hold);
    node.addEventListener('pointerleave', release);
    node.addEventListener('focusin', hold);
    node.addEventListener('focusout', release);
  }

  // --- the log of a job -------------------------------------------------------------------------------------------------

  const MOST_LINES = 5000;
  // Lines that came while somebody reads further up.
  let held = [];

  const log = () => document.querySelector('.log');
  // It is laid out from its end: 0 is the newest line.
  const reads = (box) => box.scrollTop < -24;

  function release(box) {
    const list = box.querySelector('ol');
    list.append(...held);
    held = [];
    while (list.children.length > MOST_LINES) list.firstElementChild.remove();
    box.parentElement.querySelector('.held')?.remove();
    box.scrollTop = 0;
  }

  function offer(box) {
    let button = box.parentElement.querySelector('.held');
    if (!button) {
      button = document.createElement('button');
      button.type = 'button';
      button.className = 'held small';
      button.addEventListener('click', () => release(box));
      box.after(button);
    }
    const lines = held.filter((row) => !row.classList.contains('gap')).length;
    button.textContent = lines === 1 ? '1 new line' : `${lines} new lines`;
  }

  document.addEventListener('rm-log', (event) => {
    const box = log();
    if (!box) return;
    const holder = document.createElement('template');
    holder.innerHTML = event.detail.data;
    const find = (box.dataset.find || '').toLowerCase();
    const rows = [...holder.content.children].filter((row) => !find || row.textContent.toLowerCase().includes(find));
    held.push(...rows);
    if (held.length > MOST_LINES) held = held.slice(-MOST_LINES);
    if (reads(box)) offer(box); else release(box);
  });

  document.addEventListener('scroll', (event) => {
    const box = event.target;
    if (held.length && box.classList?.contains('log') && !reads(box)) release(box);
  }, true);

  // --- menus ------------------------------------------------------------------------------------------------------------

  document.addEventListener('click', (event) => {
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      menu.open = false;
      menu.querySelector('summary').focus();
    }
  });

  // --- start ------------------------------------------------------------------------------------------------------------

  const made = document.querySelector('.foot time');
  if (made) ahead = Date.parse(made.dateTime) - Date.now();
  tick();
  setInterval(tick, 1000);
  document.addEventListener('visibilitychange', tick);
  document.addEventListener('htmx:after:swap', tick);
  document.addEventListener('rm-toast', (event) => {
    const holder = document.createElement('template');
    holder.innerHTML = event.detail.data;
    if (holder.content.firstElementChild) toast(holder.content.firstElementChild);
  });
})();
