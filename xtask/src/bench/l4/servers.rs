//! What carries the load: nothing, our edge, our edge with a tunnel, nginx and HAProxy, each to the same two origins.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::ZONE;
use super::super::edge::Edge;
use super::super::peer::{CLIENT_CORE, Peer, SERVER_CORE, found, free_apart, on_core, pinned};
use super::super::report::OURS;
use super::rows::DATAGRAMS;
use crate::debian::NGINX_STREAM;

/// Where our applications have their addresses.
const POOL: &str = "127.77.0.0/16";

/// Applications over TCP, each with an address of its own: one lets in no more than 10,000 new connections a second.
const APPS: usize = 4;

/// The longest that nginx and HAProxy leave a connection or a flow alone.
const IDLE_SECONDS: u32 = 600;

/// The origins, on the core of the load generator.
pub(super) struct Origins {
    tcp: Peer,
    udp: Peer,
}

impl Origins {
    pub(super) fn start(binaries: &Path) -> Result<Origins> {
        let (tcp, udp) = (free_apart()?, free_apart()?);
        let mut pour = on_core(CLIENT_CORE, &binaries.join("pour"));
        let tcp = Peer::start("origin", tcp, pour.args(["--what", "origin", "--at", &tcp.to_string()]))?;
        let mut echo = on_core(CLIENT_CORE, &binaries.join("echo"));
        let udp = Peer::start("echo", udp, echo.args(["--listen", &udp.to_string()]))?;
        Ok(Origins { tcp, udp })
    }
}

/// Something that carries the load, or nothing.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) tcp: Vec<SocketAddr>,
    pub(super) udp: Option<SocketAddr>,
    /// The process whose CPU and memory count; none if the load goes to the origins directly.
    pub(super) process: Option<u32>,
}

impl Server {
    pub(super) fn direct(origins: &Origins) -> Server {
        Server { name: "direct", tcp: vec![origins.tcp.address], udp: Some(origins.udp.address), process: None }
    }

    /// Where a load of this kind goes.
    pub(super) fn addresses(&self, what: &str) -> &[SocketAddr] {
        if what == DATAGRAMS.what { self.udp.as_slice() } else { &self.tcp }
    }

    /// Each address, and a load that shows whether a server answers there.
    pub(super) fn every_address(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let udp = self.udp.iter().map(|address| (DATAGRAMS.what, *address));
        self.tcp.iter().map(|address| ("trips", *address)).chain(udp)
    }

    fn peer(peer: &Peer, udp: Option<SocketAddr>) -> Server {
        Server { name: peer.name, tcp: vec![peer.address], udp, process: Some(peer.child.id()) }
    }
}

/// All that runs. Dropped, it ends; the fields in this order, so that the connector goes before its edge.
pub(super) struct Field {
    connector: Peer,
    _edge: Edge,
    _peers: [Peer; 2],
    _origins: Origins,
    pub(super) direct: Server,
    pub(super) ours: Server,
    pub(super) tunnel: Server,
    pub(super) nginx: Server,
    pub(super) haproxy: Server,
}

impl Field {
    pub(super) fn start(binary: &Path, binaries: &Path, folder: &Path, descriptors: usize) -> Result<Field> {
        let origins = Origins::start(binaries)?;
        let words = ["--pool", POOL, "--ports", "sk_lookup"];
        let data = folder.join("data");
        // A new one each time: applications of an earlier run lead to origins that are gone.
        let _ = fs::remove_dir_all(&data);
        let edge = Edge::start_with(binary, &data, Some(SERVER_CORE), &words)?;
        let zone = edge.fill(0)?;
        let mut setup = Setup { edge: &edge, zone, made: 0 };
        let ours = setup.direct(&origins)?;
        let (tunnel, connector) = setup.tunnel(&origins, binary)?;
        let (nginx, nginx_udp) = nginx(folder, &origins, descriptors)?;
        let haproxy = haproxy(folder, &origins, descriptors)?;
        Ok(Field {
            direct: Server::direct(&origins),
            ours,
            tunnel,
            nginx: Server::peer(&nginx, Some(nginx_udp)),
            haproxy: Server::peer(&haproxy, None),
            connector,
            _edge: edge,
            _peers: [nginx, haproxy],
            _origins: origins,
        })
    }
}

impl Field {
    /// The process that dials the origin behind the tunnel.
    pub(super) fn connector(&self) -> u32 {
        self.connector.child.id()
    }
}

/// Makes the applications of the bench through our API.
struct Setup<'a> {
    edge: &'a Edge,
    zone: String,
    made: usize,
}

