// Louver's page: asks /api/v1 for paths and statistics and shows them. No framework, no build step, nothing
// from elsewhere, no cookie and no storage. Previews run only while they can be seen.
"use strict";

/** Every word of the page. */
const WORDS = {
  skip: "Skip to the content",
  paths: "Paths",
  statistics: "Statistics",
  period: "Period",
  periods: { short: "2 days", week: "7 days", month: "31 days" },
  footer: "Louver counts how streams are watched, not who watches: no cookies, no addresses, no profiles.",
  notice: "Privacy notice",
  nowWatching: (n) => (n === 0 ? "Nobody is watching" : n === 1 ? "1 viewer is watching" : `${n} viewers are watching`),
  watching: (n) => (n === 1 ? "1 watching" : `${n} watching`),
  states: { ready: "Ready", waiting: "Waiting", offline: "Offline" },
  noPicture: { ready: "Loading the picture", waiting: "Waiting for the source", offline: "Nothing is published here now" },
  noPublisher: "Waiting for a publisher",
  noVideo: "This stream has no video",
  source: (source, tracks) => [source, tracks].filter(Boolean).join(" · "),
  preview: (path) => `Live picture of ${path}`,
  lastError: (text) => `Last error: ${text}`,
  nextAttempt: (text, when) => `${text} (next attempt at ${when})`,
  urls: "Addresses",
  url: { rtsp: "RTSP", mjpeg: "MJPEG", snapshot: "Snapshot" },
  copy: "Copy",
  copied: "Copied",
  notCopied: "Not copied",
  copyWhat: (name, path) => `Copy the ${name} address of ${path}`,
  noPaths: "No path has a stream yet. Publish one, for example:",
  noPathsExample: (rtsp) => `ffmpeg -re -i clip.mp4 -c copy -f rtsp ${rtsp}`,
  noSuchPath: (path) => `There is no path ${path} now. This page shows it as soon as there is.`,
  gone: "Louver does not answer. Trying again.",
  sessions: "Sessions",
  viewerDays: "Viewer-days",
  watchTime: "Watch time",
  peak: "Most at once",
  path: "Path",
  protocol: "Protocol",
  client: "Player",
  country: "Country",
  byPath: "By path",
  byProtocol: "By protocol",
  byClient: "By player",
  byCountry: "By country",
  byHour: "Sessions by hour",
  hourRange: (from, to) => `${from} to ${to}`,
  hourBar: (when, n) => `${when}: ${n}`,
  hourSummary: (n, busiest) => `Sessions of the last ${n} hours; the busiest is ${busiest}`,
  noHour: (k) => `No hour had ${k} viewers or more.`,
  fewer: (k) => `<${k}`,
  fewerViewers: (k) => `<${k} viewers`,
  hidden: "–",
  fewerLong: (k) => `fewer than ${k} viewers: not shown`,
  protocols: { rtsp: "RTSP", mjpeg: "MJPEG", hls: "HLS", webrtc: "WebRTC", mp4: "MP4", ts: "MPEG-TS" },
  statsNote: (from, k) => `Since ${from}. Numbers of fewer than ${k} viewers are not shown one by one. ` +
    "A viewer-day is one viewer on one calendar day; viewers cannot be linked from day to day.",
  noStats: "Nobody has watched in this period.",
  csv: "As a table for spreadsheets (CSV)",
  hours: (h, m) => (m && h < 100 ? `${h} h ${m} min` : `${h} h`),
  minutes: (m, s) => (s ? `${m} min ${s} s` : `${m} min`),
  seconds: (s) => `${s} s`,
};

const PATHS_EVERY_MS = 2000;
const STATS_EVERY_MS = { short: 10000, week: 30000, month: 60000 }; // long answers are asked for less often
// A browser opens 6 connections to a server; these many previews leave room for the rest of the page.
const MOVING_PREVIEWS = 4;
const STILLS_EVERY_MS = 5000;
const RETRY_MS = 3000;
// On the page of one path the picture is what one came for: it outlives a short look at another tab.
const PLAYER_HIDDEN_MS = 30000;
const HOURS_SHOWN = 7 * 24;

