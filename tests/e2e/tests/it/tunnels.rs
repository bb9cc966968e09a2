//! A service that listens on no public port, reached through the edge by name.

use std::path::Path;
use std::process::Command;

use bartizan_e2e::origin::{Origin, free};
use bartizan_e2e::{Connector, Edge, bartizan, finish, wait};
use serde_json::{Value, json};

/// 64 MiB: more than every buffer on the way together.
const LARGE: usize = 64 << 20;

/// What a body of [`LARGE`] bytes may add to the memory of a process that only passes it on.
const GROWTH_MAX: usize = 48 << 20;

/// The status of a page, 0 while there is no answer at all.
fn status(edge: &Edge, host: &str) -> u16 {
    edge.try_https(host, "/", &[]).map_or(0, |page| page.status)
}

fn tunnels(edge: &Edge) -> Value {
    edge.get(&format!("/accounts/{}/cfd_tunnel?is_deleted=false", edge.account()))
}

/// Waits until the tunnel has that many connections, as the API tells it.
fn connections(edge: &Edge, id: &str, expect: usize) {
    wait::until_eq("connections of the tunnel", &expect, || {
        let connectors = edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/connections", edge.account()));
        let each = connectors.as_array().expect("a list").iter();
        each.map(|connector| connector["conns"].as_array().map_or(0, Vec::len)).sum()
    });
}

#[test]
fn one_command_makes_the_name_and_serves_it() {
    let edge = Edge::start();
    let origin = Origin::files();
    std::fs::write(origin.folder().join("index.html"), "<p>from behind</p>").expect("a temporary file");
    let host = format!("app.{}", edge.domain());
    assert_eq!(edge.dig(&[&host, "A"]).status, "NXDOMAIN", "before");

    let mut connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
    wait::until_eq("the name is there", &vec!["AAAA ::1".to_owned()], || edge.dig(&[&host, "AAAA"]).answers());
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    for version in ["--http1.1", "--http2"] {
        assert_eq!(edge.https_get(&host, "/", &[version]).text(), "<p>from behind</p>");
    }
    assert_eq!(edge.http_get(&host, "/", &[]).text(), "<p>from behind</p>");

    // The name is a record like any other.
    let records = edge.get(&format!("/zones/{}/dns_records?name={host}", edge.zone()));
    assert_eq!((&records[0]["type"], &records[0]["proxied"]), (&json!("CNAME"), &json!(true)), "{records}");
    let tunnels = tunnels(&edge);
    let id = tunnels[0]["id"].as_str().expect("a tunnel").to_owned();
    assert_eq!(records[0]["content"], json!(format!("{id}.cfargotunnel.com")));
    connections(&edge, &id, 4);
    assert_eq!(edge.get(&format!("/accounts/{}/cfd_tunnel/{id}", edge.account()))["status"], "healthy");

    connector.program.terminate();
    let end = connector.program.ended();
    assert!(end.success(), "{end}\n{}", connector.program.output());
    connections(&edge, &id, 0);
    assert_eq!(status(&edge, &host), 530, "the name stays, and says that nobody is there");
}

#[test]
fn over_http2_it_serves_as_well() {
    let edge = Edge::start();
    let host = format!("app.{}", edge.domain());
    let mut connector = Connector::start(&edge, &["--protocol", "http2", "--hostname", &host, "--hello-world"]);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    connections(&edge, tunnels(&edge)[0]["id"].as_str().expect("a tunnel"), 4);
    connector.program.terminate();
    let end = connector.program.ended();
    let output = connector.program.output();
    assert!(end.success() && output.contains("over HTTP/2"), "{end}\n{output}");
}

#[test]
fn the_same_command_again_takes_the_same_tunnel() {
    let edge = Edge::start();
    let origin = Origin::files();
    let host = format!("app.{}", edge.domain());
    for _ in 0..2 {
        let connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
        wait::until_eq("the page is there", &200, || status(&edge, &host));
        connector.program.kill();
    }
    assert_eq!(tunnels(&edge).as_array().map(Vec::len), Some(1));
}