impl Setup<'_> {
    fn direct(&mut self, origins: &Origins) -> Result<Server> {
        let tcp = json!({"origin_direct": [format!("tcp://{}", origins.tcp.address)]});
        let udp = json!({"origin_direct": [format!("udp://{}", origins.udp.address)]});
        self.server(OURS, &tcp, &udp)
    }

    /// The same origins behind a connector of ours.
    fn tunnel(&mut self, origins: &Origins, binary: &Path) -> Result<(Server, Peer)> {
        let mut api = self.edge.connect()?;
        let tunnels = format!("/accounts/{}/cfd_tunnel", self.edge.account);
        let tunnel = api.call("POST", &tunnels, &json!({"name": "bench"}))?;
        let id = tunnel["id"].as_str().context("a tunnel without an id")?;
        let token = api.call("GET", &format!("{tunnels}/{id}/token"), &Value::Null)?;
        let mut command = on_core(CLIENT_CORE, binary);
        command.args(["tunnel", "run", "--quiet"]).env("TUNNEL_TOKEN", token.as_str().context("a token")?);
        let connector = Peer::start("connector", self.edge.api, &mut command)?;
        let name = format!("{id}.cfargotunnel.com");
        let origin = |at: SocketAddr| {
            let bartizan = json!({"origin_address": at.ip().to_string()});
            json!({"origin_dns": {"name": name}, "origin_port": at.port(), "bartizan": bartizan})
        };
        let server = self.server("tunnel", &origin(origins.tcp.address), &origin(origins.udp.address))?;
        Ok((server, connector))
    }

    fn server(&mut self, name: &'static str, tcp: &Value, udp: &Value) -> Result<Server> {
        Ok(Server {
            name,
            tcp: (0..APPS).map(|_| self.app("tcp", tcp)).collect::<Result<_>>()?,
            udp: Some(self.app("udp", udp)?),
            process: Some(self.edge.process()),
        })
    }

    /// Makes an application; gives the address that it got.
    fn app(&mut self, protocol: &str, origin: &Value) -> Result<SocketAddr> {
        let port = 9_000;
        self.made += 1;
        let mut body = json!({
            "protocol": format!("{protocol}/{port}"),
            "dns": {"type": "CNAME", "name": format!("l4-{}.{ZONE}", self.made)},
        });
        for (key, value) in origin.as_object().context("an origin")? {
            body[key] = value.clone();
        }
        let path = format!("/zones/{}/spectrum/apps", self.zone);
        let app = self.edge.connect()?.call("POST", &path, &body)?;
        let address = app["bartizan"]["addresses"][0].as_str().with_context(|| format!("no address in {app}"))?;
        Ok(SocketAddr::new(address.parse().context("not an address")?, port))
    }
}

fn nginx(folder: &Path, origins: &Origins, descriptors: usize) -> Result<(Peer, SocketAddr)> {
    let (tcp, udp, here) = (free_apart()?, free_apart()?, folder.display());
    let (to_tcp, to_udp) = (origins.tcp.address, origins.udp.address);
    let text = format!(
        "load_module {NGINX_STREAM};\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile {descriptors};\n\
         pid {here}/nginx.pid;\nerror_log {here}/nginx.log error;\nevents {{ worker_connections {descriptors}; }}\n\
         stream {{\n  proxy_timeout {IDLE_SECONDS}s;\n  \
         server {{ listen {tcp} backlog=4096; proxy_pass {to_tcp}; }}\n  \
         server {{ listen {udp} udp; proxy_pass {to_udp}; }}\n}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text).context("cannot write nginx's configuration")?;
    // Without this it reports an error about its default log file, which it never writes to.
    let log = folder.join("nginx.log");
    let mut command = pinned(&found("nginx")?);
    Ok((Peer::start("nginx", tcp, command.arg("-e").arg(log).arg("-c").arg(&path))?, udp))
}

fn haproxy(folder: &Path, origins: &Origins, descriptors: usize) -> Result<Peer> {
    // It needs two descriptors for each connection, and two for the pipe of every fourth.
    let (address, connections) = (free_apart()?, descriptors.saturating_sub(super::SPARE_DESCRIPTORS) * 2 / 5);
    let origin = origins.tcp.address;
    let text = format!(
        "global\n  nbthread 1\n  maxconn {connections}\n\
         defaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  timeout client {IDLE_SECONDS}s\n  \
         timeout server {IDLE_SECONDS}s\n  maxconn {connections}\n\
         frontend in\n  bind {address} backlog 4096\n  default_backend out\n\
         backend out\n  server origin {origin}\n"
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text).context("cannot write HAProxy's configuration")?;
    let mut command = pinned(&found("haproxy")?);
    Peer::start("HAProxy", address, command.args(["-db", "-q", "-f"]).arg(&path))
}