/** The path this page is for; null on the page of all paths. */
const only = (() => {
  const m = /^\/live\/(.+)\/$/.exec(location.pathname);
  return m && decodeURIComponent(m[1]);
})();

const byId = (id) => document.getElementById(id);

/** An URL of this server, without the credentials that the page's own URL may carry. */
const here = (path) => new URL(path, location.origin).href;

/** A new element: attributes, event handlers (`onclick`) and children; text is never read as markup. */
function el(name, attrs, ...children) {
  const svg = ["svg", "rect", "line", "text", "title", "g"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attrs ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

/** Changes the text only when it is another: selections and screen readers stay undisturbed. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- Previews -------------------------------------------------------------------------------------------

/** A picture that moves while it can be seen, and costs nothing otherwise. */
class Preview {
  constructor(path, urls, counted) {
    this.path = path;
    this.urls = urls;
    this.query = counted ? "" : "?stats=off"; // looking at the overview is not watching
    this.visible = false;
    this.ready = false;
    this.mode = "off";
    this.timer = 0;
    this.hint = el("p", null);
    this.count = el("p", { class: "watching" });
    this.screen = el("div", { class: "screen" }, this.hint, this.count);
    this.screen.preview = this;
    this.img = null;
  }
  /** "moving", "still" or "off". */
  run(mode) {
    if (mode === this.mode) return;
    this.stop();
    this.mode = mode;
    if (mode !== "off") this.load();
  }
  load() {
    const still = this.mode === "still";
    const url = here(still ? this.urls.snapshot : this.urls.mjpeg) + this.query;
    const img = el("img", { alt: WORDS.preview(this.path) });
    const again = (ms) => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), ms);
    };
    img.addEventListener("load", () => {
      if (still) again(STILLS_EVERY_MS);
      if (this.img !== img) this.replace(img);
    });
    img.addEventListener("error", () => {
      this.replace(null);
      again(RETRY_MS);
    });
    // A fresh address each time, or the browser shows the still it has.
    img.src = still ? `${url}${this.query ? "&" : "?"}width=640&t=${Date.now()}` : url;
    if (!still) this.replace(img);
    else this.pending = img;
  }
  replace(img) {
    if (this.img && this.img !== img) {
      this.img.removeAttribute("src"); // this is what ends the request
      this.img.remove();
    }
    this.img = img;
    if (img) this.screen.insertBefore(img, this.count);
  }
  stop() {
    clearTimeout(this.timer);
    this.pending?.removeAttribute("src");
    this.pending = null;
    this.replace(null);
    this.mode = "off";
  }
}

let hiddenLong = false;
let hiddenTimer = 0;
const seen = new IntersectionObserver((entries) => {
  for (const e of entries) e.target.preview.visible = e.isIntersecting;
  runPreviews();
});

/** Lets the first few visible previews move, shows stills in the others, and stops all that is unseen. */
function runPreviews() {
  const away = only ? hiddenLong : document.hidden;
  let moving = 0;
  for (const { preview } of cards.values()) {
    if (away || !preview.visible || !preview.ready) preview.run("off");
    else preview.run(moving++ < MOVING_PREVIEWS ? "moving" : "still");
  }
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  hiddenLong = false;
  if (document.hidden) hiddenTimer = setTimeout(() => { hiddenLong = true; runPreviews(); }, PLAYER_HIDDEN_MS);
  runPreviews();
  if (!document.hidden) refresh();
});
addEventListener("pagehide", () => cards.forEach(({ preview }) => preview.stop()));

// ---- Paths ----------------------------------------------------------------------------------------------

