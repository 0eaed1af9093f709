// Shows how far a job is without loading the whole page again, and disables the buttons of a list
// while no letter is chosen. The page works without it.
"use strict";

const box = document.querySelector("[data-progress]");
let pressed = false; // a button must not be replaced under a finger
const isOver = () => box.querySelector("[data-over]") !== null;

async function look() {
  try {
    const answer = await fetch(box.dataset.progress, { credentials: "same-origin", redirect: "error" });
    if (answer.ok && !pressed) {
      const held = box.contains(document.activeElement) && document.activeElement.textContent;
      box.innerHTML = await answer.text(); // escaped by the server, and no script in it could run
      if (held) {
        const again = [...box.querySelectorAll("button")].find((one) => one.textContent === held);
        if (again) again.focus();
      }
    }
  } catch (error) {
    // The server is away for a moment, or for good: the next look tells.
  }
  if (!isOver()) setTimeout(look, 1000);
}

if (box) {
  box.addEventListener("pointerdown", () => { pressed = true; });
  document.addEventListener("pointerup", () => { pressed = false; });
  document.addEventListener("pointercancel", () => { pressed = false; });
}
if (box && !isOver()) setTimeout(look, 500);

const list = document.querySelector("form[data-choosing]");

function choose() {
  const selected = list.querySelector("[name=scope][value=selected]").checked;
  const nothing = selected && list.querySelector("[name=key]:checked") === null;
  for (const button of list.querySelectorAll("button[name=do]")) button.disabled = nothing;
  list.querySelector("[data-hint]").hidden = !nothing;
}

if (list) {
  list.addEventListener("change", choose);
  window.addEventListener("pageshow", choose); // a browser that goes back keeps what was ticked
  choose();
}
