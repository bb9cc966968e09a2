//! `/metrics` as Prometheus reads it, and the dashboards of `contrib/grafana` on top of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bartizan_e2e::origin::{Origin, free, here};
use bartizan_e2e::{Edge, Program, curl, dns, wait};
use serde_json::{Value, json};

/// What Grafana fills in: all edges, and a piece of time with some scrapes in it.
const FILLED_IN: [(&str, &str); 2] = [("$instance", ".*"), ("$__rate_interval", "1m")];

fn scraped(edge: &Edge) -> String {
    let page = curl::get(&[&format!("{}metrics", edge.ready()["dashboard"].as_str().expect("a URL"))]);
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    page.text()
}

/// A Prometheus that reads an edge each second.
struct Prometheus {
    address: SocketAddr,
    _program: Program,
}

impl Prometheus {
    fn start(edge: &Edge) -> Prometheus {
        let folder = edge.folder().join("prometheus");
        std::fs::create_dir(&folder).expect("an empty folder");
        let api = edge.ready()["dashboard"].as_str().expect("a URL");
        let target = api.trim_start_matches("http://").trim_end_matches('/');
        let config = folder.join("prometheus.yml");
        // What we give away is what is tried, but for the address and the pace.
        let given = std::fs::read_to_string(here("../../contrib/grafana/prometheus.yml")).expect("a file of ours");
        let ours = given.replace("127.0.0.1:8787", target).replace("scrape_interval: 15s", "scrape_interval: 1s");
        assert!(ours.contains(target) && ours.contains("scrape_interval: 1s"), "{ours}");
        std::fs::write(&config, ours).expect("a file of ours");
        let address = free(Ipv4Addr::LOCALHOST.into());
        let program = Program::start(
            "prometheus",
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address={address}")),
        );
        Prometheus { address, _program: program }
    }

    /// What it says to a question; none while it does not answer.
    fn ask(&self, expression: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/query", self.address);
        let page = curl::try_get(&["--data-urlencode", &format!("query={expression}"), &url]).ok()?;
        // While it starts it says so, and no JSON.
        if page.status == 503 {
            return None;
        }
        assert_eq!(page.status, 200, "{expression}: {}", page.text());
        Some(page.json()["data"]["result"].clone())
    }

    fn has(&self, expression: &str) -> bool {
        self.ask(expression).is_some_and(|found| found.as_array().is_some_and(|rows| !rows.is_empty()))
    }
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = here("../../contrib/grafana/dashboards");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder of ours").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |file: &PathBuf| std::fs::read_to_string(file).expect("a file of ours");
    files.iter().map(|file| (file.display().to_string(), serde_json::from_str(&read(file)).expect("JSON"))).collect()
}

/// Every expression of every panel finds something on a running edge; so do the choice of edges and the marks in time.
#[test]
fn every_panel_has_data() {
    let edge = Edge::start_with_demo();
    let origin = Origin::files();
    let port = free(Ipv4Addr::LOCALHOST.into()).port();
    // Applications are told of once somebody came.
    let app = edge.post(
        &format!("/zones/{}/spectrum/apps", edge.zone()),
        &json!({
            "protocol": format!("tcp/{port}"),
            "dns": {"type": "CNAME", "name": format!("app.{}", edge.domain())},
            "origin_direct": [format!("tcp://127.0.0.1:{}", origin.port())],
        }),
    );
    let address = app["bartizan"]["addresses"][0].as_str().unwrap_or_else(|| panic!("{app}")).to_owned();
    wait::until("the application serves", || TcpStream::connect(format!("{address}:{port}")).ok());
    dns::dig(edge.dns(), &[edge.domain(), "A"]);

    let prometheus = Prometheus::start(&edge);
    // A rate takes two looks; of the application too, which is told of last.
    wait::until("it has looked some times", || {
        let two = ["bartizan_generation", "bartizan_app_connects_total"]
            .map(|name| format!("count_over_time({name}[1m]) > 1"));
        two.iter().all(|expression| prometheus.has(expression)).then_some(())
    });
    let (mut uids, mut asked) = (BTreeSet::new(), 0);
    for (file, board) in dashboards() {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{file}: {value}")).to_owned();
        assert!(uids.insert(text(&board["uid"])), "{file}: its uid is another's too");
        for panel in board["panels"].as_array().unwrap_or_else(|| panic!("{file}: no panels")) {
            for target in panel["targets"].as_array().unwrap_or_else(|| panic!("{file}: {panel}")) {
                let filled_in = |text: String, (name, value): (&str, &str)| text.replace(name, value);
                let expression = FILLED_IN.into_iter().fold(text(&target["expr"]), filled_in);
                assert!(!expression.contains('$'), "{file}: {expression}");
                assert!(prometheus.has(&expression), "{file}: {}: nothing for {expression}", panel["title"]);
                asked += 1;
            }
        }
        for mark in board["annotations"]["list"].as_array().into_iter().flatten() {
            let expression =
                FILLED_IN.iter().fold(text(&mark["expr"]), |text, (name, value)| text.replace(name, value));
            assert!(prometheus.ask(&expression).is_some(), "{file}: {expression}");
        }
    }
    assert!(uids.len() >= 5 && asked > 50, "{uids:?}: {asked} expressions");
    assert!(prometheus.has("up{job=\"bartizan\"} == 1"), "it reads all of what the edge tells");
}

/// What Debian's judge of metrics finds, but for what it does not know: in OpenMetrics the help of a counter has its name
/// without `_total`.
#[test]
fn the_judge_of_metrics_finds_nothing() {
    let edge = Edge::start();
    let file = edge.folder().join("metrics.txt");
    std::fs::write(&file, scraped(&edge)).expect("a file of ours");
    let judged = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(File::open(&file).expect("a file of ours")))
        .output()
        .expect("promtool is there (run `cargo xtask test` once: it installs)");
    let said = [judged.stdout, judged.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    // 3 is that it has something to say; what it cannot read is 1.
    assert!([Some(0), Some(3)].contains(&judged.status.code()), "{said}");
    let known = |line: &&str| {
        line.ends_with("_total no help text")
            || line.starts_with("bartizan_http_request_microseconds_total use base unit")
    };
    let findings: Vec<&str> = said.lines().filter(|line| !known(line)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Whatever visitors send, there are no more series than before, and none of their words.
#[test]
fn strangers_make_no_series() {
    let edge = Edge::start();
    let series = |edge: &Edge| -> BTreeSet<String> {
        let text = scraped(edge);
        assert!(text.ends_with("# EOF\n"), "{text}");
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect()
    };
    let count = |edge: &Edge, name: &str| -> f64 {
        let text = scraped(edge);
        text.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    let before = series(&edge);
    assert!(before.len() < 1_000, "{} series", before.len());
    let http = format!("http://{}/", edge.http());
    for number in 0..20 {
        let name = format!("stranger-{number}.{}", edge.domain());
        dns::dig(edge.dns(), &[&name, "TXT"]);
        curl::get(&["-H", &format!("host: {name}"), "-H", &format!("user-agent: stranger {number}"), &http]);
    }
    wait::until("all of it is counted", || {
        (count(&edge, "bartizan_dns_queries_total{") >= 20.0 && count(&edge, "bartizan_http_requests_total{") >= 20.0)
            .then_some(())
    });
    let more: Vec<String> = series(&edge).difference(&before).cloned().collect();
    assert!(more.is_empty(), "{more:?}");
}