#[test]
fn the_built_in_page_stops_with_the_process() {
    let edge = Edge::start();
    let host = format!("warp.{}", edge.domain());
    let mut connector = Connector::start(&edge, &["--hostname", &host, "--hello-world"]);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    assert!(edge.https_get(&host, "/", &[]).text().to_lowercase().contains("<html"));
    connector.program.terminate();
    connector.program.ended();
    wait::until_eq("the page is gone", &530, || status(&edge, &host));
}

/// The command lines of 2017 and 2018, under the old names: `login`, which leaves a credential that only its owner reads, and then
/// the connector without a subcommand.
#[test]
fn under_the_names_of_the_stock_client() {
    use std::os::unix::fs::PermissionsExt;

    let edge = Edge::start();
    for name in ["cloudflared", "cloudflare-warp"] {
        let home = edge.folder().join(format!("home-of-{name}"));
        std::fs::create_dir(&home).expect("a temporary directory");
        let link = home.join(name);
        std::os::unix::fs::symlink(bartizan_e2e::binary(), &link).expect("a temporary directory");
        let run = |args: &[&str]| {
            let mut command = Command::new(&link);
            command.args(args).env("HOME", &home).env_remove("XDG_CONFIG_HOME");
            command
        };
        let mut login = run(&["login"]);
        login.env("BARTIZAN_API", edge.api_url()).env("BARTIZAN_API_TOKEN", edge.token());
        let login = finish(&mut login).ok();
        let stored =
            login.split_whitespace().find(|word| word.starts_with('/')).expect("where it is stored").to_owned();
        let mode = std::fs::metadata(&stored).expect("a credential").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{stored}");
        // What was stored is all that they know.
        let host = format!("{name}.{}", edge.domain());
        let _connector = Connector::from(run(&["--hostname", &host, "--hello-world"]));
        wait::until_eq("the page is there", &200, || status(&edge, &host));
    }
}

/// Each machine gives the same line; both are servers of the pool, which is made by the first. One that dies gets nobody from the
/// moment that its connections are lost, though no monitor looks.
#[test]
fn machines_share_a_name_by_a_pool() {
    let edge = Edge::start();
    let host = format!("shared.{}", edge.domain());
    let mut connectors = Vec::new();
    let mut origins = Vec::new();
    for name in ["one", "two"] {
        let origin = Origin::files();
        std::fs::write(origin.folder().join("index.html"), name).expect("a temporary file");
        let tag = format!("machine={name}");
        let words = ["--hostname", &host, "--lb-pool", "origin-pool-1", "--name", name, "--tag", &tag, &origin.url()];
        connectors.push(Connector::start(&edge, &words));
        origins.push(origin);
    }
    let pools = || edge.get("/user/load_balancers/pools");
    wait::until_eq("both are servers of the pool", &2, || {
        let pools = pools();
        assert!(pools.as_array().is_some_and(|pools| pools.len() <= 1), "{pools}");
        pools[0]["origins"].as_array().map_or(0, Vec::len)
    });
    let answers = || {
        let mut seen: Vec<String> = (0..24).map(|_| edge.https_get(&host, "/", &[]).text()).collect();
        seen.sort();
        seen.dedup();
        seen
    };
    wait::until_eq("the name is there", &200, || status(&edge, &host));
    wait::until_eq("both answer", &vec!["one".to_owned(), "two".to_owned()], answers);
    let info = finish(&mut edge.command(["tunnel", "info", "one"])).ok();
    assert!(info.contains("quic") && info.contains("machine=one"), "{info}");

    // The same line again adds nothing.
    let again =
        Connector::start(&edge, &["--hostname", &host, "--lb-pool", "origin-pool-1", "--name", "two", "--hello-world"]);
    wait::until("it is connected", || again.program.output().contains("origin-pool-1").then_some(()));
    assert_eq!(pools()[0]["origins"].as_array().map(Vec::len), Some(2));
    again.program.kill();

    connectors.remove(0).program.kill();
    let id = pools()[0]["id"].as_str().expect("an id").to_owned();
    wait::until("it is shown as lost", || {
        let health = edge.get(&format!("/user/load_balancers/pools/{id}/health")).to_string();
        health.contains("no connector of its tunnel is connected").then_some(())
    });
    assert_eq!(answers(), ["two"]);
}

