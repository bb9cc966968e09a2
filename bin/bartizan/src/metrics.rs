//! `/metrics`: what the planes counted, as OpenMetrics text. Bounded label sets, never a name of a visitor.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bartizan_plane_dns::Sample;
use bartizan_plane_http::Totals;
use bartizan_plane_l4 as l4;
use bartizan_plane_tunnel::Counts;
use bartizan_routes::{App, Apps};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// Applications with numbers of their own; more would make a scrape longer than it is worth.
const APPS_MAX: usize = 10_000;

/// One metric with all its label sets.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, u64)>,
}

/// The numbers of one moment.
#[derive(Debug)]
struct Moment(Vec<Family>);

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, family.kind)?;
            match family.samples.as_slice() {
                [(labels, value)] if labels.is_empty() => family.write(*value, metric)?,
                samples => {
                    for (labels, value) in samples {
                        family.write(*value, metric.encode_family(labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Family {
    fn write(&self, value: u64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.kind {
            MetricType::Gauge => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder),
            _ => ConstCounter::new(value).encode(encoder),
        }
    }
}

/// What all planes say at one moment.
#[derive(Default)]
pub struct Numbers {
    /// Revision of the configuration in force.
    pub generation: u64,
    pub dns: Vec<Sample>,
    pub http: Totals,
    pub l4: l4::Totals,
    /// The applications that there are.
    pub apps: Apps,
    pub tunnel: Counts,
    /// Connections of connectors.
    pub connections: usize,
}

/// The text for a scrape.
pub fn text(numbers: &Numbers, listening: &l4::Listening) -> String {
    let Numbers { generation, dns, http, l4, apps, tunnel, connections } = numbers;
    let mut families = vec![
        gauge("bartizan_generation", "Revision of the configuration in force", vec![(vec![], *generation)]),
        gauge("bartizan_tunnel_connections", "Connections of connectors", vec![(vec![], *connections as u64)]),
    ];
    families.extend(dns_families(dns));
    families.extend(http_families(http));
    families.extend(l4_families(l4, listening));
    families.extend(app_families(l4, apps));
    families.extend(tunnel_families(tunnel));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Moment(families)));
    let mut text = String::new();
    // Writing to a string does not fail.
    prometheus_client::encoding::text::encode(&mut text, &registry).ok();
    text
}

fn counter(name: &'static str, help: &'static str, samples: Vec<(Labels, u64)>) -> Family {
    Family { name, help, kind: MetricType::Counter, samples }
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<(Labels, u64)>) -> Family {
    Family { name, help, kind: MetricType::Gauge, samples }
}

fn by(label: &'static str, samples: &[(&'static str, u64)]) -> Vec<(Labels, u64)> {
    samples.iter().map(|(value, count)| (vec![(label, Cow::Borrowed(*value))], *count)).collect()
}

/// The plane names its own metrics; the library adds the `_total` of counters.
fn dns_families(samples: &[Sample]) -> Vec<Family> {
    let mut families: BTreeMap<&'static str, Vec<(Labels, u64)>> = BTreeMap::new();
    for sample in samples {
        let labels = sample.labels.iter().map(|(label, value)| (*label, Cow::Borrowed(*value))).collect();
        families.entry(sample.metric).or_default().push((labels, sample.value));
    }
    families
        .into_iter()
        .map(|(name, samples)| match name.strip_suffix("_total") {
            Some(name) => counter(name, "DNS, since the start", samples),
            None => gauge(name, "DNS, now", samples),
        })
        .collect()
}

fn http_families(totals: &Totals) -> Vec<Family> {
    let Totals { requests, origins, visitors } = totals;
    let status = [
        ("1xx", requests.status_1xx),
        ("2xx", requests.status_2xx),
        ("3xx", requests.status_3xx),
        ("4xx", requests.status_4xx),
        ("5xx", requests.status_5xx),
    ];
    let failures = [
        ("refused", origins.refused),
        ("unreachable", origins.unreachable),
        ("unresolved", origins.unresolved),
        ("connect_timed_out", origins.connect_timed_out),
        ("tls", origins.tls),
        ("answer_timed_out", origins.answer_timed_out),
        ("broken", origins.broken),
        ("tunnel_not_connected", origins.tunnel_not_connected),
    ];
    let closed = [
        ("over_limit", visitors.over_limit),
        ("handshake_failed", visitors.handshakes_failed),
        ("too_slow", visitors.too_slow),
        ("blocked", visitors.blocked),
    ];
    vec![
        counter("bartizan_http_requests", "Requests answered, by the status's class", by("status", &status)),
        counter(
            "bartizan_http_requests_by_version",
            "Requests answered, by version",
            by("version", &[("http1", requests.http1), ("http2", requests.http2)]),
        ),
        counter("bartizan_http_screened_out", "Requests refused as malformed", vec![(vec![], requests.screened_out)]),
        counter("bartizan_http_blocked", "Requests refused by an access rule", vec![(vec![], requests.blocked)]),
        counter("bartizan_http_retried", "Requests sent to an origin twice", vec![(vec![], requests.retried)]),
        counter("bartizan_http_origin_failures", "Why an origin gave no answer", by("reason", &failures)),
        counter("bartizan_http_connections", "Visitors' connections accepted", vec![(vec![], visitors.accepted)]),
        gauge("bartizan_http_connections_open", "Visitors' connections open now", vec![(vec![], visitors.open)]),
        counter("bartizan_http_connections_closed", "Connections that we ended, and why", by("reason", &closed)),
        counter(
            "bartizan_http_bytes",
            "Bytes of HTTP after decryption",
            by("direction", &[("in", visitors.bytes_in), ("out", visitors.bytes_out)]),
        ),
    ]
}

