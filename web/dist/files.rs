// Written by the build of `web/` (`cargo xtask web build`); not by hand.
const FILES: &[File] = &[
    File {
        path: "/assets/index-B1pGoMgK.js",
        kind: "text/javascript; charset=utf-8",
        tag: "58916d595e571359",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-B1pGoMgK.js")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-B1pGoMgK.js.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-B1pGoMgK.js.gz")),
    },
    File {
        path: "/assets/index-BLJcFfFn.css",
        kind: "text/css; charset=utf-8",
        tag: "c36e377e73dec21f",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BLJcFfFn.css")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BLJcFfFn.css.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BLJcFfFn.css.gz")),
    },
    File {
        path: "/favicon.svg",
        kind: "image/svg+xml",
        tag: "4c243b0bf76b5431",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/favicon.svg")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/favicon.svg.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/favicon.svg.gz")),
    },
    File {
        path: "/",
        kind: "text/html; charset=utf-8",
        tag: "cc8c4d2b5de506a5",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.gz")),
    },
];
