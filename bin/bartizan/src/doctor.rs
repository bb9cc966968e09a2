//! `bartizan doctor`: what would keep `up` from starting, and how to mend it. It changes nothing but what `--rebuild` asks
//! for.

mod directory;

use std::cmp::Ordering;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_api::NEW_CREDENTIALS;
use bartizan_observed::ProblemKind;
use bartizan_store::{Examined, Store, Unseen, Wrong};
use bartizan_v4::{Edge, Status, StatusProblem};
use rustix::thread::CapabilitySet;
use serde::Serialize;

use crate::any_port::PortsMode;
use crate::client::Api;
use crate::data_dir::{self, Local};
use crate::failure::{Cause, Failure};
use crate::holder::{self, Transport};
use crate::host;
use crate::listen::{DNS_TLS, HTTP3, Need};
use crate::output::{Output, bad, good};
use crate::remedies::{REBUILD, RESTORE};
use crate::rights::{self, Seen};
use crate::settings::{Addresses, PrivateOrigins, Settings};
use crate::up::Up;
use crate::user;

/// How long a running edge may take to say what it does.
const EDGE_MAX: Duration = Duration::from_secs(5);

/// Kinds and zones that are named in one finding. A damaged disk has more, and says enough with these.
const PARTS_SHOWN_MAX: usize = 8;

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// What was seen.
    detail: String,
    /// What mends it, of a fault.
    remedy: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding { what: what.into(), ok: true, detail: detail.into(), remedy: None }
    }

    fn bad(what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { what: what.into(), ok: false, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// A fault as errors are worded: what it is, a semicolon, and what mends it.
    fn error(what: impl Into<String>, error: impl Display) -> Finding {
        let text = error.to_string();
        match text.split_once("; ") {
            Some((detail, remedy)) => Finding::bad(what, detail, remedy),
            None => Finding { what: what.into(), ok: false, detail: text, remedy: None },
        }
    }
}

pub fn run(up: Up, output: Output) -> anyhow::Result<()> {
    let mut settings = Settings::from(up)?;
    let (asked, data) = (settings.user.as_deref(), settings.data.as_path());
    let look = || {
        let running = data_dir::is_locked(data);
        let stored = Store::examine(data).into_iter().flat_map(file).chain(state(data));
        let local = Local::read(data).filter(|_| running);
        let ca = std::fs::read_to_string(data.join("ca.pem")).ok();
        (local, ca, running, data_dir::holder(data), directory::look(data, running), stored.collect::<Vec<_>>())
    };
    let (local, ca, running, holder, mut findings, stored) = user::as_owner(asked, data, look)?;
    findings.push(process(&settings, holder.as_deref()));
    findings.extend(stored);
    let told = local.map(|local| told_by_edge(&local, ca));
    if let Some(Err(error)) = &told
        && error.downcast_ref::<Failure>().is_some_and(|failure| failure.cause == Cause::Refused)
    {
        findings.push(Finding::bad("admin.json", "the running edge refuses its token", NEW_CREDENTIALS));
    }
    let told = told.and_then(Result::ok);
    if let Some((api, edge, status)) = &told {
        as_it_runs(&mut settings, *api, edge);
        findings.extend(problems(&status.problems));
    }
    for service in services(&settings) {
        for address in service.addresses.all() {
            for transport in service.transports {
                findings.push(port(&service, *address, *transport, running));
            }
        }
    }
    findings.push(localhost(&settings.domain));
    let families = settings.one_family();
    let both = || "have IPv4 and IPv6 addresses".to_owned();
    findings.push(Finding::good("proxied names", families.unwrap_or_else(both)));
    findings.push(private_origins(settings.private_origins, running, told.is_some()));
    findings.push(applications(&settings));
    findings.extend(host::verdicts().into_iter().map(|seen| Finding {
        what: seen.what.into(),
        ok: seen.ok,
        detail: seen.detail,
        remedy: seen.remedy.map(str::to_owned),
    }));
    conclude(&findings, output)
}

/// Shows what was found, and fails if something of it is wrong.
fn conclude(findings: &[Finding], output: Output) -> anyhow::Result<()> {
    let faults = findings.iter().filter(|finding| !finding.ok).count();
    output.result(&serde_json::to_value(findings)?, || {
        let lines: Vec<_> = findings.iter().map(line).collect();
        lines.join("\n")
    })?;
    match faults {
        0 => Ok(()),
        1 => Err(Failure::new(Cause::Failed, "one thing needs attention").into()),
        n => Err(Failure::new(Cause::Failed, format!("{n} things need attention")).into()),
    }
}

/// Makes the store's file anew from what can be read of it. A running edge does it by itself when it meets damage.
pub fn rebuild(up: Up, output: Output) -> anyhow::Result<()> {
    let settings = Settings::from(up)?;
    let (asked, data) = (settings.user.as_deref(), settings.data.as_path());
    let look = || (data_dir::is_locked(data), data.join("store.sqlite").exists());
    let (running, is_there) = user::as_owner(asked, data, look)?;
    if running {
        let what = format!("a running edge uses {}; stop it first", data.display());
        return Err(Failure::new(Cause::Failed, what).into());
    }
    if !is_there {
        return Err(Failure::new(Cause::Failed, format!("there is no store in {}", data.display())).into());
    }
    // As a start does it, by the user who is to read what it makes. What is root's in root's directory is left so.
    let is_roots = std::fs::metadata(data)?.uid() == 0;
    let mend = || Ok(Store::open(data)?.mend()?);
    let done = match user::find(asked, data)?.filter(|_| !is_roots) {
        Some(user) => {
            user.take_over(data)?;
            rights::apart(Some(user.numbers), CapabilitySet::empty(), mend)
        }
        None => mend(),
    }?;
    let mut findings = vec![Finding::good("the store's file", "made anew from what can be read of it")];
    if done.restored > 0 {
        findings.push(Finding::good("the change log", format!("had {} objects that were damaged", done.restored)));
    }
    if !done.lost.is_empty() {
        let keys: Vec<&str> = done.lost.keys.iter().map(String::as_str).collect();
        let detail = format!("{} objects are lost or spoilt: {}", done.lost.count, keys.join(", "));
        findings.push(Finding::bad("what was on damaged pages", detail, format!("write them anew, or {RESTORE}")));
    }
    if done.set_aside > 0 {
        let detail = format!("{} of them are out of the store now", done.set_aside);
        findings.push(Finding::good("objects of another version", detail));
    }
    let beside = |path: &PathBuf| Finding::good("kept, to be looked at or deleted", path.display().to_string());
    findings.extend(done.beside.iter().map(beside));
    conclude(&findings, output)
}

fn line(finding: &Finding) -> String {
    let mark = if finding.ok { good("ok   ") } else { bad("fault") };
    let remedy = finding.remedy.iter().map(|remedy| format!("; {remedy}")).collect::<String>();
    format!("{mark}  {}: {}{remedy}", finding.what, finding.detail)
}

struct Service<'s> {
    name: &'static str,
    /// Where its addresses come from.
    flag: &'static str,
    addresses: &'s Addresses,
    transports: &'static [Transport],
    need: Need,
}

