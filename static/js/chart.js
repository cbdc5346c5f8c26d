// Draws each <figure data-chart> with plotly, from the figure that the server put beside it.
//
//   <figure data-chart>
//     <ul class="legend"><li data-series="pv">… <b data-value>…</b></li></ul>
//     <div data-plot></div> <span data-when></span>
//     <script type="application/json">{"data": […], "layout": {…}}</script>
//     <table data-rows>…<tr><th>…</th><td data-series="pv">…</td></tr></table>
//   </figure>
//
// Colours and fonts in a figure are names, "var(--sun)", filled in from the stylesheet here.
// "layout.meta.narrow" holds what differs on a phone. What is pointed at is read from the table:
// the server formatted those figures, and they are the exact ones.
(() => {
  const NARROW = 560;
  const NAME = /^var\((--[\w-]+)\)$/;
  const CONFIG = { displayModeBar: false, showTips: false, doubleClick: false };

  const filled = (name, figure) => {
    const text = getComputedStyle(figure).getPropertyValue(name).trim();
    if (!CSS.supports("color", text)) return text;
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    figure.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };

  const fill = (value, figure) => {
    if (typeof value === "string") {
      const name = value.match(NAME)?.[1];
      return name ? filled(name, figure) : value;
    }
    if (Array.isArray(value)) {
      return typeof value[0] === "object" ? value.map((part) => fill(part, figure)) : value;
    }
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, fill(part, figure)]));
  };

  const merge = (into, from) => {
    for (const [key, value] of Object.entries(from)) {
      const both = [into[key], value].every((part) => part?.constructor === Object);
      if (both) merge(into[key], value);
      else into[key] = value;
    }
  };

  const draw = (figure) => {
    const plot = figure.querySelector("[data-plot]");
    const source = figure.querySelector("script[type='application/json']");
    if (!plot || !source || !window.Plotly) return;
    const { data, layout } = fill(JSON.parse(source.textContent), figure);
    plot.dataset.narrow = plot.clientWidth < NARROW;
    if (plot.clientWidth < NARROW) merge(layout, layout.meta?.narrow ?? {});
    // The data-quality ribbon stands below the plot area, wherever that begins.
    figure.style.setProperty("--plot-left", `${layout.margin.l}px`);
    figure.style.setProperty("--plot-right", `${layout.margin.r}px`);
    const first = !plot.classList.contains("js-plotly-plot");
    Plotly.react(plot, data, layout, CONFIG);
    if (first) listen(plot);
    else Plotly.Plots.resize(plot);
  };

  const read = (figure, row) => {
    const when = figure.querySelector("[data-when]");
    if (when) {
      when.dataset.otherwise ??= when.textContent;
      when.textContent = row ? row.querySelector("th").textContent : when.dataset.otherwise;
    }
    for (const item of figure.querySelectorAll(".legend [data-series]")) {
      const value = item.querySelector("[data-value]");
      const cell = row?.querySelector(`[data-series="${item.dataset.series}"]`);
      value.dataset.otherwise ??= value.textContent;
      value.textContent = cell ? (cell.dataset.read ?? cell.textContent) : value.dataset.otherwise;
    }
  };

  const listen = (plot) => {
    plot.on("plotly_hover", ({ points }) => {
      const figure = plot.closest("[data-chart]");
      const rows = figure.querySelector("table[data-rows]")?.tBodies[0].rows;
      read(figure, rows?.[points[0].pointNumber]);
    });
    plot.on("plotly_unhover", () => read(plot.closest("[data-chart]"), null));
    sizes.observe(plot);
  };

  const sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      if (!target.isConnected) sizes.unobserve(target);
      else if (String(contentRect.width < NARROW) !== target.dataset.narrow) {
        draw(target.closest("[data-chart]"));
      } else Plotly.Plots.resize(target);
    }
  });

  const drawAll = (root) => {
    if (root.matches?.("[data-chart]")) draw(root);
    for (const figure of root.querySelectorAll("[data-chart]")) draw(figure);
  };

  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("gridx:theme", () => drawAll(document));
  document.addEventListener("htmx:afterSettle", (event) => drawAll(event.detail.elt));

  // An opened table stays open from one period to the next.
  let open = new Set();
  document.addEventListener("htmx:beforeSwap", () => {
    open = new Set([...document.querySelectorAll("details[id][open]")].map(({ id }) => id));
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
  });
})();
