// The page of the simulator: lists as a business user sees them, live, edited by hand as a named person.
// In: the control side (`/_sim/...`). Out: edits by `POST /_sim/edit`. Rule: text is written as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const GONE_MS = 4000;
const TYPES = ["text", "number", "currency", "boolean", "dateTime", "choice", "personOrGroup", "lookup", "hyperlinkOrPicture", "calculated"];
const shared = { lists: [], people: [], listKey: "" };

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(text, isBad) {
  $("note").textContent = text;
  $("note").className = isBad ? "bad" : "";
}

async function ask(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch("/_sim/" + path, body ? post : {});
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error || answer.status);
  return json;
}

// --- values ---------------------------------------------------------------------------------------------------------

const typeOf = (column) => TYPES.find((type) => column[type]) || "other";
const isReference = (column) => Boolean(column.lookup || column.personOrGroup);
const fieldOf = (column) => (isReference(column) ? column.name + "LookupId" : column.name);
const isNumber = (column) => Boolean(column.number || column.currency);
const isMulti = (column) =>
  (column.choice && column.choice.displayAs === "checkBoxes") ||
  (column.lookup && column.lookup.allowMultipleValues) ||
  (column.personOrGroup && column.personOrGroup.allowMultipleSelection);

/** The same colour for the same text, everywhere and always. */
function hueOf(text) {
  let sum = 0;
  for (const char of text) sum = (sum * 31 + char.codePointAt(0)) % 360;
  return sum;
}

function pill(text) {
  const made = element("span", text, "pill");
  made.style.setProperty("--hue", hueOf(text));
  return made;
}

function person(name) {
  const made = element("span", null, "person");
  const initials = name.split(/\s+/).map((part) => part[0]).join("").slice(0, 2).toUpperCase();
  made.style.setProperty("--hue", hueOf(name));
  made.append(element("b", initials), element("span", name));
  return made;
}

