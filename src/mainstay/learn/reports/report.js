"use strict";
// The cases of a report: searched, filtered and paged here; only the page that is looked at becomes elements.
// Every text of a case is set as text, never as markup.

const PAGE = 50;          // cases on a page
const SHORT = 4000;       // characters of a text that are shown before somebody asks for all
const MOST_CELLS = 4e6;   // words of one answer times words of the other, above which they are not compared

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("index").textContent);
const search = byId("search"), slice = byId("slice"), outcome = byId("outcome"), change = byId("change");

// `candidate` and `baseline` are the share of turns that pass, null where it cannot be told, "" where the case was not run.
const cases = data.cases.map(([id, must, tags, candidate, baseline], at) => ({ at, id, must: !!must, tags, candidate, baseline, words: null }));
const blocks = [];
const choices = [null];  // what the entries of the list of slices stand for; the first is all
let found = cases, page = 0, finding = null;

// Whether the block that holds a case has been read by the browser.
const here = ({ at }) => byId(`block-${Math.floor(at / data.block)}`) !== null;

// A case in full.
function whole({ at }) {
  const block = Math.floor(at / data.block);
  blocks[block] ??= JSON.parse(byId(`block-${block}`).textContent);
  const [input, expected, more, candidate, baseline = []] = blocks[block][at % data.block];
  return { input, expected, more, candidate: candidate.map(turn), baseline: baseline.map(turn) };
}

function turn([record, status, reason, rung, shown, took, first, cost, kept, opinions]) {
  return { record, status, reason, rung, shown, took, first, cost, kept, opinions };
}

// Elements

function make(tag, properties = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...inside.filter((child) => child !== null && child !== undefined));
  return element;
}

// Characters that are not seen, or that turn the direction of what follows, and halves of characters: shown by their number.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function write(element, text) {
  let from = 0;
  for (const match of text.matchAll(INVISIBLE)) {
    const code = "U+" + match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    element.append(text.slice(from, match.index), make("span", { className: "invisible" }, code));
    from = match.index + 1;
  }
  element.append(text.slice(from));
  return element;
}

// A text in pieces [kind, text]; a long one with a button for the rest of it.
function textOf(pieces) {
  const box = make("div", { className: "text", dir: "auto" });
  const length = pieces.reduce((sum, [, text]) => sum + text.length, 0);
  const fill = (limit) => {
    box.replaceChildren();
    for (const [kind, text] of pieces) {
      const part = text.slice(0, limit);
      limit -= part.length;
      write(kind ? box.appendChild(make(kind)) : box, part);
      if (limit <= 0) break;
    }
  };
  fill(SHORT);
  if (!length) box.append(make("i", {}, "(nothing was shown)"));
  if (length <= SHORT) return box;
  const all = make("button", { type: "button" }, `Show all ${length.toLocaleString("en")} characters`);
  all.onclick = () => { fill(length); all.remove(); box.tabIndex = -1; box.focus(); };
  return make("div", {}, box, all);
}

// Figures

const time = (us) => us === null ? "–" : us < 999500 ? `${Number((us / 1e3).toPrecision(3))} ms` : `${Number((us / 1e6).toPrecision(3))} s`;
const money = (nano) => nano === null ? "?" : nano === 0 ? "$0" : `$${(nano / 1e9).toFixed(Math.max(2, 2 - Math.floor(Math.log10(nano / 1e9))))}`;
const mean = (turns, field) => turns.some((turn) => turn[field] === null) || !turns.length ? null : turns.reduce((sum, turn) => sum + turn[field], 0) / turns.length;

function outcomeOf(share) {
  if (share === "" || share === null) return ["unscored", share === "" ? "not run" : "not told"];
  if (share === 1) return ["passed", "✓ passed"];
  return ["failed", share ? `✗ ${Math.round(share * 100)} % pass` : "✗ failed"];
}

function chip(share) {
  const [kind, word] = outcomeOf(share);
  return make("span", { className: `chip ${kind}` }, word);
}

function changeOf({ candidate, baseline }) {
  if (typeof candidate !== "number" || typeof baseline !== "number") return "";
  return candidate < baseline ? "worse" : candidate > baseline ? "better" : "same";
}

// What differs between two answers, word by word

const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{N}\p{M}_]+|\s+|[^]/gu;

// Two lists of pieces, the old text's with "del" and the new one's with "ins"; null where the texts are too long for it.
function difference(before, after) {
  const old = before.match(WORD) || [], now = after.match(WORD) || [];
  let head = 0, tail = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const a = old.slice(head, old.length - tail), b = now.slice(head, now.length - tail);
  if (a.length * b.length > MOST_CELLS) return null;
  const wide = b.length + 1, common = new Uint16Array((a.length + 1) * wide);  // the longest common part of what is left of both
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * wide + j] = a[i] === b[j] ? common[(i + 1) * wide + j + 1] + 1 : Math.max(common[(i + 1) * wide + j], common[i * wide + j + 1]);
    }
  }
  const start = old.slice(0, head).join(""), end = tail ? old.slice(-tail).join("") : "";
  const was = [["", start]], is = [["", start]];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add(was, "", a[i++]); add(is, "", b[j++]); }
    else if (j >= b.length || (i < a.length && common[(i + 1) * wide + j] >= common[i * wide + j + 1])) add(was, "del", a[i++]);
    else add(is, "ins", b[j++]);
  }
  add(was, "", end);
  add(is, "", end);
  return [was, is];
}