/// All applications together.
fn l4_families(totals: &l4::Totals, listening: &l4::Listening) -> Vec<Family> {
    let sum = |number: &dyn Fn(&l4::AppTotals) -> u64| totals.apps.values().map(number).sum::<u64>();
    let failures: Vec<_> =
        l4::OriginFailure::ALL.iter().map(|kind| (kind.as_str(), sum(&|app| app.origin_failures(*kind)))).collect();
    let limits: Vec<_> = l4::Limit::ALL
        .iter()
        .map(|limit| (limit.as_str(), totals.limited(*limit) + sum(&|app| app.limited(*limit))))
        .collect();
    let events: Vec<_> = l4::EdgeEvent::ALL.iter().map(|event| (event.as_str(), totals.events(*event))).collect();
    let bytes = [("in", sum(&|app| app.bytes_in)), ("out", sum(&|app| app.bytes_out))];
    vec![
        counter("bartizan_l4_connects", "Connections and flows let in", vec![(vec![], sum(&|app| app.connects))]),
        counter("bartizan_l4_filtered", "Refused by an access rule", vec![(vec![], sum(&|app| app.filtered))]),
        gauge("bartizan_l4_open", "Connections and flows open now", vec![(vec![], sum(&|app| app.open))]),
        counter("bartizan_l4_bytes", "Bytes carried", by("direction", &bytes)),
        counter("bartizan_l4_origin_failures", "Why an origin was not reached", by("reason", &failures)),
        counter("bartizan_l4_limited", "Refused by a limit", by("limit", &limits)),
        counter("bartizan_l4_events", "What belongs to no application", by("event", &events)),
        gauge(
            "bartizan_l4_listeners",
            "Sockets that listen, by the way they hear",
            by("tier", &[(listening.tier.as_str(), listening.open as u64)]),
        ),
        gauge("bartizan_l4_unheard", "Ports that cannot be heard", vec![(vec![], listening.unheard_total as u64)]),
    ]
}

/// Each application that there is and that did something. The operator makes them, so there are only so many.
fn app_families(totals: &l4::Totals, apps: &Apps) -> Vec<Family> {
    let known = totals.apps.iter().filter_map(|(id, numbers)| Some((apps.get(*id)?, numbers)));
    let mut known: Vec<_> = known.collect();
    known.sort_unstable_by_key(|(app, _)| app.id);
    known.truncate(APPS_MAX);
    let each = |number: &dyn Fn(&l4::AppTotals) -> u64| -> Vec<(Labels, u64)> {
        known.iter().map(|(app, numbers)| (labels_of(app), number(numbers))).collect()
    };
    let failed = |app: &l4::AppTotals| l4::OriginFailure::ALL.iter().map(|kind| app.origin_failures(*kind)).sum();
    let limited = |app: &l4::AppTotals| l4::Limit::ALL.iter().map(|limit| app.limited(*limit)).sum();
    let towards = |direction: &'static str, samples: Vec<(Labels, u64)>| {
        samples.into_iter().map(move |(mut labels, value)| {
            labels.push(("direction", direction.into()));
            (labels, value)
        })
    };
    let bytes = towards("in", each(&|app| app.bytes_in)).chain(towards("out", each(&|app| app.bytes_out)));
    vec![
        counter("bartizan_app_connects", "Connections and flows let in", each(&|app| app.connects)),
        counter("bartizan_app_filtered", "Refused by an access rule", each(&|app| app.filtered)),
        counter("bartizan_app_limited", "Refused by a limit", each(&limited)),
        counter("bartizan_app_origin_failures", "Origin not reached, or lost", each(&failed)),
        counter("bartizan_app_bytes", "Bytes carried", bytes.collect()),
        gauge("bartizan_app_open", "Connections and flows open now", each(&|app| app.open)),
        counter("bartizan_app_closed", "Connections and flows that ended", each(&|app| app.closed)),
        counter(
            "bartizan_app_duration_seconds",
            "How long those had been open, in all",
            each(&|app| app.duration.as_secs()),
        ),
    ]
}