function dateText(column, value) {
  const moment = new Date(value);
  if (column.dateTime.format === "dateOnly") return moment.toLocaleDateString(undefined, { timeZone: "UTC" });
  return moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** What a cell shows, as nodes. */
function shown(column, row) {
  const value = row.fields[fieldOf(column)];
  if (value === undefined || value === null) return [];
  const values = Array.isArray(value) ? value : [value];
  const label = (number) => (row.labels[fieldOf(column)] || {})[number] || `#${number}`;
  switch (typeOf(column)) {
    case "choice": return values.map(pill);
    case "personOrGroup": return values.map((number) => person(label(number)));
    case "lookup": return [values.map(label).join("; ")];
    case "boolean": return [value ? "Yes" : "No"];
    case "number": return [column.number.displayAs === "percentage" ? `${value * 100} %` : value.toLocaleString()];
    case "currency": return [value.toLocaleString(undefined, { minimumFractionDigits: 2 })];
    case "dateTime": return [dateText(column, value)];
    case "hyperlinkOrPicture": return [value.Description || value.Url];
    default: return [column.text && column.text.textType === "richText" ? String(value).replace(/<[^>]*>/g, "") : String(value)];
  }
}

/** The text in which a value is edited. */
function editable(value) {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.join("; ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function toFields(column, text) {
  const name = fieldOf(column);
  if (text === "") return { [name]: null };
  if (isMulti(column)) {
    const parts = text.split(";").map((part) => part.trim()).filter(Boolean);
    return column.choice
      ? { [name + "@odata.type"]: "Collection(Edm.String)", [name]: parts }
      : { [name + "@odata.type"]: "Collection(Edm.Int32)", [name]: parts.map(Number) };
  }
  if (isNumber(column)) {
    if (Number.isNaN(Number(text))) throw new Error(`${column.displayName} is a number`);
    return { [name]: Number(text) };
  }
  return { [name]: column.boolean ? text === "true" : text };
}

function options(column) {
  if (column.boolean) return [["true", "Yes"], ["false", "No"]];
  if (column.choice && !isMulti(column) && !column.choice.allowTextEntry) return column.choice.choices.map((one) => [one, one]);
  if (column.personOrGroup && !isMulti(column)) return shared.people.map((one) => [String(one.id), one.name]);
  return null;
}

function input(column, value) {
  const chosen = options(column);
  const field = element(chosen ? "select" : column.text && column.text.allowMultipleLines ? "textarea" : "input");
  for (const [key, label] of chosen ? [["", ""], ...chosen] : []) {
    const option = element("option", label);
    option.value = key;
    field.append(option);
  }
  field.value = editable(value);
  field.setAttribute("aria-label", column.displayName);
  return field;
}

const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
function ago(text, now) {
  const seconds = now - Date.parse(text) / 1000;
  const [unit, size] = UNITS.find(([, least]) => seconds >= least) || ["second", 1];
  return seconds < 5 ? "just now" : relative.format(-Math.floor(seconds / size), unit);
}

// --- a panel: one list ----------------------------------------------------------------------------------------------

class Panel {
  constructor(place) {
    this.place = place;
    this.root = $("panel").content.firstElementChild.cloneNode(true);
    this.list = null;
    this.seen = new Map();
    this.rows = new Map();
    this.drawn = "";
    this.isEditing = false;
    this.part(".list").addEventListener("change", () => {
      localStorage.setItem("list" + this.place, this.part(".list").value);
      this.choose();
    });
    this.part(".order").addEventListener("change", () => this.forget());
    this.part(".find").addEventListener("input", () => this.forget());
    this.part(".add").addEventListener("click", () => this.addRow());
    this.part("tbody").addEventListener("keydown", (event) => this.onKey(event));
  }

  part(selector) { return this.root.querySelector(selector); }

  forget() {
    this.seen = new Map();
    this.drawn = "";
    this.refresh();
  }

  fillLists() {
    const select = this.part(".list");
    const before = select.value || localStorage.getItem("list" + this.place);
    select.replaceChildren(...shared.lists.map((list) => {
      const option = element("option", list.displayName);
      option.value = list.id;
      option.title = list.site;
      return option;
    }));
    const other = shared.lists[Math.min(this.place, shared.lists.length - 1)];
    select.value = shared.lists.some((list) => list.id === before) ? before : (other || {}).id;
  }

  choose() {
    const list = shared.lists.find((one) => one.id === this.part(".list").value) || null;
    if ((list && list.id) !== (this.list && this.list.id)) {
      this.list = list;
      this.forget();
    }
    this.list = list;
  }

  columns() { return this.list.columns.filter((column) => $("hidden").checked || !column.hidden); }

  async refresh() {
    if (!this.list) return this.showEmpty("There are no lists yet: make one through the API.");
    const find = this.part(".find").value;
    const query = `list=${this.list.id}&top=200&order=${this.part(".order").value}&find=${encodeURIComponent(find)}`;
    const key = query + this.list.position + $("hidden").checked + this.list.columns.length;
    if (this.isEditing || key === this.drawn) return this.tellTimes();
    const table = await ask("table?" + query);
    if (this.isEditing) return;
    this.drawn = key;
    this.draw(table);
  }

  showEmpty(text) {
    this.part("tbody").replaceChildren();
    this.part("thead").replaceChildren();
    this.part(".empty").hidden = false;
    this.part(".empty").textContent = text;
  }

  draw(table) {
    this.now = table.now;
    this.drawHead();
    const focused = document.activeElement && this.root.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && focused.closest("tr") ? [focused.closest("tr").dataset.id, focused.dataset.field] : null;
    const isKnown = this.seen.size > 0;
    const rows = table.rows.map((row) => this.row(row, isKnown && this.seen.get(row.id) !== row.version));
    const ids = new Set(table.rows.map((row) => row.id));
    const gone = isKnown ? this.takeGone(ids) : [];
    this.seen = new Map(table.rows.map((row) => [row.id, row.version]));
    this.rows = new Map(table.rows.map((row) => [row.id, row]));
    this.part("tbody").replaceChildren(...gone, ...rows);
    this.part(".empty").hidden = rows.length > 0;
    this.part(".empty").textContent = this.part(".find").value ? "No item holds that." : "This list has no items yet.";
    const part = rows.length < table.items ? `, ${rows.length} shown` : "";
    this.part(".count").textContent = `${table.items.toLocaleString("en")} items${part}`;
    if (place) this.focusCell(place[0], place[1]);
    this.tellTimes();
  }

  drawHead() {
    const head = element("tr");
    for (const column of this.columns()) {
      const cell = element("th", column.displayName, isNumber(column) ? "number" : "");
      cell.title = `${column.name}, ${typeOf(column)}${column.enforceUniqueValues ? ", unique" : column.indexed ? ", indexed" : ""}`;
      head.append(cell);
    }
    for (const text of ["Modified", "Modified by", ""]) head.append(element("th", text));
    this.part("thead").replaceChildren(head);
  }

  /** Items that have left the list stay for a moment, so that a move or a deletion can be seen. */
  takeGone(ids) {
    const gone = [...this.part("tbody").children].filter((row) => row.dataset.id && !ids.has(row.dataset.id));
    if (this.part(".find").value) return [];
    return gone.filter((row) => {
      if (!row.dataset.gone) {
        row.dataset.gone = String(Date.now());
        row.className = "gone";
        row.inert = true;
        setTimeout(() => row.remove(), GONE_MS);
      }
      return Date.now() - Number(row.dataset.gone) < GONE_MS;
    });
  }

  row(row, isFresh) {
    const made = element("tr", null, isFresh ? "fresh" : "");
    made.dataset.id = row.id;
    for (const column of this.columns()) {
      const cell = element("td", null, isNumber(column) ? "number" : "");
      cell.append(...shown(column, row));
      cell.dataset.field = column.name;
      cell.dataset.label = column.displayName;
      cell.tabIndex = -1;
      cell.addEventListener("click", () => this.edit(cell, column, row));
      made.append(cell);
    }
    made.firstElementChild.tabIndex = 0;
    const when = element("td", null, "meta when");
    when.dataset.at = row.lastModifiedDateTime;
    when.title = `${new Date(row.lastModifiedDateTime).toLocaleString()}, version ${row.version}`;
    when.dataset.label = "Modified";
    const by = element("td", null, "meta");
    by.dataset.label = "Modified by";
    by.append(row.lastModifiedByApp ? element("span", row.lastModifiedBy, "app") : person(row.lastModifiedBy));
    const last = element("td");
    last.dataset.label = "";
    const remove = element("button", "Delete");
    remove.type = "button";
    remove.tabIndex = -1;
    remove.addEventListener("click", () => this.remove(row));
    last.append(remove);
    made.append(when, by, last);
    return made;
  }

  tellTimes() {
    const now = Math.max(shared.now || 0, this.now || 0);
    for (const cell of this.root.querySelectorAll(".when")) cell.textContent = ago(cell.dataset.at, now);
  }

  change(body) { return ask("edit", { list: this.list.id, user: $("user").value || "Pat Person", ...body }); }

  async remove(row) {
    try {
      await this.change({ item_id: row.id, delete: true });
      say(`Item ${row.id} of ${this.list.displayName} is deleted.`);
    } catch (error) { say(error.message, true); }
    tick();
  }

  edit(cell, column, row) {
    if (this.isEditing || column.readOnly) return;
    this.isEditing = true;
    const before = editable(row.fields[fieldOf(column)]);
    const field = input(column, row.fields[fieldOf(column)]);
    cell.replaceChildren(field);
    field.focus();
    let isOver = false;
    const end = async (keep, returns) => {
      if (isOver) return;
      isOver = true;
      this.isEditing = false;
      cell.replaceChildren(...shown(column, row));
      if (returns) cell.focus();
      if (keep && field.value !== before) {
        try {
          await this.change({ item_id: row.id, fields: toFields(column, field.value), if_version: row.version });
          say(`${column.displayName} of item ${row.id} is kept.`);
        } catch (error) { say(error.message, true); }
      }
      this.drawn = "";
      tick();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") end(false, true);
      if (event.key === "Enter" && field.tagName !== "TEXTAREA") { event.preventDefault(); end(true, true); }
    });
    field.addEventListener("blur", () => end(true, false));
  }

  focusCell(id, field) {
    const row = this.part(`tr[data-id="${id}"]:not(.gone)`);
    const cell = row && (row.querySelector(`td[data-field="${CSS.escape(field || "")}"]`) || row.firstElementChild);
    if (cell) cell.focus();
  }

  onKey(event) {
    const cell = event.target.closest("td");
    const row = cell && cell.parentElement;
    if (!row || !row.dataset.id || event.target !== cell) return;
    const at = [...row.children].indexOf(cell);
    const beside = { ArrowUp: row.previousElementSibling, ArrowDown: row.nextElementSibling }[event.key];
    const next = { ArrowLeft: cell.previousElementSibling, ArrowRight: cell.nextElementSibling }[event.key];
    const target = beside ? beside.children[at] : next;
    if (target && target.hasAttribute("tabindex")) {
      event.preventDefault();
      target.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      cell.click();
    } else if (event.key === "Delete" && this.rows.has(row.dataset.id)) {
      this.remove(this.rows.get(row.dataset.id));
    }
  }

  addRow() {
    if (!this.list || this.isEditing) return;
    this.isEditing = true;
    const draft = element("tr", null, "draft");
    draft.id = "draft";
    const fields = this.columns().map((column) => {
      const cell = element("td"), field = input(column);
      cell.dataset.label = column.displayName;
      cell.append(field);
      draft.append(cell);
      return [column, field];
    });
    const end = () => { this.isEditing = false; this.drawn = ""; tick(); };
    const keep = async () => {
      try {
        const given = fields.filter(([, field]) => field.value !== "").map(([column, field]) => toFields(column, field.value));
        const made = await this.change({ fields: Object.assign({}, ...given) });
        say(`Item ${made.id} is added to ${this.list.displayName}.`);
        end();
      } catch (error) { say(error.message, true); }
    };
    const cell = element("td"), actions = element("div", null, "actions");
    const save = element("button", "Save"), leave = element("button", "Cancel");
    save.type = leave.type = "button";
    save.addEventListener("click", keep);
    leave.addEventListener("click", end);
    draft.addEventListener("keydown", (event) => {
      if (event.key === "Escape") end();
      if (event.key === "Enter" && event.target.tagName === "INPUT") { event.preventDefault(); keep(); }
    });
    actions.append(save, leave);
    cell.colSpan = 3;
    cell.append(actions);
    draft.append(cell);
    this.part("tbody").prepend(draft);
    this.part(".empty").hidden = true;
    if (fields.length) fields[0][1].focus();
  }
}

// --- the page -------------------------------------------------------------------------------------------------------

const panels = [new Panel(0), new Panel(1)];

function arrange() {
  const isTwo = $("two").checked;
  $("panels").className = isTwo ? "two" : "";
  $("panels").replaceChildren(...panels.slice(0, isTwo ? 2 : 1).map((panel) => panel.root));
}

async function tick() {
  try {
    const [lists, people, stats] = await Promise.all([ask("lists"), ask("people"), ask("stats?keys=0")]);
    shared.lists = lists.lists;
    shared.people = people.people;
    shared.now = stats.now;
    const key = JSON.stringify(shared.lists.map((list) => [list.id, list.displayName]));
    if (key !== shared.listKey) panels.forEach((panel) => panel.fillLists());
    shared.listKey = key;
    const used = stats.ru.used.toLocaleString("en"), throttled = stats.throttled.toLocaleString("en");
    $("figures").textContent = `${used} resource units used, ${throttled} calls throttled`;
    for (const panel of panels.slice(0, $("two").checked ? 2 : 1)) {
      panel.choose();
      await panel.refresh();
    }
  } catch (error) { say("The simulator does not answer: " + error.message, true); }
}

for (const [id, fallback] of [["two", ""], ["hidden", ""]]) {
  $(id).checked = Boolean(localStorage.getItem(id) || fallback);
  $(id).addEventListener("change", () => {
    localStorage.setItem(id, $(id).checked ? "1" : "");
    arrange();
    tick();
  });
}
$("user").value = localStorage.getItem("user") || "Pat Person";
$("user").addEventListener("change", () => localStorage.setItem("user", $("user").value));
arrange();
tick();
setInterval(tick, 1000);
