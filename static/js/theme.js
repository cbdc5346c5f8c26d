// Runs before the first paint: the theme that was chosen here, and the sign that scripts run.
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const choose = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is forbidden: the system's theme it is
    }
  };
  choose(stored());

  const mark = () => {
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      const on = button.dataset.themeChoice === (root.dataset.theme ?? "system");
      button.setAttribute("aria-pressed", String(on));
    }
  };
  const changed = () => document.dispatchEvent(new CustomEvent("gridx:theme"));

  document.addEventListener("DOMContentLoaded", mark);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    choose(button.dataset.themeChoice);
    try {
      localStorage.setItem("theme", button.dataset.themeChoice);
    } catch {
      // chosen for this page only
    }
    mark();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
})();