#[test]
fn a_token_is_all_that_a_machine_needs() {
    let edge = Edge::start();
    let origin = Origin::files();
    std::fs::write(origin.folder().join("index.html"), "by token").expect("a temporary file");
    finish(&mut edge.command(["tunnel", "create", "office"])).ok();
    let token = finish(&mut edge.command(["tunnel", "token", "office"])).ok();
    let host = format!("office.{}", edge.domain());
    finish(&mut edge.command(["tunnel", "route", "dns", "office", &host])).ok();

    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let mut command = bartizan(elsewhere.path());
    command.args(["tunnel", "run", "--token", token.trim(), "--url", &origin.url()]);
    let _connector = Connector::from(command);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    assert_eq!(edge.https_get(&host, "/", &[]).text(), "by token");
}

#[test]
fn run_by_name() {
    let edge = Edge::start();
    let origin = Origin::files();
    // A name that means something else in a URL.
    let name = "my laptop & 50%";
    let made = finish(&mut edge.command(["tunnel", "create", name])).ok();
    assert!(made.contains("tunnel run 'my laptop & 50%'"), "{made}");
    let host = format!("named.{}", edge.domain());
    finish(&mut edge.command(["tunnel", "route", "dns", name, &host])).ok();
    let _connector = Connector::start(&edge, &["run", name, "--url", &origin.url()]);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let mut edge = Edge::start();
    let folder = edge.folder().join("large");
    std::fs::create_dir(&folder).expect("a temporary directory");
    let sent = folder.join("sent");
    finish(Command::new("openssl").args(["rand", "-out"]).arg(&sent).arg(LARGE.to_string())).ok();
    let hash = sha256(&sent);

    let echo = Origin::echo();
    let files = Origin::files();
    std::fs::hard_link(&sent, files.folder().join("large"))
        .or_else(|_| std::fs::copy(&sent, files.folder().join("large")).map(drop))
        .expect("a temporary file");
    let (up, down) = (format!("up.{}", edge.domain()), format!("down.{}", edge.domain()));
    let first = Connector::start(&edge, &["--hostname", &up, &echo.url()]);
    let second = Connector::start(&edge, &["--hostname", &down, &files.url()]);
    for host in [&up, &down] {
        wait::until_eq("the page is there", &200, || status(&edge, host));
    }
    let before = [edge.program().memory_peak(), first.program.memory_peak(), second.program.memory_peak()];
    for version in ["--http1.1", "--http2"] {
        let seen = edge.https_get(&up, "/", &[version, "--upload-file", &sent.to_string_lossy()]).json();
        assert_eq!((&seen["length"], &seen["sha256"]), (&json!(LARGE), &json!(hash)), "upload {version}");

        let received = folder.join("received");
        let page = edge.https_get(&down, "/large", &[version, "--output", &received.to_string_lossy()]);
        assert_eq!((page.status, sha256(&received)), (200, hash.clone()), "download {version}");
    }
    let after = [edge.program().memory_peak(), first.program.memory_peak(), second.program.memory_peak()];
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before < GROWTH_MAX, "a body is kept in memory: {before} bytes before, {after} after");
    }
}

fn sha256(path: &Path) -> String {
    let out = finish(Command::new("sha256sum").arg(path)).ok();
    out.split(' ').next().expect("a hash").to_owned()
}