/** What is shown of one path; made once and then updated in place. */
class Card {
  constructor(item) {
    const path = item.path;
    this.preview = new Preview(path, item.urls, only !== null);
    this.state = el("span", { class: "state" });
    this.origin = el("p", { class: "origin" });
    this.error = el("p", { class: "error" });
    this.urls = el("ul", { class: "urls", "aria-label": WORDS.urls });
    const title = only ? path : el("a", { href: here(item.urls.page) }, path);
    this.node = el("article", { class: "card", "aria-label": path },
      this.preview.screen,
      el("div", { class: "facts" },
        el("div", { class: "title" }, el("h2", null, title), this.state),
        this.origin, this.error, this.urls));
    this.pictures = []; // the addresses at which there is something only with video
    for (const [key, name] of Object.entries(WORDS.url)) {
      if (!item.urls[key]) continue;
      const row = urlRow(name, absolute(item.urls[key]), path);
      this.urls.append(row);
      if (key !== "rtsp") this.pictures.push(row);
    }
    seen.observe(this.preview.screen);
  }
  update(item) {
    const video = item.tracks.some((t) => t.kind === "video");
    this.state.className = `state ${item.state}`;
    setText(this.state, WORDS.states[item.state] ?? item.state);
    setText(this.origin, WORDS.source(item.source, item.tracks.map((t) => t.codec).join(" + ")));
    this.error.hidden = !item.last_error;
    const error = item.last_error ? WORDS.lastError(item.last_error) : "";
    const next = item.next_attempt && new Date(item.next_attempt).toLocaleTimeString();
    setText(this.error, error && next ? WORDS.nextAttempt(error, next) : error);
    this.preview.count.hidden = !item.viewers;
    setText(this.preview.count, WORDS.watching(item.viewers));
    this.preview.ready = item.state === "ready" && video;
    const soundOnly = item.state === "ready" && !video;
    for (const row of this.pictures) row.hidden = soundOnly;
    const published = item.state === "waiting" && item.source === "publish:";
    setText(this.preview.hint,
      soundOnly ? WORDS.noVideo : published ? WORDS.noPublisher : WORDS.noPicture[item.state] ?? "");
  }
  remove() {
    seen.unobserve(this.preview.screen);
    this.preview.stop();
    this.node.remove();
  }
}

const cards = new Map();

/** HTTP addresses come relative to the server, as this browser knows it; others are whole. */
const absolute = (url) => (url.startsWith("/") ? here(url) : url);

function urlRow(name, url, path) {
  const button = el("button", { type: "button", "aria-label": WORDS.copyWhat(name, path) }, WORDS.copy);
  button.addEventListener("click", async () => {
    const said = (await copy(url)) ? WORDS.copied : WORDS.notCopied;
    setText(button, said);
    setText(byId("spoken"), said);
    setTimeout(() => { setText(button, WORDS.copy); setText(byId("spoken"), ""); }, 1500);
  });
  const code = el("code", { tabindex: 0, title: url });
  for (const part of url.split(/(?<=[^/]\/)/)) code.append(part, el("wbr")); // long ones break after a slash
  return el("li", null, el("span", { class: "name" }, name), code, button);
}

/** Copies a text; by the old way where the new one is not allowed, which is on plain HTTP beyond this machine. */
async function copy(text) {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch { /* the other way, then */ }
  const area = el("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function showPaths({ items, rtsp }) {
  const mine = only ? items.filter((i) => i.path.toLowerCase() === only.toLowerCase()) : items;
  const empty = byId("paths-empty");
  empty.hidden = mine.length > 0;
  if (only) setText(empty, WORDS.noSuchPath(only));
  else if (rtsp && !empty.firstChild) {
    empty.append(WORDS.noPaths, el("code", null, WORDS.noPathsExample(`${rtsp}mystream`)));
  }
  for (const [path, card] of cards) {
    if (!mine.some((i) => i.path === path)) { card.remove(); cards.delete(path); }
  }
  let after = null;
  for (const item of mine) {
    let card = cards.get(item.path);
    if (!card) cards.set(item.path, card = new Card(item));
    card.update(item);
    const place = after ? after.nextSibling : byId("cards").firstChild;
    if (place !== card.node) byId("cards").insertBefore(card.node, place);
    after = card.node;
  }
  setText(byId("now"), WORDS.nowWatching(mine.reduce((n, i) => n + i.viewers, 0)));
  runPreviews();
}

// ---- Statistics -----------------------------------------------------------------------------------------

let period = "short";
/** In calendar days, with today: answers are of whole days. */
const PERIOD_DAYS = { short: 2, week: 7, month: 31 };

const number = new Intl.NumberFormat();
const dayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const hourFormat = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "numeric", minute: "2-digit",
});

