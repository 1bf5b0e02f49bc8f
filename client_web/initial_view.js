/* View and theme, set before the first paint so that nothing flashes. */
{
  const root = document.documentElement;
  if (new URLSearchParams(location.search).get("view") === "output") root.dataset.view = "output";
  try {
    root.dataset.theme = JSON.parse(localStorage.getItem("depthlive.theme") ?? '""');
  } catch {
    // storage may be forbidden or hold nonsense: then the system's theme
  }
}
