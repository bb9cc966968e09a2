//! What serves the load: our edge, nginx and HAProxy, each in front of the same origin.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::ZONE;
use super::super::edge::Edge;
use super::super::peer::{CLIENT_CORE, Peer, SERVER_CORE, found, free_apart, on_core, pinned};
use super::super::report::OURS;
use super::rows::{FILES, HOST, TUNNEL_HOST, UPLOAD_HOST, UPLOAD_PATH};
use crate::process;

/// A program that reads uploads.
const SINK: &str = include_str!("sink.py");

/// Connections to the origin that nginx keeps: more than any load has requests at a time.
const KEPT_TO_ORIGIN: usize = 256;

/// The longest that nginx and HAProxy leave a connection alone.
const IDLE_SECONDS: u32 = 600;

pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    /// Whose CPU and memory count.
    pub(super) process: u32,
}

/// All that runs. Dropped, it ends.
pub(super) struct Field {
    _edge: Edge,
    _peers: [Peer; 2],
    _origins: Origins,
    connector: Peer,
    servers: [Server; 3],
}

/// What the servers have behind them, on the core of the load generator.
struct Origins {
    files: Peer,
    uploads: Peer,
}

impl Field {
    pub(super) fn start(binary: &Path, folder: &Path, descriptors: usize) -> Result<Field> {
        let uploads = free_apart()?;
        let mut sink = on_core(CLIENT_CORE, &found("python3")?);
        sink.args(["-c", SINK, &uploads.ip().to_string(), &uploads.port().to_string()]);
        let files = origin(folder, "origin", Turn::Any, CLIENT_CORE)?;
        let origins = Origins { files, uploads: Peer::start("uploads", uploads, &mut sink)? };
        let data = folder.join("data");
        // A new one each time: the record of an earlier run leads to an origin that is gone.
        let _ = fs::remove_dir_all(&data);
        let edge = Edge::start(binary, &data, Some(SERVER_CORE))?;
        let connector = configure(&edge, &origins, binary)?;
        let certificate = Certificate::make(folder)?;
        let (nginx, nginx_tls) = nginx(folder, &origins, &certificate, descriptors)?;
        let (haproxy, haproxy_tls) = haproxy(folder, &origins, &certificate, descriptors)?;
        let peer = |peer: &Peer, https| Server { name: peer.name, http: peer.address, https, process: peer.child.id() };
        let servers = [
            Server { name: OURS, http: edge.http, https: edge.https, process: edge.process() },
            peer(&nginx, nginx_tls),
            peer(&haproxy, haproxy_tls),
        ];
        Ok(Field { _edge: edge, _peers: [nginx, haproxy], _origins: origins, connector, servers })
    }

    pub(super) fn ours(&self) -> &Server {
        &self.servers[0]
    }

    pub(super) fn connector(&self) -> u32 {
        self.connector.child.id()
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter()
    }
}

/// Leads the hosts to the origins, without TLS between them, as the peers do it; gives the connector of one of them.
fn configure(edge: &Edge, origins: &Origins, binary: &Path) -> Result<Peer> {
    let zone = edge.fill(0)?;
    let mut api = edge.connect()?;
    api.call("PATCH", &format!("/zones/{zone}/settings/ssl"), &json!({"value": "flexible"}))?;
    let tunnels = format!("/accounts/{}/cfd_tunnel", edge.account);
    let tunnel = api.call("POST", &tunnels, &json!({"name": "bench", "config_src": "cloudflare"}))?;
    let tunnel = tunnel["id"].as_str().context("a tunnel without an id")?.to_owned();
    let rules = json!({"config": {"ingress": [{"service": format!("http://{}", origins.files.address)}]}});
    api.call("PUT", &format!("{tunnels}/{tunnel}/configurations"), &rules)?;
    let through = format!("{tunnel}.cfargotunnel.com");
    for record in [
        by_address(HOST, origins.files.address),
        by_address(UPLOAD_HOST, origins.uploads.address),
        json!({"type": "CNAME", "name": TUNNEL_HOST, "content": through, "proxied": true}),
    ] {
        api.call("POST", &format!("/zones/{zone}/dns_records"), &record)?;
    }
    let token = api.call("GET", &format!("{tunnels}/{tunnel}/token"), &Value::Null)?;
    let mut command = on_core(CLIENT_CORE, binary);
    command.args(["tunnel", "run", "--quiet"]).env("TUNNEL_TOKEN", token.as_str().context("a token")?);
    Peer::start("connector", edge.api, &mut command)
}

