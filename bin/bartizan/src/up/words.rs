//! The words of `up`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bartizan_names::Prefix;
use bartizan_plane_dns::RateLimits;
use clap::Args;

use crate::access_log::AccessLogWords;
use crate::any_port::PortsMode;
use crate::backup::schedule::Backups;
use crate::settings::PrivateOrigins;

/// `up`: each flag replaces the default; `bartizan.toml` and the environment give the same values more quietly.
#[derive(Args, Clone, Default)]
pub struct Up {
    /// Where everything is kept [default: /var/lib/bartizan for root, else ~/.local/share/bartizan]
    #[arg(long, value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
    /// A file of these settings [default: bartizan.toml in the data directory, if there is one]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_CONFIG")]
    pub config: Option<PathBuf>,
    /// The API and its page: by https, and on this machine also without [default: port 8787 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_API", value_delimiter = ',', value_parser = listener)]
    pub api: Vec<SocketAddr>,
    /// What the API is called, beside its addresses and this machine's name: its certificate is for it too
    #[arg(long, value_name = "NAME", env = "BARTIZAN_API_NAME", value_delimiter = ',')]
    pub api_name: Vec<String>,
    /// DNS over UDP and TCP [default: port 5300 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_DNS", value_delimiter = ',', value_parser = listener)]
    pub dns: Vec<SocketAddr>,
    /// DNS over TLS [default: port 8853 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_DNS_TLS", value_delimiter = ',', value_parser = listener)]
    pub dns_tls: Vec<SocketAddr>,
    /// HTTP [default: port 8080 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_HTTP", value_delimiter = ',', value_parser = listener)]
    pub http: Vec<SocketAddr>,
    /// HTTPS, over TCP and, as HTTP/3, over UDP [default: port 8443 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_HTTPS", value_delimiter = ',', value_parser = listener)]
    pub https: Vec<SocketAddr>,
    /// The port by which visitors come for HTTP, if something in front leads them here: redirects name it [default: that of --http]
    #[arg(long, value_name = "PORT", env = "BARTIZAN_PUBLIC_HTTP", value_parser = clap::value_parser!(u16).range(1..))]
    pub public_http: Option<u16>,
    /// The same for HTTPS and HTTP/3: redirects and Alt-Svc name it [default: that of --https]
    #[arg(long, value_name = "PORT", env = "BARTIZAN_PUBLIC_HTTPS", value_parser = clap::value_parser!(u16).range(1..))]
    pub public_https: Option<u16>,
    /// Connectors, over QUIC and HTTP/2 [default: port 7844 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_TUNNEL", value_delimiter = ',', value_parser = listener)]
    pub tunnel: Vec<SocketAddr>,
    /// A short name for this place, letters and digits, as visitors see it in CF-Ray [default: LOC]
    #[arg(long, value_name = "NAME", env = "BARTIZAN_POP")]
    pub pop: Option<String>,
    /// What names behind this edge answer with, IPv4 and IPv6 [default: 127.0.0.1 and ::1]
    #[arg(long, value_name = "IP", env = "BARTIZAN_ADDRESS", value_delimiter = ',', num_args = 1..)]
    pub address: Vec<IpAddr>,
    /// The addresses for applications on TCP and UDP ports, as prefixes [default: 127.77.0.0/16]
    #[arg(long, value_name = "PREFIX", env = "BARTIZAN_POOL", value_delimiter = ',', num_args = 1..)]
    pub pool: Vec<Prefix>,
    /// How clients reach applications [default: the first that works; `bartizan doctor` tells what is missing]
    #[arg(long, value_enum, value_name = "WAY", env = "BARTIZAN_PORTS")]
    pub ports: Option<PortsMode>,
    /// Balancers in front of applications: what comes from them must begin with a PROXY header, which is believed
    #[arg(long, value_name = "PREFIX", env = "BARTIZAN_PROXY", value_delimiter = ',', num_args = 1..)]
    pub proxy: Vec<Prefix>,
    /// Whether records and applications may lead to loopback and private addresses, and name servers of parent zones be asked
    /// there [default: allow while all listeners and pools are on loopback]
    #[arg(long, value_enum, value_name = "WHETHER", env = "BARTIZAN_PRIVATE_ORIGINS")]
    pub private_origins: Option<PrivateOrigins>,
    /// How many calls a caller of the API may make in five minutes [default: 1000000]
    #[arg(long, value_name = "N", env = "BARTIZAN_API_CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    pub api_calls: Option<u32>,
    /// Recursive resolvers that are asked what the parents of zones with DNSSEC have, and for the addresses of names outside
    /// that an apex with a CNAME stands for; origins are always looked up by the system's [default: the system's]
    #[arg(long, value_name = "ADDR[:PORT]", env = "BARTIZAN_RESOLVER", value_parser = name_server, value_delimiter = ',', num_args = 1..)]
    pub resolver: Vec<SocketAddr>,
    /// For how many hours signatures of zones with DNSSEC are valid, from 48 to 720; they begin one hour back, and are renewed
    /// when half of the time is over [default: 50]
    #[arg(long, value_name = "HOURS", env = "BARTIZAN_DNSSEC_VALIDITY", value_parser = crate::settings::dnssec_validity)]
    pub dnssec_validity: Option<u32>,
    /// Divides all waits of DNSSEC: for tests whose resolvers keep nothing for long
    #[arg(long, hide = true, value_name = "N", env = "BARTIZAN_DNSSEC_PACE", value_parser = clap::value_parser!(u32).range(1..))]
    pub dnssec_pace: Option<u32>,
    /// How many answers over UDP without a DNS cookie a network gets in a second, from each thread: `off`, or some of
    /// answers=N (for one name), wildcards=N and denials=N (for one zone), referrals=N (for one delegation), errors=N, bytes=N
    /// (beyond those of the queries), slip=N (of what is over a limit each Nth is answered in short); 0 is none [default:
    /// answers=200,wildcards=1000,denials=500,referrals=200,errors=200,bytes=4000000,slip=2]
    #[arg(long, value_name = "LIMITS", env = "BARTIZAN_DNS_RATE_LIMIT")]
    pub dns_rate_limit: Option<RateLimits>,
    /// Networks that these limits are not for [default: this machine]
    #[arg(long, value_name = "PREFIX", env = "BARTIZAN_DNS_RATE_EXEMPT", value_delimiter = ',', num_args = 1..)]
    pub dns_rate_exempt: Vec<Prefix>,
    /// MMDB files that tell countries and networks, before the built-in country data
    #[arg(long, value_name = "FILE", env = "BARTIZAN_GEO", value_delimiter = ',', num_args = 1..)]
    pub geo: Vec<PathBuf>,
    /// The zone that is made at the first start [default: bartizan.localhost]
    #[arg(long, value_name = "NAME", env = "BARTIZAN_DOMAIN")]
    pub domain: Option<String>,
    /// Threads for DNS over UDP and for HTTP, each [default: one a core]
    #[arg(long, value_name = "N", env = "BARTIZAN_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Whom to serve as when root starts it, with no more than the right to ports below 1024; `root` stays root [default:
    /// the data directory's owner if that is not root, else `bartizan`, else a user number of its own, 60787]
    #[arg(long, value_name = "USER", env = "BARTIZAN_USER")]
    pub user: Option<String>,
    /// No hello page
    #[arg(long)]
    pub no_demo: bool,
    /// For how many days the history stays; 10,000 of the newest entries do anyway [default: 365]
    #[arg(long, value_name = "N", env = "BARTIZAN_HISTORY_DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub history_days: Option<u32>,
    /// How much of it: 1G, 500M; accounts and tokens share it [default: 1G]
    #[arg(long, value_name = "SIZE", env = "BARTIZAN_HISTORY_SIZE", value_parser = crate::settings::size)]
    pub history_size: Option<u64>,
    #[command(flatten)]
    pub backups: Backups,
    #[command(flatten)]
    pub acme: AcmeWords,
    #[command(flatten)]
    pub access_log: AccessLogWords,
}

