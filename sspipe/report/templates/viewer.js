/* The viewer of test tiles. What it shows stands in the page already (look.html.jinja): it only says what to draw. */
(() => {
  "use strict";
  const viewer = document.getElementById("viewer");
  if (!viewer) return;
  const { variants, tiles } = JSON.parse(document.getElementById("viewer-data").textContent);
  if (!tiles.length) return;
  const one = (selector) => viewer.querySelector(selector);
  const all = (selector) => [...viewer.querySelectorAll(selector)];
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const picture = (href) => {
    const holder = element("span", { class: "thumb" });
    holder.innerHTML = `<svg viewBox="0 0 2000 2000" width="96" height="96" aria-hidden="true"><use href="#${href}"/></svg>`;
    return holder;
  };
  const state = { tile: 0, variant: 0, base: "sar", prediction: true, truth: false };

  const runOf = (variant) => tiles[state.tile].runs[variant];
  const there = (variant) => runOf(variant) && !runOf(variant).gap;

  // A split need not have every variant: from one that it lacks we go to the first that it has.
  const settle = () => {
    if (!there(state.variant)) state.variant = Math.max(0, variants.findIndex((_, place) => there(place)));
    if (!tiles[state.tile].eo) state.base = "sar";
  };

  const told = () => {
    const tile = tiles[state.tile];
    const run = runOf(state.variant);
    const start = `Tile ${state.tile + 1} of ${tiles.length} (${tile.split} split, ${tile.group}), variant ${variants[state.variant].title}: `;
    if (!there(state.variant)) return start + (run ? run.gap : "nothing");
    return start + `F1 ${run.f1}, ${run.found} found, ${run.false} false, ${run.missed} missed`;
  };

  const show = () => {
    settle();
    const tile = tiles[state.tile];
    const run = runOf(state.variant);
    const overlaid = state.prediction && there(state.variant);
    const base = one(".stage .base");
    base.setAttribute("href", `#look-${tile.place}-${state.base}`);
    base.classList.toggle("muted", state.base === "sar" && overlaid);
    for (const layer of all("[data-layer]")) {
      const name = layer.dataset.layer;
      const on = name === "truth" ? state.truth : overlaid;
      layer.setAttribute("href", on ? `#look-${tile.place}-${name === "truth" ? "truth" : state.variant}` : "");
    }
    const bar = one(".stage .scale");
    bar.style.width = `${tile.scale_percent}%`;
    bar.firstElementChild.textContent = `${tile.scale_m} m`;
    const pictured = state.base === "sar" ? "Radar" : "Optical";
    one(".stage svg").setAttribute("aria-label", `${pictured} picture of tile ${tile.tile}, ${tile.reason}. ${told()}`);
    one(".status").textContent = told();
    one(".reason").textContent = `Chosen for: ${tile.reason}. Tile ${tile.tile}, ${tile.side_m} m to a side.`;
    for (const count of all("[data-count]")) {
      const kind = count.dataset.count;
      const small = kind === "unscored" && state.truth ? tile.small : 0;
      count.textContent = kind === "truth" ? tile.buildings : there(state.variant) ? run[kind] + small : "–";
    }
    one(".now-tile").textContent = `Tile ${state.tile + 1} of ${tiles.length}: ${tile.group}`;
    one(".now-variant").textContent = variants[state.variant].title;
    all(".variants button").forEach((button, place) => {
      const its = runOf(place);
      button.setAttribute("aria-pressed", String(place === state.variant));
      button.disabled = !there(place);
      button.lastElementChild.textContent = there(place) ? `F1 ${its.f1}` : "not on this split";
      button.title = there(place) ? `seed ${its.seed}, pixel IoU ${its.iou}` : its.gap;
    });
    all(".tiles button").forEach((button, place) => button.setAttribute("aria-pressed", String(place === state.tile)));
    all("[data-base]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.base === state.base));
      button.disabled = button.dataset.base === "eo" && !tile.eo;
    });
    all("[data-toggle]").forEach((button) => button.setAttribute("aria-pressed", String(state[button.dataset.toggle])));
  };

  const chooseTile = (place) => {
    state.tile = (place + tiles.length) % tiles.length;
    show();
    const strip = one(`.tiles button[data-tile="${state.tile}"]`).parentElement;
    const chosen = one(`.tiles button[data-tile="${state.tile}"]`);
    // The strip alone moves, not the page.
    strip.scrollTo({ left: chosen.offsetLeft - strip.offsetLeft - 8 });
  };
  const stepVariant = (step) => {
    for (let tried = 0; tried < variants.length; tried++) {
      state.variant = (state.variant + step + variants.length) % variants.length;
      if (there(state.variant)) break;
    }
    show();
  };
  const chooseVariant = (place) => {
    if (place >= variants.length || !there(place)) return;
    state.variant = place;
    show();
  };
  const chooseBase = (base) => {
    state.base = base;
    show();
  };
  const toggle = (layer) => {
    state[layer] = !state[layer];
    show();
  };

  variants.forEach((variant, place) => {
    const button = element("button", { type: "button", "data-variant": variant.name });
    if (place < 9) button.append(element("kbd", { "aria-hidden": "true" }, String(place + 1)));
    button.append(element("span", {}, variant.title), element("small", {}));
    button.addEventListener("click", () => chooseVariant(place));
    one(".variants").append(element("li", {}, button));
  });
  for (const split of new Set(tiles.map((tile) => tile.split))) {
    const strip = element("div", { class: "strip", role: "group", "aria-label": `Test tiles of the ${split} split` });
    for (const [place, tile] of tiles.entries()) {
      if (tile.split !== split) continue;
      const words = element("span", { class: "why" }, element("b", {}, tile.group), ` ${tile.buildings} building${tile.buildings === 1 ? "" : "s"}`);
      const button = element("button", { type: "button", "data-tile": place, title: tile.reason });
      button.append(picture(`look-${tile.place}-sar`), words);
      button.addEventListener("click", () => {
        chooseTile(place);
        // On a phone the strips lie far below the stage.
        if (one(".stage").getBoundingClientRect().bottom < 120) viewer.scrollIntoView();
      });
      strip.append(button);
    }
    const heading = element("h3", {}, `${split[0].toUpperCase()}${split.slice(1)} split`);
    one(".tiles").append(heading, strip);
  }
  all("[data-step-tile]").forEach((button) =>
    button.addEventListener("click", () => chooseTile(state.tile + Number(button.dataset.stepTile))));
  all("[data-step-variant]").forEach((button) =>
    button.addEventListener("click", () => stepVariant(Number(button.dataset.stepVariant))));
  all("[data-base]").forEach((button) => button.addEventListener("click", () => chooseBase(button.dataset.base)));
  all("[data-toggle]").forEach((button) => button.addEventListener("click", () => toggle(button.dataset.toggle)));
  one("input[type=range]").addEventListener("input", (event) => {
    one(".over").style.opacity = event.target.value / 100;
  });

  const keys = {
    ArrowLeft: () => stepVariant(-1),
    ArrowRight: () => stepVariant(1),
    "[": () => chooseTile(state.tile - 1),
    "]": () => chooseTile(state.tile + 1),
    p: () => chooseTile(state.tile - 1),
    n: () => chooseTile(state.tile + 1),
    s: () => chooseBase("sar"),
    e: () => chooseBase("eo"),
    o: () => toggle("prediction"),
    t: () => toggle("truth"),
  };
  // Keys are the viewer's where the focus is in it, or nowhere while most of its picture is in view.
  const listening = () => {
    const focused = document.activeElement;
    if (viewer.contains(focused)) return true;
    if (focused && focused !== document.body && focused !== document.documentElement) return false;
    const stage = one(".stage").getBoundingClientRect();
    const seen = Math.min(stage.bottom, innerHeight) - Math.max(stage.top, 0);
    return seen > 0.6 * Math.min(stage.height, innerHeight);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const digit = /^[1-9]$/.test(event.key) ? () => chooseVariant(Number(event.key) - 1) : null;
    const act = keys[event.key] || digit;
    if (!act || !listening()) return;
    event.preventDefault();
    act();
  });

  viewer.hidden = false;
  viewer.parentElement.classList.add("with-viewer");
  show();
})();
