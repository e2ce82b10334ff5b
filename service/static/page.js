// Answers as one types: asks for the page again, puts its new parts in the place of the old, and draws the plot.
// Every word comes from the server; without this file the page works by its button.
"use strict";

const PAUSE = 150; // ms after the last key, before it asks
const PATIENCE = 1000; // ms that what was typed may be wrong, before it is said: one is still typing

const form = document.getElementById("form"); // its own names may be hidden by features' names: none of them is used
const isWhole = () => HTMLFormElement.prototype.checkValidity.call(form);
const main = document.querySelector("main");
const answer = document.getElementById("answer");
let timer, request;

document.querySelector("#form > button").hidden = true; // Enter still asks

document.addEventListener("input", (event) => {
  if (event.target.form !== form) return;
  clearTimeout(timer);
  main.classList.toggle("stale", !isWhole());
  if (isWhole()) timer = setTimeout(ask, PAUSE, PATIENCE);
});
document.addEventListener("change", (event) => event.target.form === form && ask(0));
document.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(0);
});

async function ask(patience) {
  clearTimeout(timer);
  request?.abort();
  request = new AbortController();
  const query = new URLSearchParams(new FormData(form));
  const isPost = form.getAttribute("method") === "post" || String(query).length > 4000; // no server takes a longer address
  let response, fresh, text;
  try {
    const { signal } = request;
    response = await fetch(isPost ? location.pathname : `?${query}`, isPost ? { method: "post", body: query, signal } : { signal });
    text = await response.text();
    fresh = new DOMParser().parseFromString(text, "text/html");
  } catch (error) {
    if (error.name !== "AbortError") refuse("The service could not be reached.");
    return;
  }
  const version = fresh.querySelector("main")?.dataset.version;
  if (!version) return refuse(detailOf(text) || `The service answered with an error (${response.status}).`);
  if (version !== main.dataset.version) {
    // another model, perhaps with other fields
    return isPost ? location.reload() : location.replace(`?${query}`);
  }
  if (response.ok) show(fresh);
  else timer = setTimeout(showProblem, patience, fresh);
  if (!isPost) history.replaceState(null, "", `?${query}`);
}

function show(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) replace(part, fresh.getElementById(part.id));
  for (const part of document.querySelectorAll(".answered")) part.hidden = false;
  markFields(fresh);
  main.classList.remove("stale");
  draw();
}

function showProblem(fresh) {
  replace(answer, fresh.getElementById("answer"));
  markFields(fresh);
  main.classList.add("stale");
}

function detailOf(text) {
  try {
    return JSON.parse(text).detail; // of a problem document
  } catch {
    return "";
  }
}

function replace(part, other) {
  if (!other) return;
  if (part.innerHTML !== other.innerHTML) part.replaceChildren(...other.childNodes); // what is the same is not read out again
  if (other.ariaLabel) part.ariaLabel = other.ariaLabel;
  part.hidden = other.hidden;
}

function markFields(fresh) {
  for (const field of document.querySelectorAll("#form [id^=f]")) {
    field.ariaInvalid = fresh.getElementById(field.id).ariaInvalid;
    if (field.ariaInvalid === "true") field.closest("details")?.setAttribute("open", "");
  }
}

function refuse(text) {
  const problem = document.createElement("span");
  problem.className = "problem";
  problem.textContent = text;
  answer.replaceChildren(problem);
  main.classList.add("stale");
}

// ------------------------------------------------------------------------------------------------------------ copy

for (const code of document.querySelectorAll(".request code")) {
  const button = document.createElement("button");
  button.type = "button";
  const name = code.parentElement.ariaLabel;
  const say = (text) => button.replaceChildren(text, hidden(` ${name}`));
  button.ariaLive = "polite";
  say("Copy");
  button.addEventListener("click", async () => {
    say((await copy(code)) ? "Copied" : "Not copied");
    setTimeout(say, 2000, "Copy");
  });
  code.closest(".request").querySelector("h3").after(button);
}

function hidden(text) {
  const span = document.createElement("span");
  span.className = "unseen";
  span.textContent = text;
  return span;
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent); // where the page came by https, or from this machine
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

// ------------------------------------------------------------------------------------------------------------ plot

const box = document.getElementById("chart");
const reading = document.getElementById("reading");
const dark = matchMedia("(prefers-color-scheme: dark)");
let chart, width;

dark.addEventListener("change", draw);
new ResizeObserver(() => box.clientWidth !== width && draw()).observe(box);