/// A record that leads a host to an origin.
pub(super) fn by_address(host: &str, origin: SocketAddr) -> Value {
    json!({
        "type": "A", "name": host, "content": origin.ip().to_string(), "proxied": true,
        "bartizan": {"origin_port": origin.port()},
    })
}

/// Real-time priorities (sched(7)).
const FIRST: &str = "2";
const SECOND: &str = "1";

/// When a process runs that others on its core are ready beside.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    Any,
    /// Before them.
    First,
}

impl Turn {
    /// The first, where we may give it.
    pub(super) fn best() -> Turn {
        let may = process::command("chrt").args(["--fifo", FIRST, "true"]).status();
        if may.is_ok_and(|status| status.success()) {
            return Turn::First;
        }
        eprintln!("no real-time priority is given here (chrt): whatever else the machine does is in the figures");
        Turn::Any
    }

    /// Lets the threads of an edge that serve visitors run after those that are first, and before all others.
    pub(super) fn follow(self, edge: u32) -> Result<()> {
        if matches!(self, Turn::Any) {
            return Ok(());
        }
        for thread in fs::read_dir(format!("/proc/{edge}/task")).context("cannot list the threads of the edge")? {
            let thread = thread?;
            if fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with("http-")) {
                let number = thread.file_name();
                process::run(process::command("chrt").args(["--fifo", "--pid", SECOND]).arg(number))?;
            }
        }
        Ok(())
    }

    pub(super) fn on_core(self, core: &str, program: &Path) -> Command {
        match self {
            Turn::Any => on_core(core, program),
            Turn::First => {
                let mut command = on_core(core, Path::new("chrt"));
                command.args(["--fifo", FIRST]).arg(program);
                command
            }
        }
    }
}

/// nginx with files.
pub(super) fn origin(folder: &Path, name: &'static str, turn: Turn, core: &str) -> Result<Peer> {
    let (address, here) = (free_apart()?, folder.display());
    let files = folder.join("files");
    fs::create_dir_all(&files).context("cannot make a folder for files")?;
    for (name, size) in FILES {
        fs::write(files.join(name), vec![b'x'; size]).context("cannot write a file")?;
    }
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {here}/{name}.pid;\nerror_log {here}/{name}.log error;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout {IDLE_SECONDS}s;\n  \
         sendfile on;\n  tcp_nopush on;\n  open_file_cache max=10;\n  {paths}\n  \
         server {{ listen {address} backlog=4096; root {here}/files; }}\n}}\n",
        paths = temporary_paths(folder, name)
    );
    let mut command = turn.on_core(core, &found("nginx")?);
    Peer::start(name, address, command.args(nginx_arguments(folder, name, &text)?))
}

fn nginx(
    folder: &Path,
    origins: &Origins,
    certificate: &Certificate,
    descriptors: usize,
) -> Result<(Peer, SocketAddr)> {
    let (http, https, here) = (free_apart()?, free_apart()?, folder.display());
    let text = format!(
        "daemon off;\nworker_processes 1;\nworker_rlimit_nofile {descriptors};\npid {here}/nginx.pid;\n\
         error_log {here}/nginx.log error;\nevents {{ worker_connections {descriptors}; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout {IDLE_SECONDS}s;\n  {paths}\n  \
         upstream origin {{ server {origin}; keepalive {KEPT_TO_ORIGIN}; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {http} backlog=4096;\n    listen {https} ssl http2 backlog=4096;\n    \
         ssl_certificate {chain};\n    ssl_certificate_key {key};\n    ssl_protocols TLSv1.3;\n    \
         client_max_body_size 0;\n    proxy_request_buffering off;\n    proxy_http_version 1.1;\n    \
         location {UPLOAD_PATH} {{\n      proxy_pass http://{uploads};\n      proxy_set_header Connection \"\";\n    }}\n    \
         location / {{\n      proxy_pass http://origin;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n      \
         proxy_set_header X-Forwarded-For $remote_addr;\n      proxy_set_header X-Forwarded-Proto $scheme;\n    \
         }}\n  }}\n}}\n",
        paths = temporary_paths(folder, "nginx"),
        origin = origins.files.address,
        uploads = origins.uploads.address,
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    );
    let mut command = pinned(&found("nginx")?);
    Ok((Peer::start("nginx", http, command.args(nginx_arguments(folder, "nginx", &text)?))?, https))
}