function add(pieces, kind, text) {
  const last = pieces[pieces.length - 1];
  if (last[0] === kind) last[1] += text; else pieces.push([kind, text]);
}

// One case in full

function pairs(rows) {
  return make("dl", { className: "pairs" }, ...rows.map(([name, text]) => make("div", {}, write(make("dt", { dir: "auto" }), name), make("dd", {}, textOf([["", text]])))));
}

function answerOf(title, turn, pieces) {
  if (!turn) return make("div", {}, make("h4", {}, title), make("p", {}, "This case was not run here."));
  const how = [turn.status, turn.reason, turn.rung && `rung ${turn.rung}`, time(turn.took), turn.first !== null && `first word ${time(turn.first)}`, money(turn.cost), turn.kept && "kept from an earlier evaluation"];
  const about = write(make("p", { className: "note", dir: "auto" }), how.filter(Boolean).join(" · "));
  return make("div", {}, make("h4", {}, title), about, textOf(pieces || [["", turn.shown]]), make("p", { className: "note" }, "Record ", write(make("code"), turn.record)));
}

function said(opinion) {
  if (!opinion) return make("td", {}, "–");
  const [, passed, value, reason] = opinion;
  const [kind, word] = passed === null ? ["unscored", "not told"] : passed ? ["passed", "✓ passed"] : ["failed", "✗ failed"];
  const cell = make("td", {}, make("span", { className: `chip ${kind}` }, word), value === null ? "" : ` ${value}`);
  if (reason) cell.append(make("div", {}, textOf([["", reason]])));
  return cell;
}

function opinions(turn, rival) {
  const of = (side, scorer) => side && side.opinions.find(([number]) => number === scorer);
  const heads = ["Scorer", data.compared ? "This release" : "Opinion", ...(data.compared ? ["Baseline"] : [])];
  const body = make("tbody");
  data.scorers.forEach((name, scorer) => {
    if (of(turn, scorer) || of(rival, scorer)) {
      body.append(make("tr", {}, write(make("th", { scope: "row", dir: "auto" }), name), said(of(turn, scorer)), data.compared ? said(of(rival, scorer)) : null));
    }
  });
  return make("table", { className: "opinions" }, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))), body);
}

function inFull(one) {
  const columns = [...byId("table").tHead.rows[0].cells].filter((cell) => cell.offsetWidth);  // a narrow screen shows fewer
  const inside = make("td", { colSpan: columns.length });
  const { input, expected, more, candidate, baseline } = whole(one);
  const { history = [], passages = [], notes, source, locale } = more;
  const told = [["Notes", notes], ["Where it comes from", source], ["Locale", locale], ["Must pass", one.must && "yes"]].filter(([, text]) => text);
  inside.append(make("h3", {}, "Input"), pairs([...history.map(([role, text]) => [`earlier, ${role}`, text]), ...input]));
  if (passages.length) inside.append(make("h3", {}, "Evidence that the case brings"), pairs(passages));
  if (expected.length) inside.append(make("h3", {}, "Expected"), pairs(expected));
  if (told.length) inside.append(make("h3", {}, "About the case"), pairs(told));
  const turns = Math.max(candidate.length, baseline.length, 1);
  for (let number = 0; number < turns; number++) {
    const title = data.compared ? "Answers" : "Answer";
    inside.append(make("h3", {}, turns > 1 ? `${title}, turn ${number + 1}` : title), ...answers(candidate[number], baseline[number]));
  }
  return make("tr", { className: "opened", id: `case-${one.at}` }, inside);
}

// Both answers of one turn side by side, what differs marked, and what the scorers say of them.
function answers(ours, theirs) {
  const compared = ours && theirs ? difference(theirs.shown, ours.shown) : [];
  const sides = make("div", { className: "sides" }, answerOf("This release", ours, compared?.[1]), data.compared ? answerOf("Baseline", theirs, compared?.[0]) : null);
  const long = compared ? [] : [make("p", { className: "note" }, "These answers are too long to be compared word by word.")];
  return [...long, sides, ...(ours || theirs ? [opinions(ours, theirs)] : [])];
}

// The table

function short(fields) {
  const text = fields.map(([, value]) => value).join(" · ").slice(0, 300).replace(/\s+/g, " ");
  return write(make("td", { dir: "auto" }), text);
}