#[test]
fn the_origin_learns_who_asked() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = format!("who.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    let seen = edge.https_get(&host, "/a?b=c", &["--header", "X-Forwarded-For: 203.0.113.9"]).json();
    assert_eq!(seen["path"], "/a?b=c");
    for (name, expect) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("cf-connecting-ip", "127.0.0.1"),
        ("host", &host),
    ] {
        let found: Vec<&Value> = seen["headers"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|pair| pair[0].as_str().is_some_and(|key| key.eq_ignore_ascii_case(name)))
            .map(|pair| &pair[1])
            .collect();
        assert_eq!(found, [expect], "{name} in {seen}");
    }
}

#[test]
fn https_origins_with_and_without_verification() {
    let edge = Edge::start();
    let origin = Origin::nginx_tls("127.0.0.1", "location / { return 200 \"secret\"; }");
    let url = format!("https://localhost:{}", origin.port());
    let (strict, lax) = (format!("strict.{}", edge.domain()), format!("lax.{}", edge.domain()));
    let _strict = Connector::start(&edge, &["--hostname", &strict, &url]);
    let _lax = Connector::start(&edge, &["--hostname", &lax, "--no-tls-verify", &url]);
    wait::until_eq("any certificate", &200, || status(&edge, &lax));
    assert_eq!(edge.https_get(&lax, "/", &[]).text(), "secret");
    wait::until_eq("a certificate that nobody knows", &502, || status(&edge, &strict));
}

#[test]
fn an_origin_that_is_down_is_502_and_the_connector_stays_up() {
    let edge = Edge::start();
    let nobody = free("127.0.0.1".parse().expect("an address"));
    let host = format!("down.{}", edge.domain());
    let mut connector = Connector::start(&edge, &["--hostname", &host, &format!("http://{nobody}")]);
    wait::until_eq("the connector is there, its origin is not", &502, || status(&edge, &host));
    assert!(connector.program.is_running());
    // The origin comes back; nothing else has to be restarted.
    let _origin = bartizan_e2e::Program::start(
        "late origin",
        Command::new("python3").args(["-u", "-m", "http.server", &nobody.port().to_string(), "--bind", "127.0.0.1"]),
    );
    wait::until_eq("the page is there", &200, || status(&edge, &host));
}

#[test]
fn a_wrong_secret_is_refused_with_the_reason() {
    let edge = Edge::start();
    let tunnel = edge.post(&format!("/accounts/{}/cfd_tunnel", edge.account()), &json!({"name": "locked"}));
    let id = tunnel["id"].as_str().expect("an id");
    let token = edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/token", edge.account()));
    let wrong = with_another_secret(token.as_str().expect("a token"));
    let mut connector = Connector::start(&edge, &["run", "--token", &wrong, "--url", "http://127.0.0.1:1"]);
    connector.program.line("why it is refused", |line| line.to_lowercase().contains("unauthorized").then_some(()));
    connections(&edge, id, 0);
}

#[test]
fn an_edge_with_a_foreign_certificate_is_refused() {
    let (edge, other) = (Edge::start(), Edge::start());
    let host = format!("app.{}", edge.domain());
    let ca = other.ca().to_string_lossy().into_owned();
    let mut connector = Connector::start(&edge, &["--hostname", &host, "--hello-world", "--cacert", &ca]);
    connector.program.line("why it does not connect", |line| line.to_lowercase().contains("certificate").then_some(()));
    assert_eq!(status(&edge, &host), 530);
}

