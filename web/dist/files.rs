// Written by the build of `web/` (`cargo xtask web build`); not by hand.
const FILES: &[File] = &[
    File {
        path: "/assets/index-CnkqFhhK.js",
        kind: "text/javascript; charset=utf-8",
        tag: "b210627d9ac62ace",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-CnkqFhhK.js")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-CnkqFhhK.js.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-CnkqFhhK.js.gz")),
    },
    File {
        path: "/assets/index-DhDN_1iH.css",
        kind: "text/css; charset=utf-8",
        tag: "0d407ee108110aeb",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-DhDN_1iH.css")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-DhDN_1iH.css.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-DhDN_1iH.css.gz")),
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
        tag: "a00881e3999990da",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.gz")),
    },
];