function draw() {
  const plot = JSON.parse(document.getElementById("plot").textContent);
  chart?.destroy();
  chart = null;
  reading.textContent = "";
  width = box.clientWidth;
  if (plot && width) chart = plot.names ? drawNames(plot) : drawLines(plot);
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;
const known = (values) => values.filter((value) => value !== null);

function spanOf(values, share) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const more = (high - low) * share || Math.abs(low) * share || 1;
  return [low - more, high + more];
}

function heights(plot) {
  const middles = known(plot.series.flatMap((each) => each.values).concat(plot.own?.y ?? []));
  if (plot.shares) return [-0.02, 1.02].map((share) => share * Math.max(...middles));
  const ends = plot.half === null ? [] : middles.flatMap((value) => [value - plot.half, value + plot.half]);
  return spanOf([...middles, ...ends, ...(plot.sample?.[1] ?? [])], 0.04);
}

function say(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size && (size >= 1e7 || size < 1e-4)) return Number(value.toPrecision(4)).toExponential().replace("e+", "e");
  return Number(value.toPrecision(6)).toLocaleString("en", { maximumSignificantDigits: 6, useGrouping: size >= 1e4 });
}

function sayDate(seconds, increment) {
  const text = new Date(seconds * 1000).toISOString().replace("T", " ");
  return text.slice(0, increment >= 31e6 ? 4 : increment >= 24e5 ? 7 : increment >= 86400 ? 10 : 16);
}

function sayAnswer(plot, i) {
  const texts = plot.series.map((each) => {
    const value = each.values[i];
    if (plot.shares) return `${each.name} ${value.toFixed(2)}`;
    return say(value) + (plot.half === null ? "" : ` (${say(value - plot.half)} to ${say(value + plot.half)})`);
  });
  return texts.join(", ");
}

function axis(more) {
  const line = color("line");
  return {
    stroke: color("quiet"),
    font: font(),
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 5 },
    ...more,
  };
}

// As wide as the longest text of an axis.
function textSize(chart, texts) {
  if (!texts) return 40;
  chart.ctx.font = chart.axes[0].font[0];
  return Math.ceil(Math.max(...texts.map((text) => chart.ctx.measureText(text).width)) / devicePixelRatio) + 14;
}

function ring(chart, x, y) {
  const { ctx } = chart;
  ctx.save();
  ctx.setLineDash([]); // of the line before
  ctx.beginPath();
  ctx.arc(x, y, 6 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fillStyle = color("paper");
  ctx.fill();
  ctx.strokeStyle = color("own");
  ctx.lineWidth = 3 * devicePixelRatio;
  ctx.stroke();
  ctx.restore();
}

function drawLines(plot) {
  const isDate = plot.kind === "date";
  const data = [plot.x];
  const series = [{}];
  const bands = [];
  if (plot.half !== null) {
    const { values } = plot.series[0];
    data.push(values.map((value) => value + plot.half), values.map((value) => value - plot.half));
    series.push({ pxAlign: 0, points: { show: false } }, { pxAlign: 0, points: { show: false } });
    bands.push({ series: [1, 2], fill: color("band") });
  }
  for (const each of plot.series) {
    const dash = each.dash ? each.dash.split(" ").map(Number) : undefined;
    data.push(each.values);
    series.push({ stroke: color(`c${each.color}`), width: 2.25, dash, pxAlign: 0, points: { show: false } });
  }
  const xs = [...plot.x, ...plot.trained];
  const options = {
    width,
    height: Math.round(Math.max(240, Math.min(400, width * 0.7))),
    padding: [10, 14, 0, 0],
    legend: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { time: isDate, range: () => spanOf(xs, 0.02) }, y: { range: () => heights(plot) } },
    axes: [
      axis({
        label: plot.label,
        labelFont: font(),
        labelSize: 22,
        size: 28,
        space: isDate ? 90 : 60,
        values: (_, splits, __, ___, increment) => splits.map((value) => (isDate ? sayDate(value, increment) : say(value))),
      }),
      axis({ values: (_, splits) => splits.map(say), size: textSize }),
    ],
    series,
    bands,
    cursor: {
      y: false,
      drag: { x: false, y: false },
      points: { size: 7, fill: (u, i) => u.series[i].stroke?.() || "transparent", stroke: "transparent" },
    },
    hooks: {
      drawAxes: [(u) => behind(u, plot)],
      draw: [(u) => plot.own?.y.forEach((y) => ring(u, u.valToPos(plot.own.x, "x", true), u.valToPos(y, "y", true)))],
      setCursor: [
        (u) => {
          const i = u.cursor.idx;
          const at = i === null ? "" : isDate ? sayDate(plot.x[i], plot.x[1] - plot.x[0]) : say(plot.x[i]);
          reading.textContent = i === null ? "" : `At ${at}: ${sayAnswer(plot, i)}`;
        },
      ],
    },
  };
  return new uPlot(options, data, box);
}

