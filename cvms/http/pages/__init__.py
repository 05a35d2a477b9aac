"""The console: pages for administrators, built of `src/` into `dist/` and served from there."""
