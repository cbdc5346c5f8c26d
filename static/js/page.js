// What every page needs: menus that close, buttons that copy, ages that go on counting.
(() => {
  // <details class="menu"> closes on Escape and on a click elsewhere.
  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu !== except) menu.open = false;
    }
  };
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  // <button data-copy="#id" data-copied="Copied"> copies the text of #id and says so.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    await navigator.clipboard.writeText(source.textContent.trim());
    const label = button.querySelector("[data-label]") ?? button;
    const before = label.textContent;
    label.textContent = button.dataset.copied;
    setTimeout(() => (label.textContent = before), 2000);
  });

  // <button hidden data-print> prints the page; hidden where it could not.
  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }

  // <div data-gone-after="10"> leaves the page after so many seconds, but not while pointed at.
  const seen = new WeakMap();
  setInterval(() => {
    for (const part of document.querySelectorAll("[data-gone-after]")) {
      if (!seen.has(part)) seen.set(part, performance.now());
      const isOver = performance.now() - seen.get(part) > 1000 * Number(part.dataset.goneAfter);
      if (isOver && !part.matches(":hover")) part.remove();
    }
  }, 500);

  // What can be undone has just been done: those who show constraints fetch them anew.
  document.addEventListener("htmx:load", ({ detail }) => {
    if (detail.elt.id === "undo") htmx.trigger(document.body, "gridx:constraints");
  });

  // <input type="checkbox" data-tick-all="appliance"> ticks all of that name, or none.
  document.addEventListener("change", (event) => {
    const name = event.target.dataset?.tickAll;
    if (!name) return;
    for (const box of document.getElementsByName(name)) box.checked = event.target.checked;
  });

  // <select data-submit>, <input type="date" data-submit>: a choice is enough to go there.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]") && event.target.value) {
      event.target.form.requestSubmit();
    }
  });

  // <span data-zone="Europe/Lisbon">: said where the viewer's own time zone is another.
  const showZones = () => {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const part of document.querySelectorAll("[data-zone]")) {
      part.classList.toggle("other", part.dataset.zone !== own);
    }
  };
  document.addEventListener("htmx:wsAfterMessage", showZones);
  showZones();

  // <time data-age datetime="…">: "5 s ago", in the words that the server sent along. What an
  // element marked data-stale-after="30" shows is dimmed once its newest time is older than that.
  const words = JSON.parse(document.getElementById("age-words")?.textContent ?? "null");
  const age = (seconds) => {
    if (seconds < 90) return words.seconds.replace("%s", Math.max(0, Math.round(seconds)));
    if (seconds < 5400) return words.minutes.replace("%s", Math.round(seconds / 60));
    if (seconds < 129600) return words.hours.replace("%s", Math.round(seconds / 3600));
    return words.days.replace("%s", Math.round(seconds / 86400));
  };
  // <time data-left datetime="…">: "1:40", how long it is until then.
  const left = (seconds) => {
    const whole = Math.max(0, Math.ceil(seconds));
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };
  // Ages are counted from the server's clock; the viewer's may be wrong.
  const ahead = words ? Date.now() - Date.parse(words.now) : 0;
  const secondsSince = (time) => (Date.now() - ahead - Date.parse(time.dateTime)) / 1000;
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-age]")) {
      const text = age(secondsSince(time));
      if (time.textContent !== text) time.textContent = text;
    }
    for (const time of document.querySelectorAll("time[data-left]")) {
      time.textContent = left(-secondsSince(time));
    }
    for (const part of document.querySelectorAll("[data-stale-after]")) {
      const time = part.querySelector("time[data-age]") ?? document.querySelector(part.dataset.staleBy);
      if (!time) continue;
      part.classList.toggle("stale", secondsSince(time) > Number(part.dataset.staleAfter));
    }
  };
  if (words) {
    tick();
    setInterval(tick, 1000);
  }
})();
