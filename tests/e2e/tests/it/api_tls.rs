//! Who may call the API, and how: by https from everywhere, in clear on its own machine alone, and under its own names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bartizan_e2e::curl::Page;
use bartizan_e2e::{Edge, Program, bartizan, curl, finish, wait};
use serde_json::{Value, json};

fn port(edge: &Edge) -> String {
    let api = edge.api_url().trim_end_matches("/client/v4");
    api.rsplit(':').next().expect("a port").to_owned()
}

/// A call of curl with more words in front; the URL goes last.
fn call(edge: &Edge, words: &[&str], place: &str, path: &str) -> Result<Page, String> {
    let (ca, port) = (edge.ca().to_string_lossy().into_owned(), port(edge));
    let url = format!("{place}:{port}{path}");
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let all = [&["--cacert", &ca, "--header", &bearer], words, &[&url]].concat();
    curl::try_get(&all)
}

#[test]
fn tls_and_plain_http_on_one_port() {
    let edge = Edge::start();
    let verify = "/client/v4/user/tokens/verify";
    for place in ["https://127.0.0.1", "https://localhost", "http://127.0.0.1", "http://localhost"] {
        let page = call(&edge, &["--http1.1"], place, verify).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!((page.status, page.json()["result"]["status"].clone()), (200, json!("active")), "{place}");
    }
    let error =
        curl::try_get(&[&format!("https://127.0.0.1:{}{verify}", port(&edge))]).expect_err("nobody knows our CA");
    assert!(error.contains("certificate"), "{error}");
    // A name that it was not started with is not its own.
    let error = call(&edge, &["--connect-to", "::127.0.0.1:"], "https://other.test", verify).expect_err("another name");
    assert!(error.contains("other.test") || error.contains("does not match"), "{error}");
    let edge = edge.restart_with(&["--api-name", "api.other.test"]);
    let page = call(&edge, &["--connect-to", "::127.0.0.1:"], "https://api.other.test", verify).expect("its name");
    assert_eq!(page.status, 200);

    let list = |words: &[&str]| {
        let mut command = edge.command([&["zone", "list"], words].concat());
        finish(command.env("BARTIZAN_API", format!("https://127.0.0.1:{}/client/v4", port(&edge))))
    };
    let error = list(&[]).failed_with(1);
    assert!(error.contains("no authority that is trusted here") && error.contains("--cacert FILE"), "{error}");
    let ca = edge.ca().to_string_lossy().into_owned();
    assert!(list(&["--cacert", &ca]).ok().contains(edge.domain()));
    let data = edge.data().to_string_lossy().into_owned();
    assert!(list(&["--data", &data]).ok().contains(edge.domain()), "the CA of the data directory");
}