/// What the API's configuration says, a connector that runs does, without a restart.
#[test]
fn the_configuration_of_a_tunnel_is_pushed() {
    let edge = Edge::start();
    let origin = Origin::echo();
    finish(&mut edge.command(["tunnel", "create", "remote"])).ok();
    let host = format!("remote.{}", edge.domain());
    finish(&mut edge.command(["tunnel", "route", "dns", "remote", &host])).ok();
    let id = tunnels(&edge)[0]["id"].as_str().expect("an id").to_owned();
    let configure = |ingress: Value| {
        let path = format!("/accounts/{}/cfd_tunnel/{id}/configurations", edge.account());
        edge.ask("PUT", &path, Some(&json!({"config": {"ingress": ingress}}))).result();
    };
    configure(json!([{"service": "http_status:418"}]));
    let _connector = Connector::start(&edge, &["run", "remote"]);
    wait::until_eq("the first configuration", &418, || status(&edge, &host));
    configure(json!([
        {"hostname": host, "path": "^/echo", "service": origin.url()},
        {"hostname": host, "service": "hello_world"},
        {"service": "http_status:404"}
    ]));
    wait::until_eq("the second configuration", &200, || status(&edge, &host));
    assert_eq!(edge.https_get(&host, "/echo/x", &[]).json()["path"], "/echo/x");
    assert!(edge.https_get(&host, "/", &[]).text().to_lowercase().contains("<html"));
}

#[test]
fn cleanup_drops_the_connections() {
    let edge = Edge::start();
    let host = format!("clean.{}", edge.domain());
    let mut connector = Connector::start(&edge, &["--hostname", &host, "--hello-world", "--name", "clean"]);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    finish(&mut edge.command(["tunnel", "cleanup", "clean"])).ok();
    connector.program.line("it says so", |line| {
        (line.contains("lost") || line.contains("ended") || line.contains("closed")).then_some(())
    });
    wait::until_eq("it comes back by itself", &200, || status(&edge, &host));
}

/// The token's text is base64 of JSON; `python3` is here anyway and can do both.
pub(crate) fn with_another_secret(token: &str) -> String {
    let program = "import base64, json, os, sys; t = json.loads(base64.b64decode(sys.argv[1])); \
                   t['s'] = base64.b64encode(os.urandom(32)).decode(); \
                   print(base64.b64encode(json.dumps(t).encode()).decode())";
    finish(Command::new("python3").args(["-c", program, token])).ok().trim().to_owned()
}