function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return WORDS.seconds(s);
  if (s < 3600) return WORDS.minutes(Math.floor(s / 60), s % 60);
  return WORDS.hours(Math.floor(s / 3600), Math.floor(s / 60) % 60);
}

function showStats(stats) {
  byId("stats").hidden = false;
  const k = stats.k;
  const tiles = [
    [WORDS.sessions, number.format(stats.sessions)],
    [WORDS.viewerDays, number.format(stats.viewer_days)],
    [WORDS.watchTime, duration(stats.watch_seconds)],
    [WORDS.peak, number.format(stats.peak_concurrent)],
  ];
  byId("tiles").replaceChildren(...tiles.map(([name, value]) =>
    el("div", null, el("dt", null, name), el("dd", null, value))));
  byId("hours").replaceChildren(...hourChart(stats));
  byId("hours").hidden = stats.by_hour.length === 0;
  byId("tables").replaceChildren(...[
    only ? null : table(WORDS.byPath, WORDS.path, "path", stats.by_path, k, [
      [WORDS.sessions, "sessions"], [WORDS.viewerDays, "viewer_days"],
      [WORDS.watchTime, "watch_seconds", duration], [WORDS.peak, "peak_concurrent"],
    ]),
    table(WORDS.byProtocol, WORDS.protocol, "protocol", stats.by_protocol, k, [[WORDS.sessions, "sessions"]]),
    table(WORDS.byClient, WORDS.client, "client", stats.by_client, k, [[WORDS.sessions, "sessions"]]),
    table(WORDS.byCountry, WORDS.country, "country", stats.by_country, k, [[WORDS.sessions, "sessions"]]),
  ].filter(Boolean));
  const note = WORDS.statsNote(dayFormat.format(new Date(stats.from)), k);
  setText(byId("stats-note"), stats.sessions === 0 ? `${WORDS.noStats} ${note}` : note);
}

function table(caption, first, key, rows, k, columns) {
  if (!rows || rows.length === 0) return null;
  // The threshold is about viewers: that there are fewer than 5 says nothing of sessions or hours.
  const few = (field) => {
    if (columns.length === 1) return WORDS.fewerViewers(k);
    return field === "viewer_days" ? WORDS.fewer(k) : WORDS.hidden;
  };
  const cell = (row, [, field, format = number.format]) => (row.below_k
    ? el("td", { class: "few", title: WORDS.fewerLong(k) }, few(field))
    : el("td", null, format(row[field])));
  const name = (row) => (key === "protocol" ? WORDS.protocols[row[key]] ?? row[key] : row[key]);
  return el("div", { class: columns.length > 1 ? "panel wide" : "panel" }, el("table", null,
    el("caption", null, caption),
    el("thead", null, el("tr", null,
      el("th", { scope: "col" }, first), ...columns.map(([title]) => el("th", { scope: "col" }, title)))),
    el("tbody", null, ...rows.map((row) => el("tr", null,
      el("th", { scope: "row" }, name(row)), ...columns.map((c) => cell(row, c)))))));
}