fn services(settings: &Settings) -> [Service<'_>; 7] {
    use Transport::{Tcp, Udp};
    let must = |name, flag, addresses, transports| Service { name, flag, addresses, transports, need: Need::Must };
    [
        must("API", "--api", &settings.api, &[Tcp]),
        must("DNS", "--dns", &settings.dns, &[Udp, Tcp]),
        Service { need: DNS_TLS, ..must("DNS-TLS", "--dns-tls", &settings.dns_tls, &[Tcp]) },
        must("HTTP", "--http", &settings.http, &[Tcp]),
        must("HTTPS", "--https", &settings.https, &[Tcp]),
        Service { need: HTTP3, ..must("HTTP/3", "--https", &settings.https, &[Udp]) },
        must("tunnel", "--tunnel", &settings.tunnel, &[Udp]),
    ]
}

/// The pages of the store's file and its layout.
fn file(seen: Examined) -> Vec<Finding> {
    let what = "the store's file";
    if let Some(unseen) = seen.unseen {
        return vec![not_seen(what, unseen)];
    }
    let pages = match seen.pages.first() {
        None => Finding::good(what, "its pages are sound"),
        Some(_) => Finding::bad(what, format!("its pages are damaged ({})", seen.pages.join("; ")), REBUILD),
    };
    let layout = match seen.schema.cmp(&seen.schema_of_today) {
        Ordering::Equal => Finding::good("layout of the store", format!("schema {}", seen.schema)),
        Ordering::Less => {
            let detail =
                format!("schema {}; `up` brings it to {}, and keeps a copy", seen.schema, seen.schema_of_today);
            Finding::good("layout of the store", detail)
        }
        Ordering::Greater => {
            let known = seen.schema_of_today;
            let detail = format!("schema {}, and this version knows {known} at most", seen.schema);
            Finding::bad("layout of the store", detail, "install a newer one")
        }
    };
    // A file that does not open cannot say it.
    let mut findings: Vec<_> = [pages].into_iter().chain((seen.schema > 0).then_some(layout)).collect();
    if !seen.lost.is_empty() {
        let detail = format!("{} objects are lost or spoilt: {}", seen.lost.count, seen.lost);
        let advice = format!(
            "write them anew, or {RESTORE}; `bartizan doctor --rebuild`, while the edge is stopped, lists them \
                              all and ends this"
        );
        findings.push(Finding::bad("what was on damaged pages", detail, advice));
    }
    if seen.gone > 0 {
        let detail = format!("{} that were acknowledged are not there: the end of the journal was lost", seen.gone);
        let advice =
            format!("make them anew, or {RESTORE}; `bartizan doctor --rebuild`, while the edge is stopped, ends this");
        findings.push(Finding::bad("changes", detail, advice));
    }
    if seen.strangers > 0 {
        let detail = format!("{} have keys that this version does not know", seen.strangers);
        let advice = "run the version that wrote them; or `bartizan doctor --rebuild`, while the edge is stopped, moves them \
                      to a file";
        findings.push(Finding::bad("objects of another version", detail, advice));
    }
    findings
}