/// Writes the configuration; gives the words of the command line. It complains of a log file that it has as a default and
/// never writes to, unless it is told another.
fn nginx_arguments(folder: &Path, name: &str, text: &str) -> Result<[PathBuf; 4]> {
    let path = folder.join(format!("{name}.conf"));
    fs::write(&path, text).context("cannot write nginx's configuration")?;
    Ok(["-e".into(), folder.join(format!("{name}.log")), "-c".into(), path])
}

/// Where nginx keeps what it does not keep in memory: its default is for root only.
fn temporary_paths(folder: &Path, name: &str) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    kinds.map(|kind| format!("{kind}_temp_path {}/{name}-{kind};", folder.display())).join(" ")
}

fn haproxy(
    folder: &Path,
    origins: &Origins,
    certificate: &Certificate,
    descriptors: usize,
) -> Result<(Peer, SocketAddr)> {
    // It wants two descriptors for each connection.
    let (http, https, connections) = (free_apart()?, free_apart()?, descriptors.saturating_sub(100) / 2);
    let text = format!(
        "global\n  nbthread 1\n  maxconn {connections}\n  ssl-default-bind-options ssl-min-ver TLSv1.3\n\
         defaults\n  mode http\n  option http-keep-alive\n  option forwardfor\n  http-reuse always\n  \
         timeout connect 5s\n  timeout client {IDLE_SECONDS}s\n  timeout server {IDLE_SECONDS}s\n  \
         timeout http-keep-alive {IDLE_SECONDS}s\n  maxconn {connections}\n\
         frontend plain\n  bind {http} backlog 4096\n  default_backend out\n  use_backend uploads if {{ path {UPLOAD_PATH} }}\n\
         frontend tls\n  bind {https} backlog 4096 ssl crt {together} alpn h2,http/1.1\n  default_backend out\n  use_backend uploads if {{ path {UPLOAD_PATH} }}\n\
         backend uploads\n  server sink {uploads}\n\
         backend out\n  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}\n  server origin {origin}\n",
        together = certificate.together.display(),
        origin = origins.files.address,
        uploads = origins.uploads.address,
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text).context("cannot write HAProxy's configuration")?;
    let mut command = pinned(&found("haproxy")?);
    Ok((Peer::start("HAProxy", http, command.args(["-db", "-q", "-f"]).arg(&path))?, https))
}

/// A certificate of the kind that our edge issues (ECDSA, P-256), for the peers.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    /// Both in one file, as HAProxy wants it.
    together: PathBuf,
}

impl Certificate {
    fn make(folder: &Path) -> Result<Certificate> {
        let [chain, key, together] = ["chain.pem", "key.pem", "together.pem"].map(|name| folder.join(name));
        let mut command = process::command("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args([
            "-days",
            "30",
            "-subj",
            &format!("/CN={ZONE}"),
            "-addext",
            &format!("subjectAltName=DNS:{HOST}"),
        ]);
        process::read(command.arg("-keyout").arg(&key).arg("-out").arg(&chain))?;
        fs::write(&together, [fs::read(&chain)?, fs::read(&key)?].concat()).context("cannot write a certificate")?;
        Ok(Certificate { chain, key, together })
    }
}
