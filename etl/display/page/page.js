// Draws each chart into its place. Vega labels that as it likes: the chart's name is on the element around it.
// Colours are CSS variables, so that a change of scheme needs no new drawing.
(() => {
  const page = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const figures = [...document.querySelectorAll("[data-chart]")];
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    // Expressions are interpreted: the page's policy forbids to make code of texts.
    ast: true,
    config: page.config,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  Promise.all(figures.map((figure) => vegaEmbed(figure, page.charts[figure.dataset.chart], options)))
    .then(() => { root.dataset.drawn = "all"; })
    .catch((error) => {
      root.dataset.drawn = "failed";
      console.error(error);
    });
})();
