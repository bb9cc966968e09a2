//! The words of `tunnel`.

use std::path::PathBuf;

use bartizan_connector::{Protocol, Tag, Transport};
use clap::{Args, Subcommand, ValueEnum};

use crate::consent::Consent;
use crate::credentials::Edge;
use crate::token::{Secret, Seen};

/// `tunnel --hostname app.example.com http://localhost:8080` makes the tunnel, the name and the connection in one go.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Tunnel {
    #[command(subcommand)]
    pub action: Option<TunnelAction>,
    /// The name to serve; it need not exist yet
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// The public port of a tcp:// or udp:// service [default: the service's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Serve a built-in hello page instead of a URL
    #[arg(long)]
    pub hello_world: bool,
    /// The tunnel's name [default: the hostname]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Be a server of this pool, which is made if need be, and let the name lead to it: the same on each machine. The tunnel is
    /// called after the pool and the machine, or --name
    #[arg(long, value_name = "POOL", requires = "hostname")]
    pub lb_pool: Option<String>,
    /// The local service: http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT
    #[arg(value_name = "URL", required_unless_present_any = ["hello_world", "url"])]
    pub service: Option<String>,
    #[command(flatten)]
    pub connector: Connector,
    #[command(flatten)]
    pub edge: Edge,
}

/// Over what a connector may be told, in the help.
const CONNECTOR: &str = "The connector";

/// What a connector may be told.
#[derive(Args, Clone)]
pub struct Connector {
    /// The local service, as a flag
    #[arg(long, global = true, help_heading = CONNECTOR, value_name = "URL", env = "TUNNEL_URL")]
    pub url: Option<String>,
    /// Do not verify the certificate of an https service
    #[arg(long, global = true, help_heading = CONNECTOR)]
    pub no_tls_verify: bool,
    /// The name in the service's certificate, where it differs from the URL's host
    #[arg(long, global = true, help_heading = CONNECTOR, value_name = "NAME")]
    pub origin_server_name: Option<String>,
    /// The service speaks HTTP/2: it gets requests of gRPC
    #[arg(long, global = true, help_heading = CONNECTOR)]
    pub http2_origin: bool,
    /// The edge's tunnel address, repeatable; else the API or the token says it
    #[arg(long = "edge", global = true, help_heading = CONNECTOR, value_name = "HOST:PORT", env = "TUNNEL_EDGE", value_delimiter = ',')]
    pub edges: Vec<String>,
    /// That of the edge, which both its API and its tunnel address show.
    #[arg(skip)]
    pub cacert: Option<PathBuf>,
    /// Over what the edge is spoken to: `auto` takes HTTP/2 (TCP) for as long as QUIC (UDP) does not pass, and then carries no
    /// UDP
    #[arg(long, global = true, help_heading = CONNECTOR, value_name = "P", env = "TUNNEL_TRANSPORT_PROTOCOL", value_enum, default_value_t = Spoken::Auto)]
    pub protocol: Spoken,
    /// A label that the edge shows, such as release=canary; repeatable
    #[arg(long = "tag", global = true, help_heading = CONNECTOR, value_name = "KEY=VALUE", env = "TUNNEL_TAG", value_delimiter = ',')]
    pub tags: Vec<Tag>,
    /// Connections to keep
    #[arg(long, global = true, help_heading = CONNECTOR, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub connections: u8,
    /// How long work in flight may go on after a stop, in seconds
    #[arg(long, global = true, help_heading = CONNECTOR, value_name = "S", default_value_t = 30)]
    pub grace_period: u64,
    /// Whom to serve as when root starts it, without any right; `root` stays root [default: `bartizan-tunnel`, else a user
    /// number of its own, 60788]
    #[arg(long, global = true, help_heading = CONNECTOR, value_name = "USER")]
    pub user: Option<String>,
}

/// Over what an edge is spoken to, in the stock client's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spoken {
    Auto,
    Quic,
    Http2,
}

impl From<Spoken> for Protocol {
    fn from(spoken: Spoken) -> Protocol {
        match spoken {
            Spoken::Auto => Protocol::Auto,
            Spoken::Quic => Protocol::Only(Transport::Quic),
            Spoken::Http2 => Protocol::Only(Transport::Http2),
        }
    }
}

#[derive(Subcommand)]
pub enum TunnelAction {
    /// Run an existing tunnel, by its name, or anywhere by its token
    Run {
        /// The tunnel's name or id
        #[arg(required_unless_present_any = ["token", "token_file"])]
        tunnel: Option<String>,
        #[command(flatten)]
        token: Seen<TunnelToken>,
        /// A file with the tunnel's token
        #[arg(long, value_name = "FILE", env = "TUNNEL_TOKEN_FILE")]
        token_file: Option<PathBuf>,
    },
    /// Make a tunnel
    Create {
        /// What it is called
        name: String,
    },
    /// All tunnels
    List,
    /// One tunnel and its connections
    Info {
        /// By name or id
        tunnel: String,
    },
    /// Delete a tunnel that nobody uses
    Delete {
        /// By name or id
        tunnel: String,
        /// Even with connections
        #[arg(long, short)]
        force: bool,
        /// And the records by which names lead to it. Without it they stay, as with the stock client, and are named
        #[arg(long)]
        routes: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Drop a tunnel's connections
    Cleanup {
        /// By name or id
        tunnel: String,
    },
    /// The tunnel's token
    Token {
        /// By name or id
        tunnel: String,
    },
    /// Point a name at a tunnel
    Route {
        #[command(subcommand)]
        route: TunnelRoute,
    },
}

#[derive(Subcommand)]
pub enum TunnelRoute {
    /// Make or change the name's record
    Dns {
        /// The tunnel, by name or id
        tunnel: String,
        /// The name; its zone is found by itself
        hostname: String,
        /// Replace a record that points elsewhere
        #[arg(long, short = 'f')]
        overwrite_dns: bool,
    },
}

/// The token of a connector.
#[derive(Args, Clone, Default)]
pub struct TunnelToken {
    /// The tunnel's token: all that a machine needs; `-` reads it from standard input. On the command line everybody on
    /// this machine sees it
    #[arg(long, value_name = "TOKEN", env = "TUNNEL_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Secret for TunnelToken {
    const ID: &'static str = "token";

    fn text(&self) -> Option<&str> {
        self.token.as_deref()
    }
}
