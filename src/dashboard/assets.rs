//! The files of the page, as they are in `assets/`.

/// A file of the page: its path, its type and its content.
pub(super) type Asset = (&'static str, &'static str, &'static str);

pub(super) const ASSETS: [Asset; 6] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("assets/index.html"),
    ),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_str!("assets/style.css"),
    ),
    (
        "/app.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/app.js"),
    ),
    (
        "/heatmap.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/heatmap.js"),
    ),
    (
        "/parts.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/parts.js"),
    ),
    (
        "/icon.svg",
        "image/svg+xml",
        include_str!("assets/icon.svg"),
    ),
];
