/* Tables whose rows can be sorted: buttons in the headings, and a list where the table is stacked on a phone.
   Without this script the rows stay as the configuration lists them. */
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const listed = [...body.rows];
  const headings = [...table.querySelectorAll("th[data-sort]")];
  if (listed.length < 2) continue;
  const told = document.createElement("p");
  told.className = "told";
  told.setAttribute("role", "status");

  const label = document.createElement("label");
  label.append("Sort by ");
  const list = document.createElement("select");
  list.add(new Option("the configuration’s order", ""));
  for (const heading of headings) {
    const rises = heading.dataset.sort === "title";
    const both = rises ? [["ascending", "A to Z"], ["descending", "Z to A"]]
      : [["descending", "highest first"], ["ascending", "lowest first"]];
    for (const [direction, words] of both) {
      list.add(new Option(`${heading.dataset.words}, ${words}`, `${heading.dataset.sort} ${direction}`));
    }
  }
  label.append(list);
  const chooser = document.createElement("p");
  chooser.className = "sorter";
  chooser.append(label);
  table.before(chooser, told);

  const value = (row, column) => row.querySelector(`[data-column="${column}"]`)?.dataset.value ?? "";
  const compare = (column, sign) => (one, other) => {
    const [left, right] = [value(one, column), value(other, column)];
    if (left === "" || right === "") return (left === "") - (right === "");  // what has no value comes last either way
    const difference = column === "title" ? left.localeCompare(right) : Number(left) - Number(right);
    return sign * difference;
  };
  const sort = (column, direction) => {
    for (const heading of headings) {
      if (heading.dataset.sort === column) heading.setAttribute("aria-sort", direction);
      else heading.removeAttribute("aria-sort");
    }
    const rows = column ? [...listed].sort(compare(column, direction === "ascending" ? 1 : -1)) : listed;
    body.append(...rows);
    list.value = column ? `${column} ${direction}` : "";
    told.textContent = `${table.dataset.split} split: sorted by ${list.selectedOptions[0].text}`;
  };
  list.addEventListener("change", () => sort(...(list.value ? list.value.split(" ") : ["", ""])));
  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.classList.add("sorts");
    button.addEventListener("click", () => {
      const column = heading.dataset.sort;
      const [first, second] = column === "title" ? ["ascending", "descending"] : ["descending", "ascending"];
      const now = heading.getAttribute("aria-sort");
      if (now === null) sort(column, first);
      else if (now === first) sort(column, second);
      else sort("", "");
    });
  }
}
document.documentElement.classList.add("has-script");
