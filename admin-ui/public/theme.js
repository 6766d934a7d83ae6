// Before the first paint, so that no light page flashes in a dark room. The choice is kept by
// src/design/theme.ts; nothing stored means that the system decides.
;(function () {
  try {
    const stored = localStorage.getItem('metaproxy.theme')
    if (stored === 'light' || stored === 'dark') document.documentElement.dataset.theme = stored
  } catch {
    // Storage is forbidden: the system decides.
  }
})()