// What training saw, behind the lines: its range, and the sample of its rows.
function behind(chart, plot) {
  const { ctx } = chart;
  const { left, top, width, height } = chart.bbox;
  const ratio = devicePixelRatio;
  const x = (value) => chart.valToPos(value, "x", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.fillStyle = color("outside");
  const [first, last] = plot.trained.map(x);
  if (plot.own && plot.own.x < plot.trained[0]) ctx.fillRect(left, top, first - left, height);
  if (plot.own && plot.own.x > plot.trained[1]) ctx.fillRect(last, top, left + width - last, height);
  ctx.fillStyle = ctx.strokeStyle = color("sample");
  ctx.globalAlpha = 0.55;
  for (const [i, value] of (plot.sample?.[0] ?? []).entries()) {
    ctx.beginPath();
    ctx.arc(x(value), chart.valToPos(plot.sample[1][i], "y", true), 2.5 * ratio, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.lineWidth = ratio;
  ctx.beginPath();
  for (const value of plot.rug ?? []) {
    ctx.moveTo(x(value), top + height);
    ctx.lineTo(x(value), top + height - 8 * ratio);
  }
  ctx.stroke();
  if (plot.own) {
    ctx.globalAlpha = 1;
    ctx.strokeStyle = color("own");
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x(plot.own.x), top);
    ctx.lineTo(x(plot.own.x), top + height);
    ctx.stroke();
  }
  ctx.restore();
}

// Names read best beside each other's lines: the categories stand on the upright axis.
function drawNames(plot) {
  const n = plot.names.length;
  const longest = Math.max(8, Math.floor(width / 22)); // characters
  const short = plot.names.map((name) => (name.length > longest ? `${name.slice(0, longest - 1)}…` : name));
  const options = {
    width,
    height: n * 28 + 40,
    padding: [4, 16, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: false, ori: 1, dir: -1, range: () => [-0.6, n - 0.4] },
      y: { ori: 0, dir: 1, range: () => heights(plot) },
    },
    axes: [
      axis({
        side: 3,
        splits: () => plot.names.map((_, i) => i),
        values: () => short,
        grid: { show: false },
        ticks: { show: false },
        size: textSize,
      }),
      axis({ side: 2, values: (_, splits) => splits.map(say), space: 60, size: 28 }),
    ],
    series: [{}, ...plot.series.map(() => ({ paths: () => null, points: { show: false } }))],
    cursor: { x: false, y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: {
      draw: [(u) => drawMarks(u, plot)],
      setCursor: [
        (u) => {
          const i = u.cursor.idx;
          reading.textContent = i === null ? "" : `${plot.names[i]}: ${sayAnswer(plot, i)}`;
        },
      ],
    },
  };
  return new uPlot(options, [plot.x, ...plot.series.map((each) => each.values)], box);
}

function drawMarks(chart, plot) {
  const { ctx } = chart;
  const ratio = devicePixelRatio;
  const along = (value) => chart.valToPos(value, "y", true);
  for (const i of plot.x) {
    const y = chart.valToPos(i, "x", true);
    const isOwn = i === plot.own.x;
    if (isOwn) {
      ctx.fillStyle = color("outside");
      ctx.fillRect(chart.bbox.left, y - 13 * ratio, chart.bbox.width, 26 * ratio);
    }
    for (const each of plot.series) {
      const value = each.values[i];
      if (value === null) continue;
      ctx.fillStyle = ctx.strokeStyle = color(`c${each.color}`);
      ctx.lineWidth = 1.25 * ratio;
      ctx.setLineDash([]);
      if (plot.half !== null) {
        const [low, high] = [along(value - plot.half), along(value + plot.half)];
        const cap = 4 * ratio;
        ctx.stroke(new Path2D(`M${low} ${y}H${high}M${low} ${y - cap}v${2 * cap}M${high} ${y - cap}v${2 * cap}`));
      }
      if (isOwn && !plot.shares) ring(chart, along(value), y);
      else {
        ctx.save();
        ctx.translate(along(value), y);
        ctx.scale(ratio, ratio);
        ctx.fill(new Path2D(each.marker));
        ctx.restore();
      }
    }
  }
}

draw();
