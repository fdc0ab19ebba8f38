// The Studio: one viewer, one slate, and what each action does to the next slate.

const SLOTS = 12;
const HISTORY = 12;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const at = (id) => document.getElementById(id);
const state = { user: "", slate: [], view: "slate", turn: 0, users: [], watching: null };

async function call(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, options || undefined);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || `${response.status} ${response.statusText}`);
  return answer;
}

const path = (id) => encodeURIComponent(id);
const visitorId = () => {
  let id = sessionStorage.getItem("visitor");
  if (!id) sessionStorage.setItem("visitor", (id = `studio-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`));
  return id;
};

/* ---- the slate ---- */

async function showSlate({ quiet = false } = {}) {
  const turn = ++state.turn;
  busy(true);
  try {
    const answer = await call("/v1/recommendations", {
      user_id: state.user, k: SLOTS, explain: true, diversity: Number(at("diversity").value),
      context: { utc_offset_min: -new Date().getTimezoneOffset(), device: "studio" },
    });
    if (turn !== state.turn) return;
    const before = quiet && state.view === "slate" ? state.slate : [];
    state.slate = answer.items.map((item) => item.video_id);
    state.request = answer.request_id;
    setView("slate", "For you");
    draw(answer.items, { ranked: true, before });
    tell(before.length ? difference(before, state.slate) : "");
    notice(answer.degraded.length ? `Served by “${answer.served_by}”: ${answer.degraded.join("; ")}` : answer.notes.join(". "));
    meta(answer);
  } catch (error) {
    if (turn === state.turn) notice(error.message);
  } finally {
    if (turn === state.turn) busy(false);
  }
  if (turn === state.turn) showHistory(turn);
}

function difference(before, after) {
  const fresh = after.filter((id) => !before.includes(id)).length;
  const moved = after.filter((id, place) => before.includes(id) && before.indexOf(id) !== place).length;
  if (!fresh && !moved) return "The slate stayed as it was.";
  return `Updated: ${fresh} new, ${moved} moved.`;
}

async function showHistory(turn) {
  let items = [], now = 0;
  try {
    ({ items, now_ms: now } = await call(`/v1/users/${path(state.user)}/history?limit=${HISTORY}`));
  } catch { /* without a store there is no history to show; the slate already says so */ }
  if (turn !== state.turn) return;
  at("past").hidden = !items.length;
  at("history").replaceChildren(...items.map((item) => {
    const row = document.createElement("li");
    row.dataset.event = item.event;
    const picture = document.createElement("img");
    Object.assign(picture, { src: item.thumbnail, alt: "", loading: "lazy" });
    const words = document.createElement("div");
    const title = document.createElement("b");
    title.textContent = title.title = item.title || item.video_id;
    const what = document.createElement("small");
    what.textContent = item.event + ago(item.ts_ms, now);
    words.append(title, what);
    row.append(picture, words);
    return row;
  }));
}

function ago(ts, now) {
  if (!ts) return "";
  const minutes = Math.max(0, Math.round((now - ts) / 60000));
  if (minutes < 1) return " · now";
  if (minutes < 60) return ` · ${minutes} min ago`;
  if (minutes < 2880) return ` · ${Math.round(minutes / 60)} h ago`;
  return ` · ${Math.round(minutes / 1440)} days ago`;
}

/* ---- other views of the grid ---- */

async function showFound(title, ask) {
  const turn = ++state.turn;
  busy(true);
  try {
    const answer = await ask();
    if (turn !== state.turn) return;
    setView("found", title);
    draw(answer.items, { ranked: false, before: [] });
    tell("");
    notice(answer.notes.join(". "));
    meta(answer);
    at("slate-title").focus({ preventScroll: true });
    scrollTo({ top: 0 });
  } catch (error) {
    if (turn === state.turn) notice(error.message);
  } finally {
    if (turn === state.turn) busy(false);
  }
}

const search = (text) => showFound(`“${text}”`, () => call("/v1/search", { text, k: 24 }));
const similar = (item) => showFound(`Like “${item.title || item.video_id}”`,
  () => call(`/v1/videos/${path(item.video_id)}/similar?k=24`));

function setView(view, title) {
  state.view = view;
  at("slate-title").textContent = title;
  at("back").hidden = view === "slate";
  at("knob").hidden = view !== "slate";
  at("past").hidden = view !== "slate" || !at("history").children.length;
}

/* ---- cards ---- */

function draw(items, { ranked, before }) {
  const grid = at("slate");
  const places = new Map([...grid.children].map((card) => [card.dataset.id, card.getBoundingClientRect()]));
  const cards = items.map((item, place) => card(item, place, ranked, before));
  if (!cards.length) {
    const empty = document.createElement("li");
    empty.className = "empty";
    empty.textContent = ranked ? "Nothing is left to recommend to this viewer." : "Nothing was found.";
    cards.push(empty);
  }
  grid.replaceChildren(...cards);
  if (before.length) glide(cards, places);
}

function moveOnHover(card, picture, item) {
  card.addEventListener("mouseenter", () => { picture.src = item.preview; });
  card.addEventListener("mouseleave", () => { picture.src = item.thumbnail; });
}

