// What a page does beside what its socket pushes: when the figures of today have changed, it says
// so ("gridx:figures"), and what shows them fetches them anew.
(() => {
  const mark = () => document.getElementById("seen")?.dataset.figures;
  let known = mark();
  let wasOpen = false;
  document.addEventListener("htmx:wsAfterMessage", () => {
    wasOpen = true;
    if (mark() === known) return;
    known = mark();
    htmx.trigger(document.body, "gridx:figures");
  });

  // The server ended it for good: signed out, or out of sight. The page itself says which.
  document.addEventListener("htmx:wsClose", ({ detail }) => {
    if (wasOpen && [4403, 4404].includes(detail.event.code)) location.reload();
  });
})();