/// A file that could not be looked at is not damaged for that.
fn not_seen(what: &str, unseen: Unseen) -> Finding {
    match unseen {
        Unseen::Closed { path, why } => {
            let detail = format!("{} cannot be opened: {why}", path.display());
            Finding::bad(what, detail, directory::to_open(&path, why))
        }
        Unseen::Held => {
            Finding::bad(what, "another process holds it", "see which (`fuser store.sqlite` there) and end it")
        }
        Unseen::Engine(reason) => {
            Finding::bad(what, format!("cannot be read: {reason}"), "see to the disk that it is on")
        }
    }
}

/// What the process that talks to the network may do, or would.
fn process(settings: &Settings, holder: Option<&str>) -> Finding {
    let what = "rights of the process";
    let remedy = "start it again as root without --user root, which gives up what serving does not need";
    if let Some(seen) = holder.and_then(Seen::of) {
        let asked = settings.user.as_deref() == Some("root");
        return if seen.uid != 0 || asked {
            Finding::good(what, seen.to_string())
        } else {
            Finding::bad(what, seen.to_string(), remedy)
        };
    }
    match user::find(settings.user.as_deref(), &settings.data) {
        Err(error) => Finding::error(what, format!("{error:#}")),
        Ok(Some(user)) => match user.reach(&settings.data) {
            Err(error) if settings.data.exists() => Finding::error(what, format!("{error:#}")),
            _ => Finding::good(what, format!("`up` serves as {}, not as root", user.name)),
        },
        Ok(None) if user::is_root() => Finding::good(what, "`up` stays root, as --user asks"),
        Ok(None) => Finding::good(what, "those of this user, less what serving does not need"),
    }
}

/// Whether the objects are those that were committed; nothing where there are none yet.
fn state(data: &Path) -> Option<Finding> {
    let what = "objects of the store";
    match Store::wrong(data) {
        Ok(None) => None,
        Ok(Some(wrong)) if wrong == Wrong::default() => Some(Finding::good(what, "are those that were committed")),
        Ok(Some(Wrong { parts, objects })) => {
            let mut names: Vec<_> = parts.iter().take(PARTS_SHOWN_MAX).map(ToString::to_string).collect();
            if parts.len() > PARTS_SHOWN_MAX {
                names.push(format!("{} more", parts.len() - PARTS_SHOWN_MAX));
            }
            // What is missing has no name any more but that of whose it was.
            let detail = match objects.is_empty() {
                true => format!("some of {} are missing", names.join(", ")),
                false => format!("{} not what was committed: {objects}; they are not served", objects.count),
            };
            let advice =
                format!("{REBUILD}, which takes from the change log what it has; the rest write anew, or {RESTORE}");
            Some(Finding::bad(what, detail, advice))
        }
        Err(error) => Some(Finding::bad(what, format!("cannot be read: {error}"), format!("{REBUILD}; or {RESTORE}"))),
    }
}

fn port(service: &Service<'_>, address: SocketAddr, transport: Transport, running: bool) -> Finding {
    let Service { name, flag, addresses, need, .. } = service;
    let kind = match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let what = format!("{name} {address} {kind}");
    let bound = match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    };
    match bound {
        Ok(()) => Finding::good(what, "free"),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let holder = holder::of(address, transport).unwrap_or_else(|| "a process of another user".to_owned());
            if running && holder.starts_with("bartizan ") {
                Finding::good(what, format!("held by {holder}"))
            } else {
                let without = need.without(addresses);
                let without = without.map(|without| format!("; `up` starts without {} there", without.service));
                let without = without.unwrap_or_default();
                let detail = format!("held by {holder}{without}");
                Finding::bad(what, detail, format!("stop it, or give {flag} ADDR:PORT"))
            }
        }
        Err(error)
            if error.kind() == std::io::ErrorKind::AddrNotAvailable && matches!(addresses, Addresses::Default(_)) =>
        {
            Finding::good(what, "this machine has no such address; left out")
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let remedy = format!("run as root, or give {flag} a port from 1024 up");
            Finding::bad(what, format!("needs privileges ({error})"), remedy)
        }
        Err(error) => Finding::bad(what, error.to_string(), format!("give {flag} ADDR:PORT")),
    }
}

