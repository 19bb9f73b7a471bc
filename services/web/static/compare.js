// Equity of the compared variants in one chart: each is played once, when it is asked for, and kept.
(function () {
"use strict";

const {ask} = window.traderagent, charts = window.LightweightCharts;
const box = document.getElementById("curves"), button = document.getElementById("draw"), fault = document.getElementById("curves-fault");
if (!box) return;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function curve(run) {
  const [session, variant] = run.split("-");
  let told = await ask("POST", "/api/v1/backtests/variant-report", {session, variant: +variant});
  while (told.state === "playing") {
    await new Promise((done) => setTimeout(done, 1000));
    told = await ask("GET", `/api/v1/backtests/report-state?report=${told.report}`);
  }
  if (told.state === "failed") throw new Error(told.fault);
  return ask("GET", `/api/v1/backtests/reports/${told.report}/equity`);
}

function opened() {
  box.hidden = false;
  return charts.createChart(box, {
    autoSize: true, layout: {background: {color: "transparent"}, textColor: colour("--soft")},
    grid: {vertLines: {color: colour("--line")}, horzLines: {color: colour("--line")}},
    rightPriceScale: {borderColor: colour("--line")}, timeScale: {borderColor: colour("--line"), timeVisible: true},
    localization: {priceFormatter: (value) => `${value.toFixed(2)} %`},
  });
}

async function draw() {
  const runs = box.dataset.runs.split(" "), label = button.textContent, chart = opened();
  button.disabled = true;
  fault.textContent = "";
  let done = 0;
  for (const [place, run] of runs.entries()) {
    button.textContent = button.dataset.playing.replace("%d", done).replace("%s", runs.length);
    try {
      const {at, equity_pct: equity} = await curve(run);
      const series = chart.addSeries(charts.LineSeries, {color: colour(`--run-${place + 1}`), lineWidth: 2, title: String(place + 1), priceLineVisible: false});
      series.setData(at.map((moment, k) => ({time: Math.floor(moment / 1000), value: equity[k]})));
      chart.timeScale().fitContent();
      done += 1;
    } catch (error) {
      fault.textContent = `${fault.textContent} ${place + 1}: ${error.message}`.trim();
    }
  }
  button.textContent = label;
  if (done === runs.length) button.remove();
  button.disabled = false;
  box.dataset.drawn = done;
  if (!done) chart.remove();
}

button.addEventListener("click", draw);
})();