/// DNS rebinding, and what pages of other sites can make a browser send.
#[test]
fn names_and_pages_of_others_are_refused() {
    let edge = Edge::start();
    let zones = format!("{}/zones", edge.api_url());
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let own = format!("Origin: {}", edge.api_url().trim_end_matches("/client/v4"));
    let body = r#"{"name":"made.test"}"#;
    for (words, expect) in [
        (vec!["Host: evil.example"], (403, json!(10421))),
        (vec!["Host: evil.example", "Cookie: bartizan=0123"], (403, json!(10421))),
        (vec!["Host: api.cloudflare.com", &bearer], (200, Value::Null)),
        (vec!["Host: evil.example", &bearer, "Origin: http://evil.example"], (403, json!(10421))),
    ] {
        let headers = words.iter().flat_map(|word| ["--header", word]);
        let page = curl::get(&headers.chain([zones.as_str()]).collect::<Vec<_>>());
        assert_eq!((page.status, page.json()["errors"][0]["code"].clone()), expect, "{words:?}");
    }
    for (words, expect) in [
        (vec!["Origin: http://evil.example", "Content-Type: application/json"], (403, json!(10403))),
        (vec!["Sec-Fetch-Site: cross-site", "Content-Type: application/json"], (403, json!(10403))),
        (vec![&own, "Content-Type: text/plain"], (415, json!(10415))),
        (vec![&own, "Content-Type: application/x-www-form-urlencoded"], (415, json!(10415))),
        (vec![&own, "Content-Type: application/json"], (200, Value::Null)),
    ] {
        let headers = words.iter().copied().chain([bearer.as_str()]).flat_map(|word| ["--header", word]);
        let page = curl::get(&headers.chain(["--data-binary", body, &zones]).collect::<Vec<_>>());
        assert_eq!((page.status, page.json()["errors"][0]["code"].clone()), expect, "{words:?}");
    }
    // No answer lets other sites read it.
    for words in
        [&["--request", "OPTIONS", "--header", "Access-Control-Request-Method: POST"][..], &["--header", &bearer]]
    {
        let page = curl::get(&[words, &["--header", "Origin: http://localhost:3000", &zones]].concat());
        assert!(page.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{:?}", page.headers);
    }
    assert_eq!(
        curl::get(&["--header", "Host: evil.example", &zones.replace("/client/v4/zones", "/readyz")]).status,
        200
    );
}

/// Where it listens on an address that others reach. In a network of its own: this machine's may have no such address.
#[test]
fn from_elsewhere_by_https_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let script = "ip link set lo up && ip address add 192.0.2.1/24 dev lo && exec \"$@\"";
    let up = bartizan(folder.path());
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script, "sh"]).arg(up.get_program()).args([
        "up",
        "--json",
        "--no-demo",
        "--data",
    ]);
    command.arg(&data).args(["--api", "192.0.2.1:8787", "--api", "127.0.0.1:8787"]);
    let mut program = Program::start("up", &mut command);
    let ready: Value =
        program.line("it is ready", |line| line.starts_with('{').then(|| serde_json::from_str(line).expect("JSON")));
    assert_eq!(ready["api"], "https://192.0.2.1:8787/client/v4");
    let inside = |command: &mut Command| {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &program.id().to_string(), "--net"]).arg(command.get_program());
        finish(entered.args(command.get_args()).env("HOME", folder.path()))
    };
    let ca = data.join("ca.pem");
    let curl = |url: &str| {
        let mut command = Command::new("curl");
        command.args(["--disable", "--silent", "--show-error", "--max-time", "60", "--cacert"]).arg(&ca);
        let bearer = format!("Authorization: Bearer {}", ready["token"].as_str().expect("a token"));
        inside(command.args(["--header", &bearer, url])).ok()
    };
    let code = |answer: &str| serde_json::from_str::<Value>(answer).expect("an envelope")["errors"][0]["code"].clone();
    let refused = curl("http://192.0.2.1:8787/client/v4/zones");
    assert_eq!(code(&refused), 10426, "{refused}");
    assert!(refused.contains("call https"), "{refused}");
    for url in ["https://192.0.2.1:8787/client/v4/zones", "http://127.0.0.1:8787/client/v4/zones"] {
        assert_eq!(code(&curl(url)), Value::Null, "{url}");
    }
    // Commands of this machine find their way with the CA of the data directory.
    let mut list = bartizan(folder.path());
    assert!(inside(list.args(["zone", "list", "--data"]).arg(&data)).ok().contains("bartizan.localhost"));
}

/// It knows no other way than https.
#[test]
fn ddclient_keeps_a_record() {
    let edge = Edge::start();
    let id = edge.record(&json!({ "type": "A", "name": "home", "content": "192.0.2.1", "ttl": 60 }));
    let (home, zone) = (format!("home.{}", edge.domain()), edge.domain().to_owned());
    let (file, cache) = (edge.folder().join("ddclient.conf"), edge.folder().join("ddclient.cache"));
    let server = format!("127.0.0.1:{}/client/v4", port(&edge));
    let text = format!(
        "ssl=yes\nuse=ip\nip=192.0.2.99\nprotocol=cloudflare, server={server}, zone={zone}, login=token, password={} {home}\n",
        edge.token()
    );
    fs::write(&file, text).expect("a temporary file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our file");
    let run = || {
        let mut command = Command::new("ddclient");
        command.args(["-daemon=0", "-noquiet", "-verbose", "-file"]).arg(&file).arg("-cache").arg(&cache);
        finish(command.arg("-ssl_ca_file").arg(edge.ca()))
    };
    let seen = run();
    assert!(seen.out.contains("SUCCESS") || seen.err.contains("SUCCESS"), "{}\n{}", seen.out, seen.err);
    let record = edge.get(&format!("/zones/{}/dns_records/{id}", edge.zone()));
    assert_eq!(record["content"], "192.0.2.99");
    wait::until_eq("it is served", &vec!["A 192.0.2.99".to_owned()], || edge.dig(&[&home, "A"]).answers());
}