/// What the running edge tells of its clock, of zones that nobody who validates finds, of what it cannot put in force, and of
/// ports that others have.
fn problems(told: &[StatusProblem]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (kind, what, well) in [
        (ProblemKind::Clock, "clock", "it has not jumped"),
        (ProblemKind::Dnssec, "DNSSEC", "no zone is cut off by it"),
        (ProblemKind::PublicAuthority, "real certificates", "none is refused"),
        (ProblemKind::Crls, "lists of revoked certificates", "all are fetched that shall be"),
        (ProblemKind::OriginTls, "TLS with origins", "nothing of it runs out soon"),
        (ProblemKind::Readers, "readers behind tunnels", "there is memory for all that is unread"),
        (ProblemKind::AccessLog, "access log", "its lines are written, where one is kept"),
        (ProblemKind::Statistics, "statistics", "what happens is counted and written"),
        (ProblemKind::Unit, "objects", "all are in force"),
        (ProblemKind::Listener, "ports", "it has all that it can be without"),
    ] {
        let of_kind = told.iter().filter(|problem| problem.kind == kind.as_str());
        let bad = of_kind.map(|problem| Finding::bad(&problem.what, &problem.reason, &problem.remedy));
        let before = findings.len();
        findings.extend(bad);
        if findings.len() == before {
            findings.push(Finding::good(what, well));
        }
    }
    findings
}

/// Where the API of a running edge is, and what the edge says of itself and of how it does.
fn told_by_edge(Local { api, token }: &Local, ca: Option<String>) -> anyhow::Result<(SocketAddr, Edge, Status)> {
    let address = api.split('/').nth(2).unwrap_or_default().parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let api = Api::new(api, token, ca);
    let ask = |path| runtime.block_on(async { tokio::time::timeout(EDGE_MAX, api.get(path)).await });
    let (edge, status) = (ask("/bartizan/edge")??, ask("/bartizan/status")??);
    Ok((address, serde_json::from_value(edge)?, serde_json::from_value(status)?))
}

/// Takes what a running edge does for the flags of this call, which may be others or none.
fn as_it_runs(settings: &mut Settings, api: SocketAddr, edge: &Edge) {
    let sockets = |texts: &[String]| Addresses::Asked(texts.iter().filter_map(|text| text.parse().ok()).collect());
    settings.api = Addresses::Asked(vec![api]);
    settings.dns = sockets(&edge.dns);
    settings.dns_tls = sockets(&edge.dns_tls);
    settings.http = sockets(&edge.http);
    settings.https = sockets(&edge.https);
    settings.tunnel = sockets(&edge.tunnel);
    settings.address = edge.addresses.iter().filter_map(|text| text.parse().ok()).collect();
    settings.domain = edge.domain.clone();
    settings.private_origins = if edge.private_origins { PrivateOrigins::Allow } else { PrivateOrigins::Refuse };
}

fn private_origins(origins: PrivateOrigins, running: bool, told: bool) -> Finding {
    let whose = match (running, told) {
        (true, false) => "of the running edge are not known, and by these flags ",
        (true, true) => "of the running edge ",
        (false, _) => "",
    };
    let detail = match origins {
        PrivateOrigins::Allow => {
            "may have loopback and private addresses; if others have zones here: --private-origins refuse"
        }
        PrivateOrigins::Refuse => "may have public addresses only; if all zones are yours: --private-origins allow",
    };
    Finding::good("origins", format!("{whose}{detail}"))
}