fn labels_of(app: &App) -> Labels {
    let ports = match (*app.ports.start(), *app.ports.end()) {
        (first, last) if first == last => format!("{}/{first}", app.protocol),
        (first, last) => format!("{}/{first}-{last}", app.protocol),
    };
    vec![("app", app.id.to_string().into()), ("name", app.name.to_string().into()), ("protocol", ports.into())]
}

fn tunnel_families(counts: &Counts) -> Vec<Family> {
    let refused = [
        ("unauthorized", counts.unauthorized),
        ("unregistered", counts.unregistered),
        ("source_limit", counts.source_limited),
        ("full", counts.full),
    ];
    let requests =
        [("answered", counts.requests), ("failed", counts.failed), ("no_connection", counts.without_connection)];
    let tcp = [("made", counts.tcp_connections), ("failed", counts.tcp_failed)];
    let udp = [("begun", counts.udp_flows), ("failed", counts.udp_failed)];
    let dropped = [
        ("oversize", counts.datagrams_oversize),
        ("overrun", counts.datagrams_overrun),
        ("unknown", counts.datagrams_unknown),
    ];
    let configurations = [("applied", counts.configurations_applied), ("refused", counts.configurations_refused)];
    vec![
        counter("bartizan_tunnel_registered", "Connections registered", vec![(vec![], counts.registered)]),
        counter("bartizan_tunnel_refused", "Connections refused, and why", by("reason", &refused)),
        counter("bartizan_tunnel_requests", "Requests handed to connectors", by("outcome", &requests)),
        counter("bartizan_tunnel_tcp", "TCP connections through connectors", by("outcome", &tcp)),
        counter("bartizan_tunnel_udp_flows", "UDP flows through connectors", by("outcome", &udp)),
        counter("bartizan_tunnel_datagrams_dropped", "Datagrams dropped, and why", by("reason", &dropped)),
        counter("bartizan_tunnel_configurations", "Configurations pushed", by("outcome", &configurations)),
    ]
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AppId, AppOrigin, AppTls, Name, Protocol, ProxyProtocol, ZoneId};
    use bartizan_routes::AppAddresses;

    use super::*;

    #[test]
    fn the_text_is_openmetrics() {
        let dns = [Sample { metric: "bartizan_dns_queries_total", labels: vec![("transport", "udp")], value: 7 }];
        let listening = l4::Listening { tier: l4::TierName::Listeners, open: 2, unheard: Vec::new(), unheard_total: 0 };
        let app = App {
            id: AppId::from_bytes([7; 16]),
            zone: ZoneId::from_bytes([0; 16]),
            name: Name::parse("ssh.example").unwrap(),
            protocol: Protocol::Tcp,
            ports: 22..=22,
            addresses: AppAddresses::Literal(Vec::new()),
            origin: AppOrigin::Direct(Vec::new()),
            tls: AppTls::Off,
            proxy_protocol: ProxyProtocol::Off,
            ip_firewall: true,
        };
        let mut l4 = l4::Totals::default();
        let mut numbers = l4::AppTotals::default();
        (numbers.connects, numbers.bytes_out) = (5, 600);
        l4.apps.insert(app.id, numbers);
        // Deleted a moment ago.
        l4.apps.insert(AppId::from_bytes([9; 16]), l4::AppTotals::default());
        let mut apps = Apps::empty().edit();
        apps.put(app);
        let numbers =
            Numbers { generation: 3, dns: dns.to_vec(), l4, apps: apps.finish(), connections: 4, ..Numbers::default() };
        let text = text(&numbers, &listening);
        for line in [
            "bartizan_generation 3",
            "bartizan_tunnel_connections 4",
            "bartizan_dns_queries_total{transport=\"udp\"} 7",
            "bartizan_http_requests_total{status=\"2xx\"} 0",
            "bartizan_l4_listeners{tier=\"listeners\"} 2",
            "bartizan_l4_connects_total 5",
            "bartizan_app_connects_total{app=\"07070707070707070707070707070707\",name=\"ssh.example\",protocol=\"tcp/22\"} 5",
            "bartizan_app_bytes_total{app=\"07070707070707070707070707070707\",name=\"ssh.example\",protocol=\"tcp/22\",direction=\"out\"} 600",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
        assert!(!text.contains("0909"), "{text}");
    }
}