/// The public authority that issues certificates for zones whose names it issues for.
#[derive(Args, Clone, Default)]
pub struct AcmeWords {
    /// Get real certificates for all public zones from Let's Encrypt, as this address; --acme-agree-terms goes with it
    #[arg(long, value_name = "ME@HOST", env = "BARTIZAN_ACME_EMAIL")]
    pub acme_email: Option<String>,
    /// You have read the terms of the authority and agree to them: <https://letsencrypt.org/repository/>
    #[arg(long, env = "BARTIZAN_ACME_AGREE_TERMS")]
    pub acme_agree_terms: bool,
    /// Another authority, by the URL of its directory [default: Let's Encrypt]
    #[arg(long, value_name = "URL", env = "BARTIZAN_ACME_DIRECTORY")]
    pub acme_directory: Option<String>,
    /// Who the authority's own certificate is from, if this machine does not know it: it is no public one then
    #[arg(long, value_name = "FILE", env = "BARTIZAN_ACME_CA")]
    pub acme_ca: Option<PathBuf>,
}

/// Where to listen. Who gives a port alone has yet to say for whom.
fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!(
            "a port alone does not say for whom: 127.0.0.1:{port} is for this machine, 0.0.0.0:{port} and [::]:{port} are \
             for everybody"
        ),
        Err(_) => "it is an address and a port, such as 127.0.0.1:8080 or [::1]:8080; names are not looked up".to_owned(),
    })
}

/// The address of a name server: its port is 53 if none is given (RFC 1035 §4.2).
pub fn name_server(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let alone = || bare().parse::<IpAddr>().map(|address| (address, 53).into());
    let what = "it is an address, perhaps with a port, such as 192.0.2.53 or [2001:db8::53]:5353";
    text.parse().or_else(|_| alone()).map_err(|_| what.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn listeners_as_people_type_them() {
        for (text, expect) in [
            ("127.0.0.1:8081", None),
            ("[::1]:8081", None),
            ("8081", Some("127.0.0.1:8081 is for this machine")),
            (":8081", Some("0.0.0.0:8081")),
            ("localhost:8081", Some("names are not looked up")),
            ("127.0.0.1", Some("an address and a port")),
            ("127.0.0.1:99999", Some("an address and a port")),
        ] {
            let refused = super::listener(text).err();
            assert_eq!(refused.is_some(), expect.is_some(), "{text}: {refused:?}");
            assert!(refused.is_none_or(|told| told.contains(expect.unwrap_or_default())), "{text}");
        }
    }
}