/// How clients would reach applications, and what a better way needs.
fn applications(settings: &Settings) -> Finding {
    let what = "ports of applications";
    let steering = bartizan_plane_bpf::support();
    match (settings.ports, &steering.0) {
        (PortsMode::Auto | PortsMode::SkLookup, Ok(())) => {
            let pinned = std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| {
                mounts.lines().any(|line| line.split(' ').nth(1) == Some(bartizan_plane_bpf::BPFFS))
            });
            let crash = if pinned {
                "; clients wait while a crashed edge is started again"
            } else {
                "; for clients to wait while a crashed edge is started again: mount -t bpf bpf /sys/fs/bpf"
            };
            Finding::good(what, format!("{steering}{crash}"))
        }
        (PortsMode::SkLookup, Err(missing)) => {
            Finding::bad(what, missing.to_string(), "or let `up` choose: without --ports")
        }
        (PortsMode::Auto, Err(missing)) => {
            let max = bartizan_plane_l4::LISTENERS_MAX;
            Finding::good(what, format!("a listener for each, {max} at most, unless nft can hand all over; {missing}"))
        }
        (PortsMode::Tproxy, _) => Finding::good(what, "all, by a rule of the packet filter; `up` says if nft refuses"),
        (PortsMode::Listeners, _) => Finding::good(what, "a listener for each, as asked for"),
    }
}

/// Names below `localhost` need no DNS set-up in browsers and curl; other programs ask the system.
fn localhost(domain: &str) -> Finding {
    let what = format!("names below {domain}");
    if !domain.ends_with(".localhost") && domain != "localhost" {
        return Finding::good(what, "are resolved by whoever delegates the zone to this edge");
    }
    let host = format!("hello.{domain}");
    match std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0)) {
        Ok(_) => Finding::good(what, "resolve on this machine"),
        Err(_) => Finding::good(
            what,
            format!(
                "browsers and curl resolve them by themselves; for other programs add \"127.0.0.1 {host}\" to /etc/hosts"
            ),
        ),
    }
}

/// What helps with each listener, were it at one of these addresses, which somebody has.
#[cfg(test)]
pub fn of_listeners(taken: &[SocketAddr; 2]) -> Vec<String> {
    let settings = Settings::from(Up { data: Some("/nowhere".into()), ..Up::default() }).unwrap();
    let at = |transport: Transport| taken[usize::from(matches!(transport, Transport::Udp))];
    let each = services(&settings).into_iter().flat_map(|service| {
        let transports = service.transports.iter();
        transports
            .map(|transport| port(&service, at(*transport), *transport, false).remedy.unwrap())
            .collect::<Vec<_>>()
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_edge_tells_is_found() {
        let problem = |kind: &str, what: &str| StatusProblem {
            kind: kind.to_owned(),
            what: what.to_owned(),
            reason: "so it is".to_owned(),
            since: std::time::SystemTime::now().into(),
            remedy: "mend it".to_owned(),
        };
        let found = |told: &[StatusProblem]| -> Vec<_> {
            problems(told).into_iter().map(|finding| (finding.what, finding.ok, finding.remedy.is_some())).collect()
        };
        let row = |what: &str, ok: bool| (what.to_owned(), ok, !ok);
        assert_eq!(
            found(&[]),
            [
                "clock",
                "DNSSEC",
                "real certificates",
                "lists of revoked certificates",
                "TLS with origins",
                "readers behind tunnels",
                "access log",
                "statistics",
                "objects",
                "ports"
            ]
            .map(|what| row(what, true))
        );
        let told = [
            problem("unit", "zone/1/dnssec"),
            problem("clock", "the clock"),
            problem("dnssec", "DNSSEC of a.test"),
            problem("dnssec", "DNSSEC of b.test"),
            problem("listener", "DNS over TLS on 127.0.0.1:8853"),
            problem("public_authority", "certificates"),
            problem("crls", "lists of clients"),
            problem("origin_tls", "certificates for origins"),
            problem("readers", "slow visitors"),
            problem("access_log", "the access log"),
            problem("statistics", "the statistics"),
            // By its own look.
            problem("disk", "the disk"),
        ];
        let port = "DNS over TLS on 127.0.0.1:8853";
        let expect = [
            "the clock",
            "DNSSEC of a.test",
            "DNSSEC of b.test",
            "certificates",
            "lists of clients",
            "certificates for origins",
            "slow visitors",
            "the access log",
            "the statistics",
            "zone/1/dnssec",
            port,
        ];
        assert_eq!(found(&told), expect.map(|what| row(what, false)));
    }

    /// Without its first page the file does not say what its layout is.
    #[test]
    fn a_damaged_file_is_told_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let told = || -> Vec<_> {
            let findings = file(Store::examine(dir.path()).unwrap()).into_iter();
            findings.map(|finding| (finding.what, finding.remedy.is_some())).collect()
        };
        let (pages, layout) = ("the store's file".to_owned(), "layout of the store".to_owned());
        assert_eq!(told(), [(pages.clone(), false), (layout, false)]);
        let path = dir.path().join("store.sqlite");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..4096].fill(0);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(told(), [(pages, true)]);
    }
}
