// What the theme leaves out for those who do not see the page.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
