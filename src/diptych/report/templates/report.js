"use strict";
(() => {
  document.documentElement.classList.add("js");
  const form = document.querySelector("form.filters");
  const cards = [...document.querySelectorAll(".card")];
  const SEPARATOR = "\x1f";

  const save = document.getElementById("save");
  save.addEventListener("click", () => {
    const text = document.getElementById("data").textContent;
    const link = document.createElement("a");
    const about = JSON.parse(text);
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `${about.dataset}-${about.version}-statistics.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  if (!form) return;

  const count = form.querySelector(".count");
  const none = document.querySelector(".none");
  const texts = new Map();
  // What is seen of the card; ids, hashes and addresses only for words that are long enough to mean one.
  const textOf = (card) => {
    if (!texts.has(card)) {
      const seen = [...card.querySelectorAll("header, .panels")].map((part) => part.textContent).join(" ");
      texts.set(card, { seen: seen.toLocaleLowerCase(), all: card.textContent.toLocaleLowerCase() });
    }
    return texts.get(card);
  };
  const has = (card, word) => textOf(card)[word.length < 6 ? "seen" : "all"].includes(word);
  const visible = () => cards.filter((card) => !card.hidden);

  const apply = () => {
    const data = new FormData(form);
    const words = data.get("text").toLocaleLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const keep = ["status", "rule", "split", "language"].every((name) => {
        const wanted = data.get(name);
        return !wanted || (card.dataset[name] ?? "").split(SEPARATOR).includes(wanted);
      }) && words.every((word) => has(card, word));
      card.hidden = !keep;
      shown += keep;
    }
    count.textContent = shown === cards.length ? `${shown} records` : `${shown} of ${cards.length} records`;
    none.hidden = shown > 0;
    for (const box of form.querySelectorAll("input[name=layer]")) {
      document.getElementById("gallery").classList.toggle(`no-${box.value}`, !box.checked);
      for (const drawn of document.getElementsByClassName(box.value)) drawn.toggleAttribute("hidden", !box.checked);
    }
  };
  const clear = () => { form.reset(); apply(); };

  let waiting = 0;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 80); });
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));

  for (const button of document.querySelectorAll("button[data-rule]")) {
    const choice = [...form.elements.rule.options].find((o) => o.value === button.dataset.rule);
    if (!choice) { button.disabled = true; continue; }
    button.addEventListener("click", () => {
      form.reset();
      form.elements.rule.value = choice.value;
      apply();
      document.getElementById("gallery").scrollIntoView();
      form.elements.rule.focus({ preventScroll: true });
    });
  }

  const step = (by) => {
    const list = visible();
    if (!list.length) return;
    const here = list.indexOf(document.activeElement.closest?.(".card"));
    const next = list[here < 0 ? 0 : Math.min(list.length - 1, Math.max(0, here + by))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape") { clear(); if (typing) event.target.blur(); return; }
    if (typing) return;
    if (event.key === "/") { event.preventDefault(); form.elements.text.focus(); form.scrollIntoView(); }
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "Enter" && event.target.classList.contains("card")) {
      const details = event.target.querySelector("details.all");
      details.open = !details.open;
    }
  });
  apply();
})();
