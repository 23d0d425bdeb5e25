// Draws the charts, and redraws everything when the reader selects a range, a day or a content item. Makes no requests.
// Seconds are integers, data.units to a second, so that sums are exact. Days are counted from data.first.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const DASH = "–";
  const DAY_MS = 86_400_000;
  const HOUR_S = 3600;
  const WEEK = 7;
  const TREND_HEIGHT = 100;
  const LINES = 20;
  const TYPES = Object.keys(data.there);

  // Days. Always in UTC: no reader's time zone shifts them.
  const first = Date.parse(data.first);
  const indexOf = (iso) => Math.round((Date.parse(iso) - first) / DAY_MS);
  const moment = (index) => new Date(first + index * DAY_MS);
  const iso = (index) => moment(index).toISOString().slice(0, 10);
  const named = (index, options) => moment(index).toLocaleDateString("en-US", { timeZone: "UTC", ...options });
  const range = (from, to) => Array.from({ length: to - from + 1 }, (_, offset) => from + offset);
  const START = indexOf(data.start);
  const END = indexOf(data.end);

  // What is summed: everything, or one content item. Each has seconds(kind, day) and anonymous(day).
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const KINDS = data.kinds.map((_, kind) => kind);
  const everything = {
    since: 0,
    seconds: (kind, day) => data.seconds[kind][day] ?? 0,
    anonymous: (day) => data.anonymous[day] ?? 0,
  };
  const contents = data.top.map((content, place) => {
    const at = ([begins, values] = [0, []], day) => values[day - begins] ?? 0;
    return {
      place,
      id: content.id,
      title: content.title,
      since: data.contentsSince,
      seconds: (kind, day) => at(content.kinds[kind], day),
      anonymous: (day) => at(content.anonymous, day),
    };
  });
  const isThere = (type, day) => data.there[type][day] === 1;
  const missing = (day) => TYPES.filter((type) => !isThere(type, day));
  const isBare = (day) => missing(day).length === TYPES.length;
  const isUncounted = (day) => data.viewers[day] === null && !isBare(day);
  const secondsOfType = (what, type, day) =>
    sum(KINDS.filter((kind) => data.kinds[kind].report === type).map((kind) => what.seconds(kind, day)));
  const secondsOfDay = (what, day) => sum(KINDS.map((kind) => what.seconds(kind, day)));
  const secondsOf = (what, days) => sum(days.map((day) => secondsOfDay(what, day)));
  const anonymousOf = (what, days) => sum(days.map((day) => what.anonymous(day)));

  // Compared with so many days before, using only reports that both periods have.
  const compare = (what, days, daysBack) => {
    let now = 0;
    let before = 0;
    let leftOut = 0;
    for (const day of days) {
      for (const type of TYPES) {
        const then = day - daysBack;
        if (isThere(type, day) && then >= what.since && isThere(type, then)) {
          now += secondsOfType(what, type, day);
          before += secondsOfType(what, type, then);
        } else {
          leftOut += 1;
        }
      }
    }
    return { percent: before ? 100 * (now / before - 1) : null, leftOut };
  };

  // Texts, the same as on the page without this script.
  const count = (number) => number.toLocaleString("en-US");
  const hours = (units, places) => {
    const power = 10 ** places;
    const rounded = Math.round((units * power) / (data.units * HOUR_S)) / power;
    return rounded.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  };
  const share = (units, total) => (total ? `${((100 * units) / total).toFixed(1)}%` : DASH);
  const signed = (percent) => `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(1)}%`;
  const changed = ({ percent, leftOut }, than) => {
    if (percent === null) return `no report from ${than} to compare with`;
    const reports = `${count(leftOut)} ${leftOut === 1 ? "report" : "reports"}`;
    return `${signed(percent)} from ${than}${leftOut ? `; like for like, ${reports} left out` : ""}`;
  };
  const percentOf = ({ percent, leftOut }) => (percent === null || leftOut ? DASH : signed(percent));
  const daysBefore = (days) => (days.length === 1 ? "the day before" : `the ${days.length} days before`);
  // In units, as a decimal number of seconds.
  const exact = (units) => {
    const digits = String(data.units).length - 1;
    const text = String(units).padStart(digits + 1, "0");
    return digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}`.replace(/\.?0+$/, "") : text;
  };

  const state = { from: START, to: END, day: null, content: null, by: "kind", sort: "place", descending: false, text: "", isLong: false };
  const shownDays = () => range(state.from, state.to);
  const pickedDays = () => (state.day === null ? shownDays() : [state.day]);
  const picked = () => (state.content === null ? everything : contents[state.content]);
  const inPicked = (begins, ends = begins) => {
    const days = pickedDays();
    return begins <= days.at(-1) && ends >= days[0];
  };

  function pick(change) {
    Object.assign(state, change);
    if (state.day !== null && (state.day < state.from || state.day > state.to)) state.day = null;
    update();
  }
  const pickDay = (day) => pick({ day: state.day === day ? null : day });
  const pickContent = (content) => pick({ content: state.content === content ? null : content });
  const showAll = () => pick({ from: START, to: END, day: null, content: null });

  // Elements.
  function element(name, attributes = {}, ...children) {
    const svg = ["svg", "g", "rect", "path", "line", "text", "circle"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }
  const button = (text, onclick, attributes = {}) => element("button", { type: "button", onclick, ...attributes }, text);

  // Charts: bars and a line over the same days.
  const MARGIN = { left: 52, right: 6, top: 22, bottom: 24 };
  const tip = byId("tip");

  function ticks(most) {
    const rough = (most || 1) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    return range(0, Math.max(1, Math.ceil((most || 1) / step - 1e-9))).map((number) => number * step);
  }

  function namedDays(days) {
    if (days.length <= 10) return days;
    if (days.length <= 70) return days.filter((day) => moment(day).getUTCDay() === 1);
    return days.filter((day) => moment(day).getUTCDate() === 1);
  }

  function drawChart(place, height, unit, most, drawMarks, tellDay) {
    const days = shownDays();
    const width = Math.max(place.clientWidth, 240);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const steps = ticks(most);
    const band = inner.width / days.length;
    const x = (day) => MARGIN.left + (day - state.from) * band;
    const y = (value) => MARGIN.top + inner.height * (1 - value / steps.at(-1));
    const chart = element("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", "aria-hidden": "true" });
    chart.append(element("text", { class: "axis unit", x: 0, y: 10 }, unit));
    for (const step of steps) {
      chart.append(
        element("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(step), y2: y(step) }),
        element("text", { class: "axis number-axis", x: MARGIN.left - 8, y: y(step) + 4 },
          step.toLocaleString("en-US", { maximumSignificantDigits: 4 })),
      );
    }
    for (const day of days.filter((one) => missing(one).length)) {
      chart.append(element("rect", { class: "gap", "data-date": iso(day), x: x(day), y: MARGIN.top, width: band, height: inner.height }));
      if (day === state.from || !missing(day - 1).length) {
        chart.append(element("text", { class: "unknown", x: x(day) + band / 2, y: MARGIN.top + 13 }, "?"));
      }
    }
    drawMarks(chart, { days, band, x, y });
    let last = -Infinity;
    for (const day of namedDays(days)) {
      const middle = x(day) + band / 2;
      const isNarrow = middle - last < 48;
      if (!isNarrow) chart.append(element("text", { class: "axis day-axis", x: middle, y: height - 6 }, `${moment(day).getUTCDate()} ${named(day, { month: "short" })}`));
      if (!isNarrow) last = middle;
    }
    // Each day is clickable over its whole height: a low bar would be hard to hit.
    for (const day of days) {
      const area = element("rect", { class: "hit", "data-date": iso(day), x: x(day), y: MARGIN.top, width: band, height: inner.height + MARGIN.bottom });
      area.addEventListener("click", () => pickDay(day));
      area.addEventListener("pointermove", (event) => showTip(event, [`${named(day, { weekday: "short" })} ${iso(day)}`, ...tellDay(day)]));
      area.addEventListener("pointerleave", () => { tip.hidden = true; });
      chart.append(area);
    }
    place.replaceChildren(chart);
  }

  function showTip(event, lines) {
    tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 4))}px`;
    tip.style.top = `${Math.max(4, event.clientY - height - 12)}px`;
  }

  const isPale = (day) => state.day !== null && state.day !== day;
  const classOf = (name, day) => `${name}${data.provisional[day] ? " provisional" : ""}${isPale(day) ? " pale-day" : ""}`;

  // From the bottom up: label, colour, and seconds of a day.
  function series() {
    const what = picked();
    if (state.by === "who") {
      return [
        { label: "identified", colour: "viewers", of: (day) => secondsOfDay(what, day) - what.anonymous(day) },
        { label: "anonymous", colour: "never-tried", of: (day) => what.anonymous(day) },
      ];
    }
    return KINDS.map((kind) => ({ ...data.kinds[kind], of: (day) => what.seconds(kind, day) }));
  }

  const notes = (day) => [
    ...missing(day).map((type) => `${type} is missing`),
    ...(data.provisional[day] ? ["may be restated"] : []),
  ];

  function drawWatchTime() {
    const parts = series();
    const what = picked();
    const inHours = (units) => units / data.units / HOUR_S;
    const most = Math.max(...shownDays().map((day) => inHours(secondsOfDay(what, day))));
    drawChart(byId("chart-watch-time"), 250, "hours", most, (chart, { days, band, x, y }) => {
      for (const day of days.filter((one) => !isBare(one))) {
        let below = 0;
        for (const part of parts.filter((one) => !one.report || isThere(one.report, day))) {
          const above = below + inHours(part.of(day));
          chart.append(element("rect", {
            class: classOf("bar-part", day), "data-date": iso(day), "data-of": part.label, style: `fill: var(--${part.colour})`,
            x: x(day) + band * 0.09, y: y(above), width: band * 0.82, height: y(below) - y(above),
          }));
          below = above;
        }
      }
    }, (day) => [
      ...parts.filter((one) => !one.report || isThere(one.report, day)).map((part) => `${part.label}: ${hours(part.of(day), 1)} h`),
      ...notes(day),
    ]);
    byId("legend").replaceChildren(...parts.map((part) =>
      element("li", {}, element("span", { class: "patch", style: `background: var(--${part.colour})` }), ` ${part.label}`)));
  }

  function drawViewers() {
    const viewers = (day) => data.viewers[day];
    const most = Math.max(...shownDays().map((day) => viewers(day) ?? 0));
    drawChart(byId("chart-viewers"), 215, "viewers", most, (chart, { days, band, x, y }) => {
      let path = "";
      let draws = false;
      const known = days.filter((day) => viewers(day) !== null);
      for (const day of days) {
        if (viewers(day) === null) {
          draws = false;
        } else {
          path += `${draws ? "L" : "M"}${x(day) + band / 2} ${y(viewers(day))}`;
          draws = true;
        }
      }
      chart.append(element("path", { class: "line", d: path }));
      for (const day of known) {
        chart.append(element("circle", {
          class: `point${missing(day).length ? " partial" : ""}${isPale(day) ? " pale-day" : ""}`,
          "data-date": iso(day), cx: x(day) + band / 2, cy: y(viewers(day)), r: Math.max(1.5, Math.min(3.5, band / 4)),
        }));
      }
    }, (day) => [isUncounted(day) ? "not yet counted" : isBare(day) ? "no report" : `${count(viewers(day))} viewers`, ...notes(day)]);
  }

  // Tiles.
  const dated = (text) =>
    text.split(/(\d{4}-\d\d-\d\d)/).map((part, place) => (place % 2 ? element("span", { class: "date" }, part) : part));

  function tell(id, value, ...small) {
    byId(id).querySelector("dd").replaceChildren(value, ...small.map((text) => element("small", {}, ...dated(text))));
  }

  function updateTiles() {
    const what = picked();
    const days = pickedDays();
    const total = secondsOf(what, days);
    tell("watched", `${hours(total, 0)} h`, changed(compare(what, days, days.length), daysBefore(days)));
    const full = days.findLast((day) => !missing(day).length);
    if (full === undefined) tell("newest", DASH, "no day has both reports");
    else {
      tell("newest", `${hours(secondsOfDay(what, full), 0)} h`, `${iso(full)}; ${changed(compare(what, [full], WEEK), "a week before")}`);
    }
    const busiest = days.reduce((best, day) => ((data.viewers[day] ?? 0) > (data.viewers[best] ?? 0) ? day : best), days[0]);
    if (state.content !== null) tell("viewers", DASH, "counted only across all content");
    else if (data.viewers[busiest]) tell("viewers", count(data.viewers[busiest]), `identified viewers on ${iso(busiest)}`);
    else tell("viewers", DASH, days.some(isUncounted) ? "not yet counted" : "no identified viewers");
    const anonymous = anonymousOf(what, days);
    tell("anonymous", share(anonymous, total), `${hours(anonymous, 0)} h of watch time`);
    const slices = days.length * TYPES.length;
    const late = data.late.filter(([day]) => inPicked(indexOf(day))).length;
    const before = byId("reports").querySelector("a")?.parentElement;
    tell("reports", `${count(slices - sum(days.map((day) => missing(day).length)))} of ${count(slices)}`,
      late ? `${count(late)} late` : "none late");
    if (before) byId("reports").querySelector("dd").append(before);
    const restated = all("#restated tbody tr:not(.part)").filter((row) => isRowPicked(row)).length;
    const held = all("#calendar .sign.held").filter((sign) => inPicked(indexOf(sign.closest("td").dataset.date))).length;
    tell("changes", `${count(restated)} ${restated === 1 ? "time" : "times"}`, held ? `${count(held)} held, awaiting review` : "none held");
  }

  // Tables. Cells after the first follow the order of the head.
  function fill(row, texts) {
    texts.forEach((text, place) => { row.cells[place + 1].textContent = text; });
  }

  const dayCells = (what, day) => [
    ...KINDS.map((kind) => (isThere(data.kinds[kind].report, day) ? hours(what.seconds(kind, day), 2) : DASH)),
    isBare(day) ? DASH : hours(secondsOfDay(what, day), 2),
    percentOf(compare(what, [day], WEEK)),
    share(what.anonymous(day), secondsOfDay(what, day)),
    state.content !== null ? DASH : isUncounted(day) ? "not yet counted" : data.viewers[day] === null ? DASH : count(data.viewers[day]),
  ];

  function updateDays() {
    const what = picked();
    for (const row of all("#days tbody tr")) {
      const day = indexOf(row.dataset.date);
      row.hidden = day < state.from || day > state.to;
      row.classList.toggle("picked", day === state.day);
      row.querySelector("button").setAttribute("aria-pressed", day === state.day);
      fill(row, dayCells(what, day));
    }
    for (const cell of all("#calendar td[data-date]")) {
      const day = indexOf(cell.dataset.date);
      cell.classList.toggle("outside", !inPicked(day));
      cell.classList.toggle("picked", day === state.day);
      cell.querySelector("button").setAttribute("aria-pressed", day === state.day);
    }
  }

  function contentLines() {
    const days = pickedDays();
    const total = secondsOf(everything, days);
    const lines = contents
      .map((content) => ({
        content,
        title: content.title,
        total: secondsOf(content, days),
        anonymous: anonymousOf(content, days),
        change: compare(content, days, days.length),
      }))
      .sort((one, other) => other.total - one.total || one.content.place - other.content.place);
    lines.forEach((line, place) => {
      line.place = place + 1;
      line.share = share(line.total, total);
    });
    const key = {
      title: (line) => line.title,
      total: (line) => line.total,
      share: (line) => line.total,
      change: (line) => line.change.percent ?? -Infinity,
      anonymous: (line) => (line.total ? line.anonymous / line.total : -1),
      place: (line) => line.place,
    }[state.sort];
    const order = (one, other) => (typeof one === "string" ? one.localeCompare(other) : one - other);
    lines.sort((one, other) => (order(key(one), key(other)) || one.place - other.place) * (state.descending ? -1 : 1));
    const text = state.text.trim().toLowerCase();
    const isFound = ({ content }) => `${content.title}\n${content.id}`.toLowerCase().includes(text);
    // Content without watch time gets no row; the selected item stays, so that it can be deselected.
    const isShown = (line) => isFound(line) && (line.total > 0 || line.content.place === state.content);
    const found = lines.filter(isShown);
    const shown = found.filter((line, place) => state.isLong || place < LINES || line.content.place === state.content);
    return { lines, found, shown, total };
  }

  function trend(content) {
    const days = shownDays();
    const most = Math.max(...days.map((day) => secondsOfDay(content, day))) || 1;
    let path = "";
    let draws = false;
    days.forEach((day, place) => {
      if (isBare(day)) {
        draws = false;
        return;
      }
      const height = (TREND_HEIGHT - (TREND_HEIGHT * secondsOfDay(content, day)) / most).toFixed(0);
      path += `${draws ? "L" : "M"}${place} ${height}${draws ? "" : "h0"}`;
      draws = true;
    });
    return path;
  }

  function updateTop() {
    const table = byId("top");
    if (!table) return;
    const { lines, found, shown, total } = contentLines();
    const rows = new Map(all("tbody tr", table).map((row) => [Number(row.dataset.content), row]));
    const most = Math.max(...lines.map((line) => line.total)) || 1;
    const width = Math.max(state.to - state.from, 1);
    for (const line of lines) {
      const row = rows.get(line.content.place);
      row.hidden = !shown.includes(line);
      row.classList.toggle("picked", line.content.place === state.content);
      row.querySelector("button").setAttribute("aria-pressed", line.content.place === state.content);
      row.cells[0].textContent = line.place;
      row.querySelector(".value").textContent = hours(line.total, 1);
      row.querySelector(".bar").style.width = `${((100 * line.total) / most).toFixed(1)}%`;
      row.cells[3].textContent = line.share;
      row.cells[4].textContent = percentOf({ ...line.change, leftOut: 0 });
      row.cells[5].textContent = share(line.anonymous, line.total);
      row.querySelector("svg").setAttribute("viewBox", `0 0 ${width} ${TREND_HEIGHT}`);
      row.querySelector("path").setAttribute("d", trend(line.content));
    }
    table.tBodies[0].append(...lines.map((line) => rows.get(line.content.place)));
    const others = total - sum(lines.map((line) => line.total));
    table.tFoot.rows[0].cells[2].textContent = hours(others, 1);
    table.tFoot.rows[0].cells[3].textContent = share(others, total);
    for (const head of all("th[data-sort]", table)) {
      const isSorted = head.dataset.sort === state.sort;
      head.setAttribute("aria-sort", isSorted ? (state.descending ? "descending" : "ascending") : "none");
    }
    byId("found").textContent = state.text.trim() ? `${count(found.length)} found` : "";
    byId("more").hidden = found.length <= LINES;
    byId("more").textContent = state.isLong ? `Show only ${LINES}` : `Show all ${found.length}`;
  }

  const isRowPicked = (row) => inPicked(indexOf(row.dataset.first), indexOf(row.dataset.last));

  function updateRows() {
    for (const table of all("#open, #restated")) {
      const rows = all("tbody tr[data-first]", table);
      for (const row of rows) row.hidden = !isRowPicked(row);
      const none = table.querySelector("tr.none");
      none.hidden = rows.some((row) => !row.hidden);
    }
  }

  function updatePicked() {
    byId("from").value = iso(state.from);
    byId("to").value = iso(state.to);
    const chips = [];
    if (state.day !== null) chips.push(chip(iso(state.day), () => pick({ day: null })));
    if (state.content !== null) chips.push(chip(contents[state.content].title, () => pick({ content: null })));
    const isAll = !chips.length && state.from === START && state.to === END;
    if (!isAll) chips.push(button("Show everything", showAll, { class: "all" }));
    byId("picked").replaceChildren(...chips);
    const isAllDays = state.day === null && state.from === START && state.to === END;
    const what = [state.day === null ? `${iso(state.from)} to ${iso(state.to)}` : iso(state.day)];
    if (state.content !== null) what.push(contents[state.content].title);
    byId("told").textContent = `Shown: ${what.join(", ")}`;
    for (const of of all("h2 .of")) {
      const [part] = of.closest("section").querySelector("#top") ? (isAllDays ? [] : what) : what.slice(1);
      of.replaceChildren(...(part ? [": ", element("bdi", {}, part)] : []));
    }
  }
  const chip = (text, onclick) =>
    button(element("bdi", {}, text), onclick, { class: "chip", "aria-label": `Remove filter: ${text}` });

  // Rows are moved and chips replaced: keep the keyboard focus where it was.
  function update() {
    const focused = document.activeElement;
    draw();
    if (focused === document.activeElement || focused === document.body) return;
    (focused.isConnected ? focused : byId("from")).focus({ preventScroll: true });
  }

  function draw() {
    if (byId("chart-watch-time")) {
      drawWatchTime();
      drawViewers();
    }
    updateDays();
    updateTop();
    updateRows();
    updateTiles();
    updatePicked();
  }

  // CSV: the tables as shown, with exact figures. Escaped so that Excel reads no text as a formula, and reads UTF-8.
  function download(name, lines) {
    const cell = (value) => {
      const isText = typeof value === "string" && !/^[+-]?[\d.]+$/.test(value);
      const text = isText && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const text = `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    element("a", { href: url, download: `watch-time-${name}-${iso(state.from)}-${iso(state.to)}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
  const textOf = (node) => node.textContent.replace(/\s+/g, " ").trim();
  const asShown = (table) =>
    all("thead tr, tbody tr:not([hidden]):not(.none)", table).map((row) => [...row.cells].map(textOf));
  const csv = {
    days: () => {
      const what = picked();
      const labels = data.kinds.map(({ label }) => `${label.toLowerCase().replaceAll(" ", "_")}_seconds`);
      return [
        ["date", ...labels, "total_seconds", "anonymous_seconds", "viewers"],
        ...pickedDays().map((day) => [
          iso(day),
          ...KINDS.map((kind) => (isThere(data.kinds[kind].report, day) ? exact(what.seconds(kind, day)) : "")),
          isBare(day) ? "" : exact(secondsOfDay(what, day)),
          isBare(day) ? "" : exact(what.anonymous(day)),
          state.content === null ? data.viewers[day] : "",
        ]),
      ];
    },
    top: () => [
      ["place", "title", "content_id", "watch_seconds", "anonymous_seconds", "share_percent", "change_percent"],
      ...contentLines().found.map((line) => [
        line.place, line.title, line.content.id, exact(line.total), exact(line.anonymous),
        line.share.replace("%", "").replace(DASH, ""), line.change.percent === null ? "" : line.change.percent.toFixed(1),
      ]),
    ],
    calendar: () => [
      ["date", ...TYPES],
      ...all("#calendar td[data-date]:not(.outside)").map((cell) =>
        [cell.dataset.date, ...all(".sign", cell).map((sign) => sign.title.split(": ")[1])]),
    ],
    freshness: () => asShown(byId("freshness")),
    open: () => asShown(byId("open")),
    restated: () => asShown(byId("restated")),
  };

  // Controls that need the script are added by it: without it, the page has no dead controls.
  function prepare() {
    for (const one of all(".scripted, #pick, #by, #search")) one.hidden = false;
    if (byId("table")) byId("table").open = false;
    for (const name of all("#days .name, #calendar .name")) {
      const day = indexOf(name.closest("[data-date]").dataset.date);
      const spoken = name.closest("#days") ? iso(day) : named(day, { day: "numeric", month: "long", year: "numeric" });
      const inside = button(name.textContent, () => pickDay(day), { class: name.className, "aria-label": `Show only ${spoken}` });
      name.replaceWith(inside);
    }
    for (const name of all("#top .name")) {
      const content = Number(name.closest("tr").dataset.content);
      name.replaceWith(button(name.firstChild, () => pickContent(content), { class: name.className }));
    }
    for (const head of all("#top th[data-sort]")) {
      const key = head.dataset.sort;
      const label = head.textContent;
      head.replaceChildren(button(label, () => pick({
        sort: key,
        descending: state.sort === key ? !state.descending : !["place", "title"].includes(key),
      }), { class: "sort", "aria-label": label === "#" ? "Place" : null }));
    }
    for (const table of all("#open, #restated")) {
      const columns = table.tHead.rows[0].cells.length;
      table.tBodies[0].append(element("tr", { class: "none", hidden: true }, element("td", { colspan: columns, class: "soft long" }, "Nothing matches the selection.")));
    }
    for (const [name, lines] of Object.entries(csv)) {
      const heading = byId(name)?.closest("section").querySelector("h2");
      heading?.after(button("CSV", () => download(name, lines()), { class: "csv", "data-csv": name, "aria-label": `Download as CSV: ${textOf(heading)}` }));
    }
    const presets = [WEEK, 4 * WEEK].filter((length) => length < END - START + 1);
    byId("presets").replaceChildren(...presets.map((length) => button(`Last ${length} days`, () => pick({ from: END - length + 1, to: END, day: null }))));
    byId("pick").addEventListener("submit", (event) => event.preventDefault());
    for (const [id, other] of [["from", "to"], ["to", "from"]]) {
      byId(id).addEventListener("change", ({ target }) => {
        if (!target.validity.valid) return;
        const day = indexOf(target.value);
        const further = id === "from" ? Math.max(day, state[other]) : Math.min(day, state[other]);
        pick({ [id]: day, [other]: further });
      });
    }
    byId("by")?.addEventListener("change", ({ target }) => pick({ by: target.value }));
    byId("more")?.addEventListener("click", () => pick({ isLong: !state.isLong }));
    byId("text")?.addEventListener("input", ({ target }) => pick({ text: target.value }));
    let width = innerWidth;
    addEventListener("resize", () => {
      if (width !== innerWidth) update();
      width = innerWidth;
    });
  }

  prepare();
  update();
  root.dataset.drawn = "all";
})();
