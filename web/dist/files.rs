// Written by the build of `web/` (`cargo xtask web build`); not by hand.
const FILES: &[File] = &[
    File {
        path: "/assets/index-Cx5u09Ps.js",
        kind: "text/javascript; charset=utf-8",
        tag: "c085af0f97a7984c",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-Cx5u09Ps.js")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-Cx5u09Ps.js.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-Cx5u09Ps.js.gz")),
    },
    File {
        path: "/assets/index-DItIVBTb.css",
        kind: "text/css; charset=utf-8",
        tag: "f990f051e6101217",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-DItIVBTb.css")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-DItIVBTb.css.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-DItIVBTb.css.gz")),
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
        tag: "f583620c54f48490",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.gz")),
    },
];
