// What the theme leaves out for those who do not see the page.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
// Tables of settings are told by their first heading, for the sheet of styles.
for (const table of document.querySelectorAll("article table"))
  if (table.rows[0]?.cells[0]?.textContent.trim() === "setting") table.dataset.of = "settings"