function card(item, place, ranked, before) {
  const made = at("card").content.firstElementChild.cloneNode(true);
  const find = (selector) => made.querySelector(selector);
  const name = item.title || item.video_id;
  made.dataset.id = item.video_id;
  find("img").src = item.thumbnail;
  if (!STILL.matches) moveOnHover(made, find("img"), item);
  find("h3").textContent = find("h3").title = name;
  find(".why").textContent = ranked ? capital(item.reasons.join(" · ")) : matched(item);
  find(".detail").textContent = detail(item, ranked);
  find(".length").textContent = item.duration_s ? clock(item.duration_s) : "";
  if (ranked) find(".rank").textContent = place + 1;
  if (before.length) mark(find(".moved"), before.indexOf(item.video_id), place);
  for (const button of made.querySelectorAll("[data-act]")) {
    button.setAttribute("aria-label", `${capital(button.dataset.act)}: ${name}`);
    button.addEventListener("click", () => act(button.dataset.act, item, made));
  }
  return made;
}

function mark(badge, was, place) {
  if (was < 0) { badge.textContent = "new"; badge.classList.add("new"); }
  else if (was !== place) badge.textContent = was > place ? `▲ ${was - place}` : `▼ ${place - was}`;
}

function detail(item, ranked) {
  const parts = [item.creator_id && `by ${item.creator_id}`, item.tags.slice(0, 3).join(", "),
    ranked && item.sources.map((s) => s.replaceAll("_", " ")).join(" + ")];
  return parts.filter(Boolean).join(" · ");
}

const matched = (item) => (item.matched.includes("meaning") || item.matched.includes("words")
  ? `found by ${item.matched.join(" and ")}` : `${Math.round(item.score * 100)} % alike`);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function glide(cards, places) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const made of cards) {
    const old = places.get(made.dataset.id);
    const now = made.getBoundingClientRect();
    const frames = old
      ? [{ transform: `translate(${old.left - now.left}px, ${old.top - now.top}px)` }, { transform: "none" }]
      : [{ opacity: 0, transform: "scale(.94)" }, { opacity: 1, transform: "none" }];
    made.animate(frames, { duration: 380, easing: "cubic-bezier(.2, .8, .2, 1)" });
  }
}

/* ---- actions ---- */

async function act(kind, item, made) {
  if (kind === "similar") return similar(item);
  if (kind === "play" && item.media) return play(item);
  return send(kind, item, kind === "play" ? item.duration_s : null, made);
}

async function send(kind, item, watched, made) {
  const buttons = made ? [...made.querySelectorAll("[data-act]")] : [];
  buttons.forEach((button) => { button.disabled = true; });
  const event = { video_id: item.video_id, event: kind, event_id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, surface: "studio" };
  if (watched != null) event.watch_s = watched;
  if (item.position != null) Object.assign(event, { request_id: state.request, position: item.position });
  try {
    await call("/v1/events", { user_id: state.user, events: [event] });
    made?.classList.add(`done-${kind}`);
    if (state.view === "slate") await showSlate({ quiet: true });
    else tell(`${capital(kind)} noted: the next slate will know.`);
  } catch (error) {
    notice(error.message);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

function play(item) {
  state.watching = item;
  at("player-title").textContent = item.title || item.video_id;
  at("video").src = item.media;
  at("player").showModal();
  at("video").play().catch(() => { /* the browser wants a click on the player first */ });
}

at("player").addEventListener("close", () => {
  const video = at("video");
  let watched = 0;
  for (let i = 0; i < video.played.length; i += 1) watched += video.played.end(i) - video.played.start(i);
  video.removeAttribute("src");
  video.load();
  const item = state.watching;
  state.watching = null;
  if (item) send("play", item, watched, null);
});

/* ---- the frame around the grid ---- */

function busy(on) { at("slate").setAttribute("aria-busy", on); }
function tell(text) { at("change").textContent = text; }
function notice(text) { at("notice").textContent = text; at("notice").hidden = !text; }
function meta(answer) {
  at("meta").textContent = `served by ${answer.served_by} · bundle ${answer.bundle} · ${answer.timings_ms.total.toFixed(1)} ms · request ${answer.request_id}`;
}

function choose(user) {
  state.user = user || visitorId();
  at("user").value = user;
  const url = new URL(location);
  if (user) url.searchParams.set("user", user); else url.searchParams.delete("user");
  history.replaceState(null, "", url);
  state.slate = [];
  return showSlate();
}

at("who").addEventListener("submit", (event) => { event.preventDefault(); choose(at("user").value.trim()); });
at("user").addEventListener("change", () => choose(at("user").value.trim()));
at("another").addEventListener("click", () => {
  const others = state.users.filter((user) => user !== state.user);
  if (others.length) choose(others[Math.floor(Math.random() * others.length)]);
});
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("words").value.trim();
  if (text) search(text); else showSlate();
});
at("words").addEventListener("search", () => { if (!at("words").value && state.view !== "slate") showSlate(); });
at("back").addEventListener("click", () => { at("words").value = ""; showSlate(); });
at("refresh").addEventListener("click", () => showSlate({ quiet: true }));
at("diversity").addEventListener("change", () => showSlate({ quiet: true }));

async function begin() {
  at("slate").replaceChildren(...Array.from({ length: 8 }, () => Object.assign(document.createElement("li"), { className: "ghost" })));
  const asked = new URLSearchParams(location.search).get("user");
  try {
    const { users } = await call("/v1/users?limit=200");
    state.users = users.map((user) => user.user_id);
    at("users").replaceChildren(...users.map((user) => {
      const option = document.createElement("option");
      option.value = user.user_id;
      option.label = `${user.events} events`;
      return option;
    }));
  } catch (error) { notice(error.message); }
  await choose(asked ?? state.users[0] ?? "");
  const { url } = await call("/v1/report");
  if (url) Object.assign(at("report"), { href: url, hidden: false });
}

begin();