function row(one) {
  const { input, candidate } = whole(one);
  const button = make("button", { type: "button", className: "link", "aria-expanded": "false", "aria-controls": `case-${one.at}` }, write(make("bdi"), one.id));
  const answer = short([["", candidate.length ? candidate[0].shown || candidate[0].reason : ""]]);
  answer.className = "roomy";
  const line = make("tr", {},
    make("th", { scope: "row", title: one.id }, button),
    make("td", {}, chip(one.candidate)),
    data.compared ? make("td", { className: "roomy" }, chip(one.baseline)) : null,
    short(input), answer,
    make("td", { className: "roomy" }, time(mean(candidate, "took"))),
    make("td", { className: "roomy" }, candidate.length ? money(mean(candidate, "cost")) : "–"));
  line.onclick = () => {
    if (String(getSelection())) return;  // somebody marks text to copy it
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) line.nextSibling.remove(); else line.after(inFull(one));
  };
  return line;
}

const whenRead = (then) => document.addEventListener("DOMContentLoaded", then, { once: true });

function render() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(Math.max(page, 0), pages - 1);
  const shown = found.slice(page * PAGE, (page + 1) * PAGE);
  if (!shown.every(here)) return whenRead(render);
  byId("rows").replaceChildren(...shown.map(row));
  const few = found.length === cases.length ? "" : ` of ${cases.length.toLocaleString("en")}`;
  const behind = finding === null ? "" : `, those behind finding ${finding + 1}`;
  byId("count").textContent = `${found.length.toLocaleString("en")}${few} case${cases.length === 1 ? "" : "s"}${behind}`;
  byId("where").textContent = `Page ${page + 1} of ${pages}`;
  byId("pages").hidden = pages < 2;
  for (const button of byId("pages").querySelectorAll("button")) {
    button.disabled = ["first", "back"].includes(button.dataset.go) ? page === 0 : page === pages - 1;
  }
}

function wordsOf(one) {
  if (one.words === null) {
    const { input, expected, more, candidate, baseline } = whole(one);
    const answers = [...candidate, ...baseline].flatMap((turn) => [turn.record, turn.status, turn.reason, turn.rung, turn.shown, ...turn.opinions.map((opinion) => opinion[3] || "")]);
    one.words = [one.id, more.notes, more.source, ...one.tags, ...input.flat(), ...expected.flat(), ...answers].join("\n").toLowerCase();
  }
  return one.words;
}

function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length && !cases.every(here)) return whenRead(filter);
  const chosen = choices[slice.selectedIndex];
  const order = finding === null ? null : new Map(data.findings[finding].map((id, at) => [id, at]));
  found = cases.filter((one) => {
    if (order && !order.has(one.id)) return false;
    if (chosen && one.tags[chosen.tag] !== chosen.value) return false;
    const [kind] = outcomeOf(one.candidate);
    if (outcome.value === "must" ? !one.must || kind !== "failed" : outcome.value && outcome.value !== kind) return false;
    if (change.value && changeOf(one) !== change.value) return false;
    return wanted.every((word) => wordsOf(one).includes(word));
  });
  if (order) found.sort((one, other) => order.get(one.id) - order.get(other.id));  // worst first, as the gate lists them
  page = 0;
  render();
}

function clear() {
  byId("filters").reset();
  finding = null;
}

function toCases() {
  filter();
  byId("cases").scrollIntoView();
  byId("cases").focus({ preventScroll: true });
}

function start() {
  data.slices.forEach((name, tag) => {
    const values = [...new Set(cases.map((one) => one.tags[tag]))].sort((a, b) => !a - !b || (a < b ? -1 : 1));
    for (const value of values.some(Boolean) ? values : []) {
      choices.push({ tag, value });
      slice.append(make("option", {}, `${name}=${value || data.none}`));
    }
  });
  byId("changed").hidden = !data.compared;
  let waiting;
  search.oninput = () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); };
  for (const select of [slice, outcome, change]) select.onchange = filter;
  byId("filters").onsubmit = (event) => { event.preventDefault(); filter(); };
  byId("clear").onclick = () => { clear(); filter(); };
  byId("pages").onclick = ({ target: { dataset: { go } } }) => {
    if (!go) return;
    page = { first: 0, back: page - 1, on: page + 1, last: Infinity }[go];
    render();
    byId("table").scrollIntoView({ block: "start" });
  };
  for (const button of document.querySelectorAll("[data-finding]")) {
    button.onclick = () => { clear(); finding = Number(button.dataset.finding); toCases(); };
  }
  for (const button of document.querySelectorAll("[data-slice]")) {
    button.onclick = () => {
      clear();
      slice.selectedIndex = Math.max(0, [...slice.options].findIndex((option) => option.textContent === button.dataset.slice));
      toCases();
    };
  }
  for (const id of ["filters", "table"]) byId(id).hidden = false;
  render();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));  // for the benchmark: milliseconds since the page began
}

start();
