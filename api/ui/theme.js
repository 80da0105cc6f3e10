/**
 * theme: sets the theme before the first paint. A classic script in the head, so that a page in the
 * dark does not flash white. The address wins over what this browser remembers.
 */
(() => {
  const known = (theme) => (theme === "dark" || theme === "light" ? theme : null);
  let remembered = null;
  try {
    remembered = localStorage.getItem("weir.theme");
  } catch {
    // Storage may be forbidden; then the system decides.
  }
  const asked = new URLSearchParams(location.search).get("theme");
  const theme = known(asked) ?? known(remembered);
  if (theme) document.documentElement.dataset.theme = theme;
})();
