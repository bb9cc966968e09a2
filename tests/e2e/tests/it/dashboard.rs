//! The dashboard in a real browser: what a person does there is done, as the API and DNS tell it.

use std::net::Ipv4Addr;
use std::process::Command;

use bartizan_e2e::origin::{Origin, free, here};
use bartizan_e2e::{Edge, curl, dns, finish, python_with_sdk, wait};
use serde_json::{Value, json};

/// Lets a browser do what a part of the script says; what it has to tell is its last line.
fn in_browser(edge: &Edge, part: &str) -> Value {
    in_browser_with(edge, part, &[])
}

fn in_browser_with(edge: &Edge, part: &str, more: &[(&str, &str)]) -> Value {
    let link = edge.command(["dashboard", "--json"]);
    let link: Value = serde_json::from_str(&finish(&mut { link }).ok()).expect("an object");
    let out = finish(
        Command::new(python_with_sdk().with_file_name("node"))
            .arg(here("clients/dashboard.mjs"))
            .arg(python_with_sdk().with_file_name("../js/node_modules"))
            .args([part, link["link"].as_str().expect("a link")])
            .env("EDGE", edge.ready().to_string())
            .envs(more.iter().copied()),
    )
    .ok();
    serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// From the first visit on: a link, a password, a zone, its records.
#[test]
fn a_person_serves_a_zone_from_a_browser() {
    let edge = Edge::start();
    let told = in_browser(&edge, "zone");
    let zone = told["zone"].as_str().expect("an id");
    let records = edge.get(&format!("/zones/{zone}/dns_records?per_page=100&order=name"));
    let all: Vec<String> = records
        .as_array()
        .expect("a list")
        .iter()
        .map(|record| format!("{} {} {}", record["name"], record["type"], record["proxied"]).replace('"', ""))
        .collect();
    assert_eq!(
        all,
        [
            "evil.page.example TXT false",
            "imported.page.example A false",
            "page.example MX false",
            "www.page.example A true",
        ]
    );
    let served = |name: &str, kind: &str| dns::dig(edge.dns(), &[name, kind]).answers();
    // The edge stands in front of one, and the others are as they were typed.
    assert!(served("www.page.example", "A").iter().any(|line| line.contains("127.0.0.1")));
    assert!(served("imported.page.example", "A").iter().any(|line| line.contains("192.0.2.44")));
    assert!(served("page.example", "MX").iter().any(|line| line.contains("10 mail.page.example")));
    // Who logged in has a password now, and the link is good no more.
    let users = edge.get("/bartizan/users");
    assert_eq!(users[0]["has_password"], json!(true));
}

/// What stands behind names: DNSSEC, settings, rules, applications, tunnels, pools, tokens and people.
#[test]
fn services_and_rights_from_a_browser() {
    let edge = Edge::start();
    let origin = Origin::files();
    let port = free(Ipv4Addr::LOCALHOST.into()).port().to_string();
    let pool = json!({"name": "behind", "origins": [{"name": "one", "address": "127.0.0.1"}]});
    let pool = edge.post(&format!("/accounts/{}/load_balancers/pools", edge.account()), &pool)["id"].clone();
    let of_pool = free(Ipv4Addr::LOCALHOST.into()).port();
    let pooled = json!({
        "protocol": format!("tcp/{of_pool}"),
        "dns": {"name": format!("pooled.{}", edge.domain())},
        "origin_port": origin.port(),
        "bartizan": {"origin_pool": pool},
    });
    let pooled = edge.post(&format!("/zones/{}/spectrum/apps", edge.zone()), &pooled);
    let told = in_browser_with(&edge, "services", &[("PORT", &port), ("ORIGIN", &origin.port().to_string())]);
    let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{name} in {told}")).to_owned();

    let keys = dns::dig(edge.dns(), &[edge.domain(), "DNSKEY"]).answers();
    assert!(keys.iter().any(|line| line.contains(" 257 3 13 ")), "{keys:?}");
    let setting = |name: &str| edge.get(&format!("/zones/{}/settings/{name}", edge.zone()))["value"].clone();
    assert_eq!((setting("always_use_https"), setting("max_upload")), (json!("on"), json!(100)));
    // The rule was made, and undone in the history.
    let rules = edge.get(&format!("/accounts/{}/firewall/access_rules/rules", edge.account()));
    assert_eq!(rules, json!([]));
    let of =
        |app: &Value| edge.get(&format!("/zones/{}/spectrum/apps/{}", edge.zone(), app["id"].as_str().expect("id")));
    let switched = of(&pooled);
    assert_eq!((&switched["ip_firewall"], &switched["bartizan"]["origin_pool"]), (&json!(false), &pool), "{switched}");
    let apps = edge.get(&format!("/zones/{}/spectrum/apps", edge.zone()));
    let mut others = apps.as_array().expect("applications").iter().filter(|app| app["id"] != pooled["id"]);
    let address = others.next().expect("the one of the page")["bartizan"]["addresses"][0]
        .as_str()
        .unwrap_or_else(|| panic!("{apps}"))
        .to_owned();
    let page = wait::until("the application serves", || curl::try_get(&[&format!("http://{address}:{port}/")]).ok());
    assert_eq!(page.status, 200);

    let tunnels = edge.get(&format!("/accounts/{}/cfd_tunnel?name=office", edge.account()));
    assert!(text("connector").len() > 100 && tunnels[0]["name"] == "office", "{tunnels}");
    let name = format!("app.{}", edge.domain());
    let record = edge.get(&format!("/zones/{}/dns_records?name={name}", edge.zone()));
    assert_eq!(record[0]["content"], format!("{}.cfargotunnel.com", tunnels[0]["id"].as_str().unwrap_or_default()));
    let balanced = dns::dig(edge.dns(), &[&format!("balanced.{}", edge.domain()), "A"]).answers();
    assert!(balanced.iter().any(|line| line.contains("127.0.0.1")), "{balanced:?}");

    let bearer = format!("authorization: Bearer {}", text("token"));
    let as_token = |path: &str| curl::get(&["-H", &bearer, &format!("{}{path}", edge.api_url())]).status;
    let records = format!("/zones/{}/dns_records", edge.zone());
    assert_eq!((as_token("/user/tokens/verify"), as_token(&records), as_token("/bartizan/users")), (200, 200, 403));
    let body = json!({"email": "ann@example.com", "password": text("password")}).to_string();
    let url = format!("{}/bartizan/sessions", edge.api_url());
    assert_eq!(curl::get(&["-H", "content-type: application/json", "-d", &body, &url]).status, 200);
}

/// Devices get certificates, and a host lets in those that have one, until it is taken from them.
#[test]
fn devices_are_known_from_a_browser() {
    let edge = Edge::start();
    let origin = Origin::files();
    let host = edge.proxied("iot", "A", "127.0.0.1", origin.port());
    let file = |name: &str| edge.folder().join(name).to_string_lossy().into_owned();
    let openssl = |words: &[&str]| finish(Command::new("openssl").args(words)).ok();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let request = |name: &str| {
        let (secret, subject) = (file(&format!("{name}.key")), format!("/CN={name}"));
        openssl(&[&["req", "-new"][..], &key, &["-subj", &subject, "-keyout", &secret]].concat())
    };
    let (first, second) = (request("sensor-7"), request("sensor-8"));
    let authority =
        openssl(&[&["req", "-x509"][..], &key, &["-subj", "/CN=Devices", "-keyout", &file("ca.key")]].concat());
    let told = in_browser_with(
        &edge,
        "devices",
        &[("sensor-7", &first), ("sensor-8", &second), ("CA", &authority), ("HOST", &host)],
    );
    assert_eq!(told["faults"], json!([]), "{told}");
    std::fs::write(file("sensor-8.pem"), told["certificate"].as_str().expect("PEM")).expect("a file of ours");
    let shown = ["--cert", &file("sensor-8.pem"), "--key", &file("sensor-8.key")];
    wait::until("who has a certificate is let in, and nobody else", || {
        let with = edge.try_https(&host, "/", &shown).ok()?.status;
        (with == 200 && edge.https_get(&host, "/", &[]).status == 403).then_some(())
    });
    let all = edge.get(&format!("/zones/{}/client_certificates?status=revoked", edge.zone()));
    assert_eq!((all.as_array().map(Vec::len), &all[0]["common_name"]), (Some(1), &json!("sensor-7")), "{all}");
}

/// What was asked for with dig is what a person sees: the names, those that are missing, how they came, one of them alone.
#[test]
fn queries_are_seen_in_a_browser() {
    let edge = Edge::start();
    edge.post(
        &format!("/zones/{}/dns_records", edge.zone()),
        &json!({"name": "www", "type": "A", "content": "192.0.2.1"}),
    );
    let name = |label: &str| format!("{label}.{}", edge.domain());
    // By another type than what is counted below: until then it is one more name that is not there.
    wait::until("the record is served", || {
        (dns::dig(edge.dns(), &[&name("www"), "AAAA"]).status == "NOERROR").then_some(())
    });
    let ask = |label: &str, more: &[&str], times: usize| {
        for _ in 0..times {
            dns::dig(edge.dns(), &[&[name(label).as_str()][..], more].concat());
        }
    };
    ask("www", &["A"], 3);
    ask("www", &["A", "+tcp"], 2);
    ask("wwww", &["A"], 7);
    ask("ftp", &["A"], 4);
    ask("odd\\;one\\,here", &["TXT"], 2);
    let counted = |filters: &str| {
        let path = format!("/zones/{}/dns_analytics/report?filters={filters}", edge.zone());
        edge.get(&path)["totals"]["queryCount"].as_f64()
    };
    let of = |label: &str, count: f64| counted(&format!("queryType==A;queryName=={}", name(label))) == Some(count);
    wait::until("all of it is counted", || {
        (of("www", 5.0) && of("wwww", 7.0) && of("ftp", 4.0) && counted("queryType==TXT") == Some(2.0)).then_some(())
    });

    let told = in_browser(&edge, "analytics");
    let counts = |list: &Value| -> Vec<(String, u64)> {
        let row = |row: &Value| {
            let text = |at: usize| row[at].as_str().unwrap_or_default().to_owned();
            (text(0), text(1).parse::<u64>().unwrap_or_else(|_| panic!("{row} in {told}")))
        };
        list.as_array().unwrap_or_else(|| panic!("{told}")).iter().map(row).collect()
    };
    let rows = |list: &[(&str, u64)]| list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>();
    let mut missing = counts(&told["missing"]);
    let all: u64 = missing.iter().map(|(_, count)| count).sum();
    assert!(counts(&told["codes"]).contains(&("NXDOMAIN".to_owned(), all)), "{told}");
    missing.retain(|(name, _)| name != "www");
    assert_eq!(missing, rows(&[("wwww", 7), ("ftp", 4), ("odd;one,here", 2)]), "{told}");
    assert!(counts(&told["over"]).contains(&("TCP".to_owned(), 2)), "{told}");
    assert!(counts(&told["one"]["types"]).contains(&("A".to_owned(), 5)), "{told}");
    assert!(counts(&told["one"]["names"]).iter().all(|(name, count)| name == "www" && *count > 5), "{told}");
    assert_eq!(counts(&told["odd"]), rows(&[("odd;one,here", 2)]), "{told}");
    assert_eq!(told["faults"], json!([]), "{told}");
}

/// What was asked for with curl is what a person sees: by host, status and who answered, and one of it alone.
#[test]
fn requests_are_seen_in_a_browser() {
    let edge = Edge::start();
    let origin = Origin::files();
    let host = edge.proxied("www", "A", "127.0.0.1", origin.port());
    for (path, times, expect) in [("/", 4, 200), ("/not-there", 2, 404)] {
        for _ in 0..times {
            assert_eq!(edge.https_get(&host, path, &[]).status, expect);
        }
    }
    let report = format!("/bartizan/zones/{}/http_analytics/report", edge.zone());
    wait::until("all of it is counted", || {
        (edge.get(&report)["totals"]["requestCount"].as_f64() == Some(6.0)).then_some(())
    });
    let told = in_browser(&edge, "requests");
    assert_eq!(told["hosts"], json!([["www", "6"]]), "{told}");
    assert_eq!(told["statuses"], json!([["200", "4"], ["404", "2"]]), "{told}");
    assert_eq!(told["answerers"], json!([["the origin", "6"]]), "{told}");
    assert_eq!(told["missing"], json!([["www", "2"]]), "{told}");
    let ways = told["ways"].as_array().unwrap_or_else(|| panic!("{told}"));
    assert!(ways.contains(&json!(["TLSv1.3", "6"])), "{told}");
    assert_eq!(told["faults"], json!([]), "{told}");
}

/// Who looks sees what is asked, when it is asked.
#[test]
fn what_happens_is_seen_at_once() {
    let edge = Edge::start();
    let origin = Origin::files();
    let host = edge.proxied("www", "A", "127.0.0.1", origin.port());
    let told = in_browser_with(&edge, "live", &[("HOST", &host)]);
    assert_eq!(told["faults"], json!([]), "{told}");
}

/// Where there are more zones and pools than a page of a list has: the last of them is found, chosen and told as the first is.
#[test]
fn nothing_is_missing_where_there_is_much() {
    let edge = Edge::start_with(&["--public-https", "4443"]);
    let account = edge.account();
    let tunnel = edge.post(&format!("/accounts/{account}/cfd_tunnel"), &json!({"name": "far"}));
    let tunnel = tunnel["id"].as_str().expect("an id");
    let mut last = Value::Null;
    for number in 0..60 {
        last = edge.post("/zones", &json!({"name": format!("z{number}.example"), "account": {"id": account}}));
        let origins = json!([{"name": "one", "address": "192.0.2.1", "enabled": true}]);
        edge.post(
            &format!("/accounts/{account}/load_balancers/pools"),
            &json!({"name": format!("pool-{number}"), "origins": origins}),
        );
    }
    edge.post(
        &format!("/zones/{}/dns_records", last["id"].as_str().expect("an id")),
        &json!({"name": "old", "type": "CNAME", "content": format!("{tunnel}.cfargotunnel.com"), "proxied": true}),
    );

    let told = in_browser_with(&edge, "many", &[("TUNNEL", tunnel)]);
    assert_eq!((&told["href"], &told["pools"]), (&json!("https://old.z59.example:4443/"), &json!(60)), "{told}");
    assert_eq!(told["faults"], json!([]), "{told}");
    let records = edge.get(&format!("/bartizan/tunnels/{tunnel}/records"));
    let mut names: Vec<&str> =
        records.as_array().expect("a list").iter().filter_map(|record| record["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a.z58.example", "b.z57.example", "old.z59.example"]);
    // The token is for the zone that was chosen, and for no other.
    let bearer = format!("authorization: Bearer {}", told["token"].as_str().expect("a token"));
    let zones = curl::get(&["-H", &bearer, &format!("{}/zones", edge.api_url())]);
    let zones: Value = serde_json::from_str(&zones.text()).expect("an object");
    let zones: Vec<_> = zones["result"].as_array().expect("a list").iter().map(|zone| zone["name"].clone()).collect();
    assert_eq!(zones, [json!("z57.example")]);
}

/// Whoever is logged in is asked before a link makes somebody else of them: anybody makes one for themselves, and leads others
/// to it.
#[test]
fn a_link_takes_nobody_over_without_a_word() {
    let edge = Edge::start();
    let password = "a long enough password";
    edge.post("/bartizan/users", &json!({"email": "ann@example.com", "password": password}));
    let members = format!("/accounts/{}/members", edge.account());
    let invited = edge.post(&members, &json!({"email": "ann@example.com", "roles": ["DNS"], "status": "pending"}));
    let told = in_browser_with(&edge, "link", &[("PASSWORD", password)]);
    let member = edge.get(&format!("{members}/{}", invited["id"].as_str().expect("an id")));
    assert_eq!(member["status"], "accepted", "{member}");
    assert_eq!(told["faults"], json!([]), "{told}");
    // The session that was left for the link's is over.
    let cookie = format!("cookie: bartizan={}", told["before"].as_str().expect("a secret"));
    let left = curl::get(&["-H", &cookie, &format!("{}/user", edge.api_url())]);
    assert_eq!(left.status, 403, "{}", left.text());
}

/// Every page, in both colour schemes and on a phone, as a judge of access sees it; and nothing that its policy forbids.
#[test]
fn everybody_can_use_every_page() {
    let edge = Edge::start_with_demo();
    let told = in_browser(&edge, "pages");
    assert!(told["pages"].as_u64() >= Some(6), "{told}");
    assert_eq!(told["faults"], json!([]), "{told}");
}

#[test]
fn a_link_is_good_once() {
    let edge = Edge::start();
    let made = edge.post("/bartizan/sessions/codes", &json!({}));
    let body = json!({"code": made["code"]}).to_string();
    let url = format!("{}/bartizan/sessions", edge.api_url());
    let log_in = || curl::get(&["-H", "content-type: application/json", "-d", &body, &url]);
    assert_eq!(log_in().status, 200);
    let again = log_in();
    assert_eq!(again.status, 403, "{}", again.text());
    assert!(again.text().contains("bartizan dashboard"), "{}", again.text());
}

/// A browser gets the dashboard where curl gets the plain page, and what it loads is there.
#[test]
fn browsers_and_terminals_get_each_their_page() {
    let edge = Edge::start();
    let page = edge.ready()["dashboard"].as_str().expect("a URL").to_owned();
    let browser = curl::get(&["-H", "accept: text/html,application/xhtml+xml,*/*;q=0.8", &page]);
    assert!(browser.text().contains("<script type=\"module\""), "{}", browser.text());
    assert!(browser.header("content-security-policy").contains("script-src 'self'"), "{:?}", browser.headers);
    let script =
        browser.text().split("src=\"/").nth(1).and_then(|rest| rest.split('"').next()).expect("a script").to_owned();
    let packed = curl::get(&["--compressed", &format!("{page}{script}")]);
    assert!(packed.header("cache-control").contains("immutable"), "{:?}", packed.headers);
    assert!(packed.text().contains("Bartizan"));
    for (path, part) in [("", "Try next"), ("here", "Try next")] {
        let plain = curl::get(&[&format!("{page}{path}")]);
        assert!(plain.text().contains(part) && !plain.text().contains("<script"), "{}", plain.text());
    }
    for path in ["assets/none.js", "assets/%2e%2e/files.rs", "assets/..%2ffiles.rs"] {
        assert_eq!(curl::get(&["--path-as-is", &format!("{page}{path}")]).status, 404, "{path}");
    }
}
