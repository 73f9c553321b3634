"use strict";
// Per section of items: a filter by grades, which are one letter per method, and a search.
const isWrong = (grade) => grade === "w" || grade === "u" || grade === "f";
const tests = {
  all: (grade) => grade !== "-",
  right: (grade) => grade === "r",
  wrong: isWrong,
  unreadable: (grade) => grade === "u" || grade === "f",
  none: isWrong,
  differ: (grade, grades) => grade !== "-" && [...grades].some((other) => (other === "r") !== (grade === "r") && other !== "-"),
};

function matches(grades, show, method, together) {
  const [what, single] = show.split("-");
  if (what === "none" && grades.includes("r")) return false;
  const compared = what === "gained" || what === "lost";
  const numbers = method !== "" ? [Number(method)] : compared ? together : [...grades].keys();
  let test = tests[what];
  if (what === "gained") test = (grade) => grade === "r" && isWrong(grades[single]);
  if (what === "lost") test = (grade) => isWrong(grade) && grades[single] === "r";
  return [...numbers].some((number) => test(grades[number], grades));
}

for (const form of document.querySelectorAll(".filter")) {
  const section = form.closest(".part"), together = form.dataset.together.split(" ").filter(Boolean).map(Number);
  const items = [...section.querySelectorAll("article")], texts = new Map();
  const text = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  const filter = () => {
    const method = form.elements.method.value, sought = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const item of items) {
      item.hidden = !(matches(item.dataset.grades, form.elements.show.value, method, together)
        && (!sought || text(item).includes(sought)));
      shown += !item.hidden;
      for (const said of item.querySelectorAll("[data-methods]"))
        said.classList.toggle("chosen", method !== "" && said.dataset.methods.split(" ").includes(method));
    }
    form.querySelector("output").textContent = `${shown} of ${items.length} shown`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("a[data-show]")) {
    if (link.getAttribute("href") !== `#${section.id}`) continue;
    link.addEventListener("click", () => {
      form.elements.show.value = link.dataset.show;
      form.elements.method.value = link.dataset.method;
      form.elements.text.value = "";
      filter();
    });
  }
  filter();
}