#[test]
fn a_tunnel_that_is_deleted_is_gone() {
    let edge = Edge::start();
    let host = format!("gone.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &host, "--hello-world"]);
    wait::until_eq("the page is there", &200, || status(&edge, &host));
    let id = tunnels(&edge)[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/accounts/{}/cfd_tunnel/{id}", edge.account());
    assert_eq!(edge.ask("DELETE", &path, None).error(), "400 1022", "not with live connections");
    edge.delete(&format!("{path}?cascade=true"));
    wait::until_eq("the page is gone", &530, || status(&edge, &host));
    assert_eq!(tunnels(&edge), json!([]));
}

#[test]
fn a_connector_comes_back_after_the_edge_was_killed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let start = |ports: &[String]| {
        let mut command = bartizan(folder.path());
        command.args(["up", "--json", "--no-demo", "--data"]).arg(folder.path().join("data")).args(ports);
        bartizan_e2e::Program::start("up", &mut command)
    };
    let ports: Vec<String> = ["--api", "--dns", "--dns-tls", "--http", "--https", "--tunnel"]
        .iter()
        .flat_map(|name| [(*name).to_owned(), free("127.0.0.1".parse().expect("an address")).to_string()])
        .collect();
    let ready =
        |edge: &mut bartizan_e2e::Program| -> Value { edge.line("ready", |line| serde_json::from_str(line).ok()) };
    let mut edge = start(&ports);
    let first = ready(&mut edge);
    let text = |pointer: &str| first.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned();
    let host = format!("back.{}", text("/zone/name"));
    let mut command = bartizan(folder.path());
    command.env("BARTIZAN_API", text("/api")).env("BARTIZAN_API_TOKEN", text("/token"));
    command.args(["tunnel", "--hostname", &host, "--hello-world"]);
    let mut connector = Connector::from(command);
    let page = || {
        let connect = format!("::{}", text("/https/0"));
        let url = format!("https://{host}/");
        bartizan_e2e::curl::try_get(&["--cacert", &text("/ca"), "--connect-to", &connect, &url])
            .map_or(0, |page| page.status)
    };
    wait::until_eq("the page is there", &200, page);
    edge.kill();
    let mut edge = start(&ports);
    ready(&mut edge);
    wait::until_eq("the page is back", &200, page);
    assert!(connector.program.is_running());
}

/// The names that lead to a tunnel go with it in every zone that there is; what may not be changed is named, and what leads
/// elsewhere stays.
#[test]
fn a_tunnel_goes_with_its_names_in_three_hundred_zones() {
    const ZONES: usize = 300;
    let edge = Edge::start();
    finish(&mut edge.command(["tunnel", "create", "wide"])).ok();
    let id = tunnels(&edge)[0]["id"].as_str().expect("a tunnel").to_owned();
    let target = format!("{id}.cfargotunnel.com");
    let cname = |name: &str, content: &str| json!({"type": "CNAME", "name": name, "content": content, "proxied": true});
    let mut zones = vec![edge.zone().to_owned()];
    for number in 1..ZONES {
        let zone = edge.post("/zones", &json!({"name": format!("z{number}.example")}));
        zones.push(zone["id"].as_str().expect("an id").to_owned());
    }
    for zone in &zones {
        edge.post(&format!("/zones/{zone}/dns_records"), &cname("app", &target));
    }
    edge.post(&format!("/zones/{}/dns_records", zones[7]), &cname("other", "www.example.com"));
    let records = || edge.get(&format!("/bartizan/tunnels/{id}/records?limit=500"));
    assert_eq!(records().as_array().map(Vec::len), Some(ZONES));

    // With a token that may only look at one of the zones: all others are done.
    let all = json!({"com.cloudflare.api.account.*": "*", "com.cloudflare.api.account.zone.*": "*"});
    let one = json!({format!("com.cloudflare.api.account.zone.{}", zones[250]): "*"});
    let groups = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let token = edge.post(
        "/user/tokens",
        &json!({"name": "most", "policies": [
            {"effect": "allow", "permission_groups": groups(&["Cloudflare Tunnel Write", "Account Settings Read", "DNS Write"]), "resources": all},
            {"effect": "deny", "permission_groups": groups(&["DNS Write"]), "resources": one},
            {"effect": "allow", "permission_groups": groups(&["DNS Read"]), "resources": one},
        ]}),
    );
    let mut command = edge.command(["tunnel", "delete", "wide", "--routes", "--yes"]);
    command.env("BARTIZAN_API_TOKEN", token["value"].as_str().expect("a token"));
    let done = finish(&mut command);
    let kept = "app.z250.example";
    assert_eq!(done.status.code(), Some(5), "{}\n{}", done.out, done.err);
    assert!(
        !done.out.contains("wide is deleted") && done.err.contains("and 289 more: deleted"),
        "{}\n{}",
        done.out,
        done.err
    );
    assert!(done.err.contains("are left") && done.err.contains(&format!("{kept}: ")), "{}", done.err);
    let left = records();
    assert_eq!((left.as_array().map(Vec::len), &left[0]["name"]), (Some(1), &json!(kept)), "{left}");
    assert_eq!(edge.get(&format!("/zones/{}/dns_records", zones[7]))[0]["content"], "www.example.com");
    wait::until_eq("its names are gone", &"NXDOMAIN".to_owned(), || edge.dig(&["app.z299.example", "A"]).status);
    // The tunnel stayed with what is left, and whoever may change that goes on by the same command.
    let done = finish(&mut edge.command(["tunnel", "delete", "wide", "--routes", "--yes"])).ok();
    assert!(done.contains("wide is deleted"), "{done}");
    assert_eq!(records(), json!([]));
}