/** Bars of sessions per hour, ending with the newest hour; hours below k are low and grey. */
function hourChart(stats) {
  const hour = 3600e3;
  const known = new Map(stats.by_hour.map((h) => [Math.floor(Date.parse(h.hour) / hour), h]));
  if (known.size === 0) return [];
  const last = Math.min(Math.floor(Date.now() / hour), Math.floor(Date.parse(stats.to) / hour));
  const first = Math.max(Math.min(...known.keys(), last - 11), last - HOURS_SHOWN + 1);
  const count = last - first + 1;
  const top = Math.max(1, ...[...known.values()].map((h) => h.sessions ?? 0));
  const width = 960, height = 120, step = width / count;
  const bars = [];
  let busiest = null;
  for (let n = first; n <= last; n++) {
    const h = known.get(n);
    const when = hourFormat.format(new Date(n * hour));
    const few = h?.below_k;
    const size = !h ? 0 : few ? 6 : Math.max(2, (h.sessions / top) * height);
    if (h && !few && (!busiest || h.sessions > busiest.sessions)) busiest = { when, sessions: h.sessions };
    if (size) {
      bars.push(el("rect", {
        class: few ? "few" : "count", rx: Math.min(3, step / 6),
        x: (n - first) * step + step * .1, y: height - size, width: step * .8, height: size,
      }, el("title", null, WORDS.hourBar(when, few ? WORDS.fewerLong(stats.k) : number.format(h.sessions)))));
    }
  }
  const range = WORDS.hourRange(hourFormat.format(new Date(first * hour)), hourFormat.format(new Date((last + 1) * hour)));
  const caption = el("figcaption", null, WORDS.byHour, " ", el("span", null, range));
  if (!busiest) return [caption, el("p", { class: "small" }, WORDS.noHour(stats.k))];
  const summary = WORDS.hourSummary(count, WORDS.hourBar(busiest.when, number.format(busiest.sessions)));
  return [
    caption,
    el("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": summary },
      el("line", { class: "base", x1: 0, x2: width, y1: height, y2: height, "vector-effect": "non-scaling-stroke" }),
      ...bars),
  ];
}

// ---- Asking the server ----------------------------------------------------------------------------------

/** The JSON at an address; throws when there is none. */
async function ask(path) {
  const answer = await fetch(here(path), { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

async function refreshPaths() {
  try {
    showPaths(await ask("/api/v1/paths"));
    byId("banner").hidden = true;
  } catch {
    setText(byId("banner"), WORDS.gone);
    byId("banner").hidden = false;
  }
}

let statsTimer = 0;

async function refreshStats() {
  clearTimeout(statsTimer);
  statsTimer = setTimeout(refreshStats, STATS_EVERY_MS[period]);
  if (document.hidden) return;
  const since = new Date(Date.now() - (PERIOD_DAYS[period] - 1) * 24 * 3600e3).toISOString();
  const query = new URLSearchParams({ since });
  if (only) query.set("path", only);
  try {
    const asked = period;
    const stats = await ask(`/api/v1/stats?${query}`);
    if (asked === period) {
      showStats(stats);
      byId("csv").href = here(`/api/v1/stats?${query}&format=csv`);
    }
  } catch { /* the paths' banner says that the server is gone */ }
}

function refresh() {
  refreshPaths();
  refreshStats();
}

function start() {
  document.querySelectorAll("[data-word]").forEach((node) => setText(node, WORDS[node.dataset.word]));
  if (only) {
    document.body.classList.add("player");
    document.title = `${only} - Louver`;
    setText(byId("paths-title"), only);
    byId("paths-title").classList.add("unseen");
  }
  for (const [key, word] of Object.entries(WORDS.periods)) {
    byId("period").append(
      el("input", {
        type: "radio", name: "period", id: `period-${key}`, checked: key === period,
        onchange: () => { period = key; refreshStats(); },
      }),
      el("label", { for: `period-${key}` }, word));
  }
  refresh();
  setInterval(() => { if (!document.hidden) refreshPaths(); }, PATHS_EVERY_MS);
}

start();
