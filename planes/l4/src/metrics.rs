//! What the plane counts, as metrics and for one application.

use bartizan_live::Live;
use bartizan_names::AppId;
use bartizan_observed::{AppCounters, AppCounts, Labels, Listening, Measured, Metric, Sample};
use bartizan_quotas::Memory;
use bartizan_routes::{App, Apps};

use crate::Config;
use crate::counters::{AppTotals, Counters, EdgeEvent, Limit, OriginFailure, Totals};

/// Applications with numbers of their own; more would make a scrape longer than it is worth.
const APPS_MAX: usize = 10_000;

/// The numbers of a plane, which may have ended meanwhile.
pub(crate) struct Counted {
    pub(crate) counters: Counters,
    pub(crate) listening: Live<Listening>,
    /// The applications that there are.
    pub(crate) live: Live<Config>,
    pub(crate) memory: Memory,
}

impl AppCounts for Counted {
    fn app(&self, app: AppId) -> Option<AppCounters> {
        let totals = self.counters.app(app).unwrap_or_default();
        Some(AppCounters {
            connects: totals.connects,
            filtered: totals.filtered + totals.all_limited(),
            origin_errors: totals.all_origin_failures(),
            bytes_ingress: totals.bytes_in,
            bytes_egress: totals.bytes_out,
            open: totals.open,
            duration: totals.duration,
        })
    }
}

impl Measured for Counted {
    fn measure(&self) -> Vec<Metric> {
        let totals = self.counters.read();
        let mut metrics = of_all(&totals);
        metrics.extend(of_listeners(&self.listening.snapshot().value));
        metrics.push(Metric::gauge(
            "bartizan_l4_buffer_bytes",
            "Memory that connections and flows have for what their reader does not take",
            Sample::one(self.memory.used() as u64),
        ));
        metrics.extend(of_each(&totals, &self.live.snapshot().value.apps));
        metrics
    }
}

/// All applications together.
fn of_all(totals: &Totals) -> Vec<Metric> {
    let sum = |number: &dyn Fn(&AppTotals) -> u64| totals.apps.values().map(number).sum::<u64>();
    let failures: Vec<_> =
        OriginFailure::ALL.iter().map(|kind| (kind.as_str(), sum(&|app| app.origin_failures(*kind)))).collect();
    let limits: Vec<_> = Limit::ALL
        .iter()
        .map(|limit| (limit.as_str(), totals.limited(*limit) + sum(&|app| app.limited(*limit))))
        .collect();
    let events: Vec<_> = EdgeEvent::ALL.iter().map(|event| (event.as_str(), totals.events(*event))).collect();
    let bytes = [("in", sum(&|app| app.bytes_in)), ("out", sum(&|app| app.bytes_out))];
    vec![
        Metric::counter("bartizan_l4_connects", "Connections and flows let in", Sample::one(sum(&|app| app.connects))),
        Metric::counter("bartizan_l4_filtered", "Refused by an access rule", Sample::one(sum(&|app| app.filtered))),
        Metric::gauge("bartizan_l4_open", "Connections and flows open now", Sample::one(sum(&|app| app.open))),
        Metric::counter("bartizan_l4_bytes", "Bytes carried", Sample::by("direction", &bytes)),
        Metric::counter(
            "bartizan_l4_origin_failures",
            "Why an origin was not reached",
            Sample::by("reason", &failures),
        ),
        Metric::counter("bartizan_l4_limited", "Refused by a limit", Sample::by("limit", &limits)),
        Metric::counter("bartizan_l4_events", "What belongs to no application", Sample::by("event", &events)),
        Metric::counter("bartizan_l4_untold", "What is missing in the statistics of zones", Sample::one(totals.untold)),
    ]
}

fn of_listeners(listening: &Listening) -> [Metric; 2] {
    [
        Metric::gauge(
            "bartizan_l4_listeners",
            "Sockets that listen, by the way they hear",
            Sample::by("tier", &[(listening.tier.as_str(), listening.open as u64)]),
        ),
        Metric::gauge(
            "bartizan_l4_not_listening",
            "Ports of applications that nobody listens on",
            Sample::one(listening.not_listening_total as u64),
        ),
    ]
}

/// Each application that there is and that did something. The operator makes them, so there are only so many.
fn of_each(totals: &Totals, apps: &Apps) -> Vec<Metric> {
    let known = totals.apps.iter().filter_map(|(id, numbers)| Some((apps.get(*id)?, numbers)));
    let known: Vec<_> = known.take(APPS_MAX).collect();
    let each = |number: &dyn Fn(&AppTotals) -> u64| -> Vec<Sample> {
        known.iter().map(|(app, numbers)| Sample { labels: labels_of(app), value: number(numbers) }).collect()
    };
    let towards = |direction: &'static str, samples: Vec<Sample>| {
        samples.into_iter().map(move |mut sample| {
            sample.labels.push(("direction", direction.into()));
            sample
        })
    };
    let bytes = towards("in", each(&|app| app.bytes_in)).chain(towards("out", each(&|app| app.bytes_out)));
    vec![
        Metric::counter("bartizan_app_connects", "Connections and flows let in", each(&|app| app.connects)),
        Metric::counter("bartizan_app_filtered", "Refused by an access rule", each(&|app| app.filtered)),
        Metric::counter("bartizan_app_limited", "Refused by a limit", each(&AppTotals::all_limited)),
        Metric::counter(
            "bartizan_app_origin_failures",
            "Origin not reached, or lost",
            each(&AppTotals::all_origin_failures),
        ),
        Metric::counter("bartizan_app_bytes", "Bytes carried", bytes.collect()),
        Metric::gauge("bartizan_app_open", "Connections and flows open now", each(&|app| app.open)),
        Metric::counter("bartizan_app_closed", "Connections and flows that ended", each(&|app| app.closed)),
        Metric::counter(
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

#[cfg(test)]
mod tests {
    use bartizan_names::{AppOrigin, AppTls, Name, Protocol, ProxyProtocol, ZoneId};
    use bartizan_routes::AppAddresses;

    use super::*;

    /// What the metrics say, as `name{labels} value`.
    fn lines(metrics: Vec<Metric>) -> Vec<String> {
        bartizan_observed::openmetrics(&metrics).lines().map(str::to_owned).collect()
    }

    #[test]
    fn applications_that_there_are_have_numbers_of_their_own() {
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
        let counters = Counters::default();
        let tally = counters.of(app.id);
        tally.opened();
        tally.moved(0, 600);
        // Deleted a moment ago.
        counters.of(AppId::from_bytes([9; 16])).opened();
        let mut apps = Apps::empty().edit();
        apps.put(app);
        let totals = counters.read();
        let lines = [lines(of_all(&totals)), lines(of_each(&totals, &apps.finish()))].concat();
        for line in [
            "bartizan_l4_connects_total 2",
            r#"bartizan_app_connects_total{app="07070707070707070707070707070707",name="ssh.example",protocol="tcp/22"} 1"#,
            r#"bartizan_app_bytes_total{app="07070707070707070707070707070707",name="ssh.example",protocol="tcp/22",direction="out"} 600"#,
        ] {
            assert!(lines.iter().any(|found| found == line), "{line} not in\n{lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.contains("0909")), "{lines:#?}");
    }
}
