// Written by the build of `web/` (`cargo xtask web build`); not by hand.
const FILES: &[File] = &[
    File {
        path: "/assets/index-BJrsApkO.css",
        kind: "text/css; charset=utf-8",
        tag: "844e574422e575cc",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BJrsApkO.css")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BJrsApkO.css.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BJrsApkO.css.gz")),
    },
    File {
        path: "/assets/index-RqpEYL5E.js",
        kind: "text/javascript; charset=utf-8",
        tag: "cad2e307681f48bb",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-RqpEYL5E.js")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-RqpEYL5E.js.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-RqpEYL5E.js.gz")),
    },
    File {
        path: "/assets/licenses.txt",
        kind: "text/plain; charset=utf-8",
        tag: "c578ae3508450bce",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/licenses.txt")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/licenses.txt.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/licenses.txt.gz")),
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
        tag: "f920ac3f28308b93",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.gz")),
    },
];
