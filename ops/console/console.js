"use strict";
// Every value is written as text, never as markup: names come from agencies' files.
const whole = n => n == null ? "" : Math.round(n).toLocaleString("en");
const seconds = n => n == null ? "" : n < 1 ? `${Math.round(n * 1000)} ms` : `${n.toFixed(1)} s`;
const percent = n => n == null ? "" : `${Math.round(n * 100)} %`;
// People read the city's time, whatever the browser's own is.
const moment = text => text ? new Date(text).toLocaleString("zh-CN", { timeZone: "Asia/Shanghai", hour12: false }) : "";
const COLUMNS = {
  feeds: [["feed", "feed"], ["captured", "captured", whole], ["per_second", "per second", whole], ["rejected", "rejected", whole],
    ["lag_records", "behind", whole], ["lag_seconds", "lag", seconds], ["snapshot", "snapshot", percent], ["health", "health"]],
  subscriptions: [["grant_id", "subscription"], ["delivered", "delivered", whole], ["per_second", "per second", whole],
    ["suppressed", "suppressed", whole], ["dead", "dead", whole], ["lag_seconds", "lag", seconds], ["p50_seconds", "p50", seconds],
    ["p99_seconds", "p99", seconds], ["health", "health"]],
  flows: [["flow", "flow"], ["messages", "messages", whole], ["per_second", "per second", whole], ["lag_records", "behind", whole],
    ["lag_seconds", "lag", seconds], ["health", "health"]],
  tasks: [["task", "task"], ["lag_records", "behind", whole], ["lag_seconds", "lag", seconds], ["restored", "restored", percent]],
  incidents: [["kind", "kind"], ["name", "name"], ["state", "state"], ["since", "since", moment], ["reason", "reason"], ["fix", "what to do"]],
  processes: [["process", "process"], ["state", "state"], ["pid", "pid"], ["restarts", "restarts", whole], ["uptime_seconds", "uptime", seconds]],
};
const FINE = new Set(["ok", "off", "up", "waiting", "notice"]);

function row(cells, tag) {
  const line = document.createElement("tr");
  for (const [text, isUnwell] of cells) {
    const cell = document.createElement(tag);
    cell.textContent = text;
    if (isUnwell) cell.className = "unwell";
    line.append(cell);
  }
  return line;
}

function show(status) {
  for (const [part, columns] of Object.entries(COLUMNS)) {
    const lines = (status[part] || []).map(entry => row(columns.map(([name, , format]) => {
      const value = entry[name];
      const isState = name === "health" || name === "state";
      return [format ? format(value) : String(value ?? ""), isState && !FINE.has(value)];
    }), "td"));
    const isEmpty = part === "incidents" && lines.length === 0;
    document.getElementById(part).closest("section").hidden = isEmpty;
    document.getElementById(part).replaceChildren(row(columns.map(([, title]) => [title, false]), "th"), ...lines);
  }
  const volume = (status.feeds || []).filter(feed => feed.origin === "captured").reduce((sum, feed) => sum + feed.per_second, 0);
  const headline = document.getElementById("headline");
  headline.textContent =
    `${whole(volume)} changes a second; commit to subscriber p50 ${seconds(status.p50_seconds) || "–"}, p99 ${seconds(status.p99_seconds) || "–"}`
    + ` at ${moment(status.at)}`
    + (status.is_well ? "" : "; something is unwell");
  headline.className = status.is_well ? "" : "unwell";
}

async function look() {
  try {
    show(await (await fetch("status")).json());
  } catch (error) {
    const headline = document.getElementById("headline");
    headline.textContent = "the console does not answer";
    headline.className = "unwell";
  }
  setTimeout(look, 1000);
}
look();
