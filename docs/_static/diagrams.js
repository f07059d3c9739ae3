// Draws the page's diagrams in the colours of its theme, and again when the theme changes.
(() => {
  const diagrams = [...document.querySelectorAll("pre.mermaid")];
  for (const each of diagrams) each.dataset.source = each.textContent;

  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => {
    const theme = document.body.dataset.theme;
    return theme === "dark" || (theme !== "light" && prefersDark.matches);
  };

  const draw = async () => {
    for (const each of diagrams) {
      each.textContent = each.dataset.source;
      delete each.dataset.processed;
    }
    mermaid.initialize({ startOnLoad: false, theme: isDark() ? "dark" : "neutral", fontFamily: "inherit" });
    await mermaid.run({ nodes: diagrams });
  };

  let drawn = isDark();
  const redraw = () => {
    if (drawn !== isDark()) {
      drawn = isDark();
      draw();
    }
  };
  new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-theme"] });
  prefersDark.addEventListener("change", redraw);
  draw();
})();
