// Written by the build of `web/` (`cargo xtask web build`); not by hand.
const FILES: &[File] = &[
    File {
        path: "/assets/index-BnW9Y0WR.css",
        kind: "text/css; charset=utf-8",
        tag: "3eb9fc113c49ab25",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BnW9Y0WR.css")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BnW9Y0WR.css.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-BnW9Y0WR.css.gz")),
    },
    File {
        path: "/assets/index-C_f66GLE.js",
        kind: "text/javascript; charset=utf-8",
        tag: "0e6814f672a00945",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-C_f66GLE.js")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-C_f66GLE.js.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets/index-C_f66GLE.js.gz")),
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
        tag: "62c38df46959a3d2",
        plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")),
        brotli: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.br")),
        gzip: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.gz")),
    },
];
