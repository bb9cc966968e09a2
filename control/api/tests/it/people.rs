//! Users, their passwords and their sessions.

use bartizan_store::{Index, Key, Kind, Op, Prefix, Scope};
use serde_json::{Value, json};

use crate::edge::{Answer, EMAIL, Edge, KEY, TOKEN, commit, put};

const PASSWORD: &str = "correct horse battery";
const HOST: (&str, &str) = ("host", "localhost:8787");
const ORIGIN: (&str, &str) = ("origin", "http://localhost:8787");
const USERS: &str = "/bartizan/users";
const SESSIONS: &str = "/bartizan/sessions";

fn login(edge: &Edge, email: &str, password: &str, from: &str) -> Answer {
    let body = json!({"email": email, "password": password}).to_string();
    edge.send_from(from, &[HOST, ORIGIN], "POST", &format!("/client/v4{SESSIONS}"), &body)
}

/// The cookie of somebody who logs in, and the id of the session.
fn cookie(edge: &Edge, email: &str, password: &str) -> (String, String) {
    let answer = login(edge, email, password, "127.0.0.1:50000");
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    let id = answer.result()["id"].as_str().unwrap().to_owned();
    (set.split(';').next().unwrap().to_owned(), id)
}

fn in_session(edge: &Edge, cookie: &str, method: &str, path: &str, body: &str) -> Answer {
    edge.send_as(&[HOST, ORIGIN, ("cookie", cookie)], method, &format!("/client/v4{path}"), body)
}

fn me(edge: &Edge) -> String {
    format!("{USERS}/{}", edge.administrator.user_id)
}

fn user(edge: &Edge, email: &str, password: Option<&str>) -> Value {
    edge.post(USERS, &json!({"email": email, "password": password}).to_string()).result()
}

/// One who may do everything in the account.
fn administrator(edge: &Edge, email: &str, password: Option<&str>) -> Value {
    let made = user(edge, email, password);
    let body = json!({"email": email, "roles": ["Super Administrator - All Privileges"]});
    edge.post(&format!("/accounts/{}/members", edge.account()), &body.to_string()).result();
    made
}

#[test]
fn a_user_lives_and_ends() {
    let edge = Edge::new();
    let first = edge.get(USERS).result()[0].clone();
    assert_eq!((&first["email"], &first["has_password"]), (&json!(EMAIL), &json!(false)));
    let made = user(&edge, " Ann@Example.COM", Some(PASSWORD));
    assert_eq!(
        (&made["email"], &made["status"], &made["has_password"]),
        (&json!("ann@example.com"), &json!("active"), &json!(true))
    );
    let one = format!("{USERS}/{}", made["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result(), made);
    assert_eq!(edge.get(&format!("{USERS}?email=ANN@example.com")).result(), json!([made]));
    assert_eq!(edge.get(USERS).json()["result_info"]["total_count"], 2);

    let before = edge.revision();
    for (body, expect) in [
        (json!({}), "400 1001 /email"),
        (json!({"email": "nobody"}), "400 1001 /email"),
        (json!({"email": "ann@EXAMPLE.com"}), "400 1061 /email"),
        (json!({"email": "bob@example.com", "password": "short"}), "400 1001 /password"),
        (json!({"email": "bob@example.com", "password": "bob@example.com!"}), "400 1001 /password"),
        (json!({"email": "bob@example.com", "status": "asleep"}), "400 1001 /status"),
        (json!({"email": 7}), "400 6007 /email"),
    ] {
        assert_eq!(edge.post(USERS, &body.to_string()).verdict(), expect, "{body}");
    }
    for (path, body, expect) in [
        (&one, json!({"email": EMAIL}), "400 1061 /email"),
        (&one, json!({"email": null}), "400 1001 /email"),
        (&one, json!({}), "200"),
        (&me(&edge), json!({"status": "disabled"}), "400 1001 /status"),
        (&format!("{USERS}/{}", "0".repeat(32)), json!({}), "404 1003"),
    ] {
        assert_eq!(edge.call("PATCH", path, &body.to_string()).verdict(), expect, "{body}");
    }
    assert_eq!(edge.call("DELETE", &me(&edge), "").verdict(), "400 1022");
    assert_eq!(edge.revision(), before);

    // Nothing of a password, nor of what a browser shows, is told or kept in clear.
    let (secret, session) = cookie(&edge, "ann@example.com", PASSWORD);
    let mut kept = String::new();
    edge.store
        .read()
        .unwrap()
        .for_each(&bartizan_store::Filter::Everything, &mut |entry| kept += &entry.value.json)
        .unwrap();
    let log = edge.get(&format!("/accounts/{}/audit_logs", edge.account())).text;
    for hidden in [PASSWORD, secret.split('=').nth(1).unwrap()] {
        assert!(!kept.contains(hidden) && !log.contains(hidden));
    }
    assert!(kept.contains("$argon2id$") && !log.contains("$argon2id$") && kept.contains(&session));

    // Another address leads to them, and the old one is free.
    assert_eq!(edge.call("PATCH", &one, r#"{"email":"anna@example.com"}"#).verdict(), "200");
    assert_eq!(login(&edge, "ann@example.com", PASSWORD, "127.0.0.1:50000").verdict(), "403 9108");
    assert_eq!(login(&edge, "ANNA@example.com", PASSWORD, "127.0.0.1:50000").verdict(), "200");
    user(&edge, "ann@example.com", None);

    assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    assert_eq!(edge.get(&one).verdict(), "404 1003");
    assert_eq!(in_session(&edge, &secret, "GET", "/user", "").verdict(), "403 9109");
    let snapshot = edge.store.read().unwrap();
    let id = made["id"].as_str().unwrap().parse().unwrap();
    for kind in [Kind::Session, Kind::Token] {
        assert_eq!(snapshot.count(&Prefix::of(Scope::User(id), kind)).unwrap(), 0);
    }
    assert_eq!(snapshot.count(&Prefix::unique(Scope::Edge, Index::SessionHash)).unwrap(), 0);
    assert_eq!(snapshot.count(&Prefix::unique(Scope::Edge, Index::UserEmail)).unwrap(), 2);
}

#[test]
fn a_session_lives_and_ends() {
    let edge = Edge::new();
    administrator(&edge, "ann@example.com", Some(PASSWORD));
    let answer = login(&edge, "Ann@example.com", PASSWORD, "192.0.2.7:9");
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    let rest = set.split_once(';').unwrap().1;
    assert_eq!(rest, " Path=/; HttpOnly; SameSite=Strict; Max-Age=604800");
    let session = answer.result();
    assert_eq!((&session["current"], &session["ip"]), (&json!(true), &json!("192.0.2.7")));
    let cookie_1 = set.split(';').next().unwrap();
    let call = |cookie: &str, method: &str, path: &str, body: &str| in_session(&edge, cookie, method, path, body);
    assert_eq!(call(cookie_1, "GET", "/user", "").result()["email"], "ann@example.com");
    assert_eq!(call(cookie_1, "POST", "/zones", r#"{"name":"ann.example"}"#).verdict(), "200");
    // A token in the same call is what counts.
    let headers = [HOST, ("cookie", cookie_1), ("authorization", &*format!("Bearer {TOKEN}"))];
    assert_eq!(edge.send_as(&headers, "GET", "/client/v4/user", "").result()["email"], EMAIL);
    // Where the browser came by https, the cookie is for https alone.
    let body = json!({"email": "ann@example.com", "password": PASSWORD}).to_string();
    let https = [("host", "edge.example.com"), ("origin", "https://edge.example.com"), ("user-agent", "a browser")];
    let answer = edge.send_as(&https, "POST", &format!("/client/v4{SESSIONS}"), &body);
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-bartizan=") && set.contains("; Secure"), "{set}");
    let cookie_2 = set.split(';').next().unwrap();

    // What a session changes is asked for by a page of ours; what it looks at is not read by other pages anyhow.
    let before = edge.revision();
    for (origin, expect) in [
        (None, "403 10403"),
        (Some("http://localhost:9"), "403 10403"),
        (Some("https://evil.example"), "403 10403"),
        (Some("null"), "403 10403"),
    ] {
        let headers: Vec<_> =
            [HOST, ("cookie", cookie_1)].into_iter().chain(origin.map(|origin| ("origin", origin))).collect();
        for (method, path) in [("POST", "/zones"), ("DELETE", SESSIONS), ("PATCH", "/user")] {
            let answer = edge.send_as(&headers, method, &format!("/client/v4{path}"), r#"{"name":"x.example"}"#);
            assert_eq!(answer.verdict(), expect, "{origin:?} {method} {path}");
        }
        assert_eq!(edge.send_as(&headers, "GET", "/client/v4/zones", "").verdict(), "200");
        // Whoever logs in with a session leaves it, so this one is without.
        let headers: Vec<_> = headers.into_iter().filter(|(name, _)| *name != "cookie").collect();
        let answer = edge.send_as(&headers, "POST", &format!("/client/v4{SESSIONS}"), &body);
        assert_eq!(answer.verdict() == "200", origin.is_none(), "{origin:?}");
    }
    assert_eq!(edge.revision(), before + 1, "one more session");

    let list = call(cookie_1, "GET", SESSIONS, "").result();
    let list = list.as_array().unwrap();
    assert_eq!((list.len(), list.iter().filter(|one| one["current"] == true).count()), (3, 1));
    assert!(list.iter().any(|one| one["user_agent"] == "a browser"));
    // Others do not see them, nor end them.
    let id = session["id"].as_str().unwrap();
    assert_eq!(edge.get(SESSIONS).result(), json!([]));
    assert_eq!(edge.call("DELETE", &format!("{SESSIONS}/{id}"), "").verdict(), "404 1003");
    assert_eq!(edge.call("DELETE", &format!("{SESSIONS}/current"), "").verdict(), "404 1003");

    let all_others = call(cookie_1, "DELETE", &format!("{SESSIONS}?keep_current=true"), "").result();
    assert_eq!(all_others.as_array().unwrap().len(), 2);
    assert_eq!(
        (call(cookie_2, "GET", "/user", "").verdict(), call(cookie_1, "GET", "/user", "").verdict()),
        ("403 9109".to_owned(), "200".to_owned())
    );
    for path in [format!("{SESSIONS}/current"), SESSIONS.to_owned()] {
        let tried = call(cookie_1, "DELETE", &format!("{path}?dry_run=true"), "");
        assert!(tried.json()["dry_run"].is_object() && !tried.headers.contains_key("set-cookie"), "{}", tried.text);
    }
    let ended = call(cookie_1, "DELETE", &format!("{SESSIONS}/current"), "");
    assert!(ended.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(ended.result(), json!({"id": id}));
    assert_eq!(call(cookie_1, "GET", "/user", "").verdict(), "403 9109");
}

/// A browser has one session: the one that it had ends when another begins, and no other does.
#[test]
fn whoever_logs_in_anew_leaves_the_session_that_was() {
    let edge = Edge::new();
    for email in ["ann@example.com", "bob@example.com"] {
        user(&edge, email, Some(PASSWORD));
    }
    let (first, _) = cookie(&edge, "ann@example.com", PASSWORD);
    let (elsewhere, _) = cookie(&edge, "ann@example.com", PASSWORD);
    let log_in = |shown: &str, body: Value| {
        let headers = [HOST, ORIGIN, ("cookie", shown)];
        edge.send_as(&headers, "POST", &format!("/client/v4{SESSIONS}"), &body.to_string())
    };
    let holds = |cookie: &str| in_session(&edge, cookie, "GET", "/user", "").verdict();
    let bob = |password: &str| json!({"email": "bob@example.com", "password": password});
    // Who is not let in stays who they are.
    assert_eq!(log_in(&first, bob("not that one, no")).verdict(), "403 9108");
    assert_eq!(log_in(&first, json!({"code": "0".repeat(40)})).verdict(), "403 9108");
    assert_eq!(holds(&first), "200");
    let answer = log_in(&first, bob(PASSWORD));
    let second = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    assert_eq!((holds(&first), holds(&elsewhere), holds(second)), ("403 9109".into(), "200".into(), "200".into()));
    // By a link too; and what is no session any more is in nobody's way.
    let code = |edge: &Edge| edge.post(&format!("{SESSIONS}/codes"), "").result()["code"].clone();
    assert_eq!(log_in(second, json!({"code": code(&edge)})).verdict(), "200");
    assert_eq!(holds(second), "403 9109");
    assert_eq!(log_in(second, json!({"code": code(&edge)})).verdict(), "200");
}

/// Before somebody follows a link they are told whose it is, and it is not used up by that.
#[test]
fn a_login_link_says_whose_it_is() {
    let edge = Edge::new();
    let path = format!("{SESSIONS}/codes/owner");
    let ask = |code: &Value, origin: (&str, &str)| {
        edge.send_as(&[HOST, origin], "POST", &format!("/client/v4{path}"), &json!({"code": code}).to_string())
    };
    let code = edge.post(&format!("{SESSIONS}/codes"), "").result()["code"].clone();
    for _ in 0..2 {
        assert_eq!(ask(&code, ORIGIN).result(), json!({"email": EMAIL}));
    }
    for (code, origin, expect) in [
        (code.clone(), ("origin", "https://evil.example"), "403 10403"),
        (json!("0".repeat(40)), ORIGIN, "403 9108"),
        (Value::Null, ORIGIN, "400 6007 /code"),
        (json!(7), ORIGIN, "400 6007 /code"),
    ] {
        assert_eq!(ask(&code, origin).verdict(), expect, "{code} {origin:?}");
    }
    assert_eq!(edge.send_as(&[], "POST", &format!("/client/v4{path}?dry_run=true"), "{}").verdict(), "400 6008");
    let used =
        edge.send_as(&[HOST, ORIGIN], "POST", &format!("/client/v4{SESSIONS}"), &json!({"code": code}).to_string());
    assert_eq!((used.verdict(), ask(&code, ORIGIN).verdict()), ("200".into(), "403 9108".into()));
    // Nor is it told once it is good for nothing.
    let code = edge.post(&format!("{SESSIONS}/codes"), "").result()["code"].clone();
    let set = edge.call("PATCH", &me(&edge), &json!({"password": PASSWORD}).to_string());
    assert_eq!((set.verdict(), ask(&code, ORIGIN).verdict()), ("200".into(), "403 9108".into()));
}

/// A link lets in once, as whoever made it; and nobody makes one who could not be its user already.
#[test]
fn a_login_link_is_good_once() {
    let edge = Edge::new();
    let codes = format!("{SESSIONS}/codes");
    let log_in = |code: &str, origin: (&str, &str)| {
        let body = json!({"code": code}).to_string();
        edge.send_as(&[HOST, origin], "POST", &format!("/client/v4{SESSIONS}"), &body)
    };
    let made = edge.post(&codes, "").result();
    let code = made["code"].as_str().unwrap();
    assert_eq!(code.len(), 40);
    assert_eq!(log_in("0".repeat(40).as_str(), ORIGIN).verdict(), "403 9108");
    assert_eq!(log_in("", ORIGIN).verdict(), "403 9108");
    // A page of others does not use it up.
    assert_eq!(log_in(code, ("origin", "https://evil.example")).verdict(), "403 10403");
    let answer = log_in(code, ORIGIN);
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(answer.verdict(), "200");
    let cookie = set.split(';').next().unwrap();
    assert_eq!(in_session(&edge, cookie, "GET", "/user", "").result()["email"], EMAIL);
    let again = log_in(code, ORIGIN);
    assert_eq!(again.verdict(), "403 9108");
    assert!(again.text.contains("used already"), "{}", again.text);
    // Who came by a link has a password when they have set one.
    let set = in_session(&edge, cookie, "PUT", "/bartizan/user/password", &json!({"password": PASSWORD}).to_string());
    assert_eq!(set.result()["has_password"], true);
    assert_eq!(login(&edge, EMAIL, PASSWORD, "127.0.0.1:50000").verdict(), "200");

    assert_eq!(in_session(&edge, cookie, "POST", &codes, "").verdict(), "403 9109");
    let policy = json!({"permission_groups": [{"name": "User Details Write"}],
        "resources": {format!("com.cloudflare.api.user.{}", edge.administrator.user_id): "*"}});
    let narrow = edge.post("/user/tokens", &json!({"name": "narrow", "policies": [policy]}).to_string()).result();
    let narrow = format!("Bearer {}", narrow["value"].as_str().unwrap());
    let by = |headers: &[(&str, &str)]| edge.send_as(headers, "POST", &format!("/client/v4{codes}"), "").verdict();
    assert_eq!(by(&[("authorization", &narrow)]), "403 9109");
    assert_eq!(by(&[("x-auth-email", EMAIL), ("x-auth-key", KEY)]), "200");
    assert_eq!(edge.call("POST", &format!("{codes}?dry_run=true"), "").verdict(), "400 6008");
    // Neither the log nor the store has one.
    let code = edge.post(&codes, "").result();
    let mut kept = String::new();
    let read = edge.store.read().unwrap();
    read.for_each(&bartizan_store::Filter::Everything, &mut |entry| kept += &entry.value.json).unwrap();
    assert!(!kept.contains(code["code"].as_str().unwrap()));
}

/// A session ends by the time alone, and one more than there may be ends the one that was not used for longest.
#[test]
fn sessions_end_by_themselves() {
    let edge = Edge::new();
    user(&edge, "ann@example.com", Some(PASSWORD));
    let (shown, id) = cookie(&edge, "ann@example.com", PASSWORD);
    let ann = edge.get(&format!("{USERS}?email=ann@example.com")).result()[0]["id"].as_str().unwrap().parse().unwrap();
    let key = Key::session(ann, id.parse().unwrap());
    let document: Value =
        serde_json::from_str(&edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json).unwrap();
    let ago = |seconds: u64| {
        let at = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
        json!(bartizan_names::Timestamp::from(at))
    };
    let look = || in_session(&edge, &shown, "GET", "/user", "").verdict();
    for (field, seconds, expect) in
        [("seen_on", 11 * 3_600, "200"), ("seen_on", 12 * 3_600 + 1, "403 9109"), ("expires_on", 1, "403 9109")]
    {
        let mut old = document.clone();
        old[field] = ago(seconds);
        commit(&edge.store, vec![put(key.clone(), &old.to_string())]);
        assert_eq!(look(), expect, "{field}");
        if expect == "200" {
            // That it was used is noted, by itself.
            let is_noted = |store: &bartizan_store::Store| {
                let now = store.read().unwrap().get(&key).unwrap().unwrap().value.json;
                serde_json::from_str::<Value>(&now).unwrap()["seen_on"] != old["seen_on"]
            };
            edge.settle_until(is_noted);
        }
    }
    commit(&edge.store, vec![put(key.clone(), &document.to_string())]);
    assert_eq!(look(), "200");
    // Forty-nine others, all used later.
    let others: Vec<Op> = (1..50u8)
        .map(|number| {
            let other = bartizan_names::SessionId::from_bytes([number; 16]);
            let mut session = document.clone();
            session["id"] = json!(other);
            session["sha256"] = json!(bartizan_seal::hash_token(&number.to_string()).to_string());
            session["seen_on"] = json!(bartizan_names::Timestamp::from(std::time::SystemTime::now()));
            put(Key::session(ann, other), &session.to_string())
        })
        .collect();
    commit(&edge.store, others);
    assert_eq!(look(), "200");
    let newest = cookie(&edge, "ann@example.com", PASSWORD).0;
    assert_eq!(
        (look(), in_session(&edge, &newest, "GET", "/user", "").verdict()),
        ("403 9109".to_owned(), "200".to_owned())
    );
    assert_eq!(edge.store.read().unwrap().count(&Prefix::of(Scope::User(ann), Kind::Session)).unwrap(), 50);
}

#[test]
fn another_password_ends_the_other_sessions() {
    let edge = Edge::new();
    let ann = user(&edge, "ann@example.com", Some(PASSWORD));
    let one = format!("{USERS}/{}", ann["id"].as_str().unwrap());
    let (mine, _) = cookie(&edge, "ann@example.com", PASSWORD);
    let (other, _) = cookie(&edge, "ann@example.com", PASSWORD);
    let look = |cookie: &str| in_session(&edge, cookie, "GET", "/user", "").verdict();
    let set = |body: &str| in_session(&edge, &mine, "PUT", "/bartizan/user/password", body).verdict();
    const NEW: &str = "another horse battery";
    for (body, expect) in [
        (json!({}), "400 1001 /password"),
        (json!({"password": "short", "current_password": PASSWORD}), "400 1001 /password"),
        (json!({"password": NEW}), "403 9108 /current_password"),
        (json!({"password": NEW, "current_password": "wrong"}), "403 9108 /current_password"),
        (json!({"password": NEW, "current_password": PASSWORD}), "200"),
    ] {
        assert_eq!(set(&body.to_string()), expect, "{body}");
    }
    assert_eq!((look(&mine), look(&other)), ("200".to_owned(), "403 9109".to_owned()));
    assert_eq!(login(&edge, "ann@example.com", PASSWORD, "127.0.0.1:9").verdict(), "403 9108");
    // Who looks after users sets it without the old one.
    assert_eq!(edge.call("PATCH", &one, &json!({"password": PASSWORD}).to_string()).verdict(), "200");
    assert_eq!(look(&mine), "403 9109");
    let (mine, _) = cookie(&edge, "ann@example.com", PASSWORD);
    // Disabled, nothing of theirs lets them in: no session, token or global key.
    let roll = |body: &str| in_session(&edge, &mine, "PUT", "/bartizan/user/api_key", body);
    for body in ["", "{}", r#"{"current_password":"wrong"}"#] {
        assert_eq!(roll(body).verdict(), "403 9108 /current_password", "{body}");
    }
    let key = roll(&json!({"current_password": PASSWORD}).to_string()).result();
    let by_key = [("x-auth-email", "Ann@example.com"), ("x-auth-key", key.as_str().unwrap())];
    let zones = json!({"com.cloudflare.api.account.zone.*": "*"});
    let body = json!({"name": "t", "policies": [{"permission_groups": [{"name": "DNS Read"}], "resources": zones}]});
    let token = in_session(&edge, &mine, "POST", "/user/tokens", &body.to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let by_token = [("authorization", bearer.as_str())];
    let verdicts = || {
        let ask = |headers: &[(&str, &str)]| edge.send_as(headers, "GET", "/client/v4/zones", "").verdict();
        [ask(&by_key), ask(&by_token), in_session(&edge, &mine, "GET", "/zones", "").verdict()]
    };
    assert_eq!(verdicts(), ["200", "200", "200"]);
    assert_eq!(edge.call("PATCH", &one, r#"{"status":"disabled"}"#).verdict(), "200");
    assert_eq!(verdicts(), ["403 9103", "403 9109", "403 9109"]);
    assert_eq!(login(&edge, "ann@example.com", PASSWORD, "127.0.0.1:9").verdict(), "403 9108");
    let verify = edge.send_as(&by_token, "GET", "/client/v4/user/tokens/verify", "").result();
    assert_eq!(verify["status"], "disabled");
    assert_eq!(edge.call("PATCH", &one, r#"{"status":"active"}"#).verdict(), "200");
    assert_eq!(verdicts(), ["200", "200", "403 9109"], "the session has ended");
}

/// An administrator's open page sets no password of their own without the one of before, by whichever door.
#[test]
fn a_session_alone_does_not_keep_what_it_has() {
    let edge = Edge::new();
    let [ann, bob] = ["ann@example.com", "bob@example.com"].map(|email| {
        let made = administrator(&edge, email, Some(PASSWORD));
        format!("{USERS}/{}", made["id"].as_str().unwrap())
    });
    let (mine, _) = cookie(&edge, "ann@example.com", PASSWORD);
    let set = |one: &str, body: Value| in_session(&edge, &mine, "PATCH", one, &body.to_string()).verdict();
    const NEW: &str = "another horse battery";
    for body in [
        json!({"password": NEW}),
        json!({"password": null}),
        json!({"password": NEW, "current_password": NEW}),
        json!({"password": NEW, "email": "anne@example.com"}),
    ] {
        assert_eq!(set(&ann, body.clone()), "403 9108 /current_password", "{body}");
    }
    assert_eq!(set(&ann, json!({"email": "anne@example.com"})), "200");
    assert_eq!(set(&ann, json!({"password": NEW, "current_password": PASSWORD})), "200");
    // Of others they do not know it.
    assert_eq!(set(&bob, json!({"password": NEW})), "200");
}

/// Guesses are answered alike whoever is meant, and lock out nobody else.
#[test]
fn guesses_are_throttled() {
    let edge = Edge::new();
    user(&edge, "ann@example.com", Some(PASSWORD));
    user(&edge, "bob@example.com", None);
    for (number, email) in ["ann@example.com", "bob@example.com", "nobody@example.com"].into_iter().enumerate() {
        let from = format!("192.0.2.{number}:9");
        let tries: Vec<String> = (0..14).map(|_| login(&edge, email, "wrong wrong wrong", &from).verdict()).collect();
        assert_eq!(tries[..10], vec!["403 9108"; 10], "{email}");
        assert!(tries[10..].contains(&"429 10013".to_owned()), "{email}: {tries:?}");
    }
    assert_eq!(login(&edge, "ann@example.com", PASSWORD, "198.51.100.1:9").verdict(), "200");
    for (email, password, expect) in [
        ("ann@example.com", "", "403 9108"),
        ("", PASSWORD, "403 9108"),
        ("ann@example.com", &*"x".repeat(2_000), "403 9108"),
    ] {
        assert_eq!(login(&edge, email, password, "198.51.100.2:9").verdict(), expect);
    }
    assert_eq!(edge.send_as(&[HOST], "POST", &format!("/client/v4{SESSIONS}"), "{}").verdict(), "400 6007 /email");
}

/// A token that may do less than its user neither looks after users nor sets what lets its own user in.
#[test]
fn no_token_makes_itself_stronger() {
    let edge = Edge::new();
    let account = format!("com.cloudflare.api.account.{}", edge.account());
    let own = format!("com.cloudflare.api.user.{}", edge.administrator.user_id);
    let policies = json!([
        {"permission_groups": [{"name": "Edge Users Write"}], "resources": {account: "*"}},
        {"permission_groups": [{"name": "User Details Write"}], "resources": {own: "*"}},
    ]);
    let made = edge.post("/user/tokens", &json!({"name": "people", "policies": policies}).to_string()).result();
    let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
    let ann = administrator(&edge, "ann@example.com", Some(PASSWORD));
    let one = format!("{USERS}/{}", ann["id"].as_str().unwrap());
    let before = edge.revision();
    for (method, path, body, expect) in [
        ("GET", one.as_str(), "", "200"),
        ("PATCH", &one, r#"{"password":"another horse battery"}"#, "403 9109"),
        ("PATCH", &me(&edge), r#"{"password":"another horse battery"}"#, "403 9109"),
        ("DELETE", &one, "", "403 9109"),
        ("PUT", "/bartizan/user/password", r#"{"password":"another horse battery"}"#, "403 9109"),
        ("PUT", "/bartizan/user/api_key", "", "403 9109"),
    ] {
        let answer = edge.send_as(&[("authorization", &bearer)], method, &format!("/client/v4{path}"), body);
        assert_eq!(answer.verdict(), expect, "{method} {path}");
    }
    assert_eq!(edge.revision(), before);
    // One who is in no account yet may do nothing, and is theirs to make.
    let made = edge.send_as(
        &[("authorization", &bearer)],
        "POST",
        &format!("/client/v4{USERS}"),
        r#"{"email":"bob@example.com"}"#,
    );
    assert_eq!(made.verdict(), "200");
    let named = edge.send_as(
        &[("authorization", &bearer)],
        "PATCH",
        "/client/v4/user",
        r#"{"first_name":"Ann","country":" DK "}"#,
    );
    assert_eq!((&named.result()["first_name"], &named.result()["country"]), (&json!("Ann"), &json!("DK")));
    assert_eq!(edge.call("PATCH", "/user", r#"{"first_name":null,"zipcode":"x"}"#).result()["first_name"], Value::Null);
    assert_eq!(
        edge.call("PATCH", "/user", &json!({"telephone": "1".repeat(21)}).to_string()).verdict(),
        "400 1001 /telephone"
    );
}

/// A global key is found by the address of its user, with and without the index that older builds did not have.
#[test]
fn a_user_of_an_older_build_is_known() {
    let edge = Edge::new();
    let index = Key::unique(Scope::Edge, Index::UserEmail, EMAIL);
    let ask = |email: &str, key: &str| {
        edge.send_as(&[("x-auth-email", email), ("x-auth-key", key)], "GET", "/client/v4/user", "").verdict()
    };
    assert_eq!(edge.store.read().unwrap().count(&Prefix::unique(Scope::Edge, Index::UserEmail)).unwrap(), 1);
    commit(&edge.store, vec![Op::Del { key: index }]);
    assert_eq!((ask(EMAIL, KEY), ask("User@Example.com", KEY)), ("200".to_owned(), "200".to_owned()));
    assert_eq!((ask(EMAIL, "0000"), ask("ann@example.com", KEY)), ("403 9103".to_owned(), "403 9103".to_owned()));
    // What lets the user in follows in the file of this machine.
    let key = edge.call("PUT", "/bartizan/user/api_key", "").result();
    let file = std::fs::read_to_string(edge.directory.path().join(bartizan_api::ADMIN_FILE)).unwrap();
    assert!(file.contains(key.as_str().unwrap()));
    assert_eq!((ask(EMAIL, KEY), ask(EMAIL, key.as_str().unwrap())), ("403 9103".to_owned(), "200".to_owned()));
}

/// Whoever looks after the people of an edge sees what they do, to themselves and to each other, and ends their tokens.
#[test]
fn what_people_do_is_seen_by_those_who_look_after_them() {
    let edge = Edge::new();
    let bob = administrator(&edge, "bob@example.com", Some(PASSWORD));
    let one = format!("{USERS}/{}", bob["id"].as_str().unwrap());
    let (session, _) = cookie(&edge, "bob@example.com", PASSWORD);
    let policy = |group: &str, over: &str| json!({"permission_groups": [{"name": group}], "resources": {over: "*"}});
    let dns = policy("DNS Write", "com.cloudflare.api.account.zone.*");
    let body = json!({"name": "quiet", "policies": [dns]}).to_string();
    let made = in_session(&edge, &session, "POST", "/user/tokens", &body).result();
    let (id, text) = (made["id"].as_str().unwrap(), made["value"].as_str().unwrap());
    for status in ["disabled", "active"] {
        assert_eq!(edge.call("PATCH", &one, &json!({ "status": status }).to_string()).verdict(), "200");
    }

    let logs = format!("/accounts/{}/audit_logs", edge.account());
    let shown = |answer: &Answer| {
        let entries = answer.result().as_array().cloned().unwrap_or_default();
        let line = |entry: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(&entry["action"]["type"]), text(&entry["resource"]["type"]))
        };
        entries.iter().map(line).collect::<Vec<_>>()
    };
    let all = shown(&edge.get(&logs));
    for expect in ["add user", "add token", "add session", "change user", "add membership"] {
        assert!(all.iter().any(|line| line == expect), "{expect}: {all:?}");
    }
    let by = edge.get(&format!("{logs}?actor.email=bob@example.com&resource.type=token"));
    assert_eq!((shown(&by), &by.result()[0]["bartizan"]["revision"].is_u64()), (vec!["add token".to_owned()], &true));
    assert_eq!(by.result()[0]["newValueJson"]["name"], "quiet");
    assert!(!by.text.contains("sha256") && !by.text.contains(text), "{}", by.text);
    // What is another's is not undone.
    let undo = json!({"revision": by.result()[0]["bartizan"]["revision"]}).to_string();
    assert_eq!(edge.post("/bartizan/undo", &undo).verdict(), "400 10423");

    // A token without the rights over people sees none of it, neither does one who is no administrator.
    let blind = policy("Account Settings Read", "com.cloudflare.api.account.*");
    let blind = edge.post("/user/tokens", &json!({"name": "blind", "policies": [blind]}).to_string()).result();
    let blind = format!("Bearer {}", blind["value"].as_str().unwrap());
    let look = |path: &str| edge.send_as(&[("authorization", blind.as_str())], "GET", &format!("/client/v4{path}"), "");
    assert_eq!(shown(&look(&format!("{logs}?actor.email=bob@example.com"))), Vec::<String>::new());
    let tokens = format!("{one}/tokens");
    assert_eq!(look(&tokens).verdict(), "403 9109");
    let end = edge.send_as(&[("authorization", &*blind)], "DELETE", &format!("/client/v4{tokens}/{id}"), "");
    assert_eq!(end.verdict(), "403 9109");

    let listed = edge.get(&tokens);
    assert_eq!((&listed.result()[0]["name"], listed.result()[0].get("value")), (&json!("quiet"), None));
    assert_eq!(edge.get(&format!("{USERS}/{}/tokens", "0".repeat(32))).verdict(), "404 1003");
    let theirs = format!("Bearer {text}");
    let zones = || edge.send_as(&[("authorization", theirs.as_str())], "GET", "/client/v4/zones", "").verdict();
    assert_eq!(zones(), "200");
    assert_eq!(edge.call("DELETE", &format!("{tokens}/{}", "0".repeat(32)), "").verdict(), "404 1003");
    assert_eq!(edge.call("DELETE", &format!("{tokens}/{id}"), "").verdict(), "200");
    assert_eq!((zones(), edge.get(&tokens).result()), ("403 9109".to_owned(), json!([])));

    // Another of theirs ends with them, at once, and what they did stays to be seen.
    let (session, _) = cookie(&edge, "bob@example.com", PASSWORD);
    let made = in_session(&edge, &session, "POST", "/user/tokens", &body).result();
    let theirs = format!("Bearer {}", made["value"].as_str().unwrap());
    let ask = || edge.send_as(&[("authorization", theirs.as_str())], "GET", "/client/v4/zones", "").verdict();
    assert_eq!(ask(), "200");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    assert_eq!(
        (ask(), in_session(&edge, &session, "GET", "/user", "").verdict()),
        ("403 9109".into(), "403 9109".into())
    );
    let by = shown(&edge.get(&format!("{logs}?actor.email=bob@example.com&resource.type=token")));
    assert_eq!(by, ["add token", "add token"]);
}

/// Whoever looks after users takes back that one was made, with what was given to them since.
#[test]
fn a_user_that_was_made_goes_again() {
    let edge = Edge::new();
    let undo = |words: Value| edge.post("/bartizan/undo", &words.to_string());
    let ann = user(&edge, "ann@example.com", Some(PASSWORD));
    let (made, one) = (edge.revision(), format!("{USERS}/{}", ann["id"].as_str().unwrap()));
    let member = json!({"email": "ann@example.com", "roles": ["DNS"]}).to_string();
    edge.post(&format!("/accounts/{}/members", edge.account()), &member).result();
    let joined = edge.revision();
    // That they are a member is undone where members are, and the error says how.
    let refused = undo(json!({ "revision": joined }));
    let expect = "it made ann@example.com a member: `bartizan account member remove ann@example.com`";
    assert!(refused.verdict().starts_with("400") && refused.text.contains(expect), "{}", refused.text);
    // Whoever only sees people takes nobody away.
    let account = format!("com.cloudflare.api.account.{}", edge.account());
    let groups = json!([{"name": "Account Settings Read"}, {"name": "Edge Users Read"}]);
    let policy = json!({"permission_groups": groups, "resources": {account: "*"}});
    let token = edge.post("/user/tokens", &json!({"name": "sees", "policies": [policy]}).to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let words = json!({ "revision": made }).to_string();
    let by_reader = edge.send_as(&[("authorization", &bearer)], "POST", "/client/v4/bartizan/undo", &words);
    assert!(by_reader.verdict().starts_with("403"), "{}", by_reader.text);
    assert_eq!(edge.get(&one).verdict(), "200");
    let asked = undo(json!({"revision": made, "dry_run": true})).result();
    assert_eq!(asked["changes"][0]["action"]["type"], "delete", "{asked}");
    undo(json!({ "revision": made })).result();
    assert_eq!(edge.get(&one).verdict(), "404 1003");
    assert_eq!(edge.get(&format!("/accounts/{}/members", edge.account())).result().as_array().unwrap().len(), 1);

    // What they made themselves since is theirs.
    let bob = administrator(&edge, "bob@example.com", Some(PASSWORD));
    let log = edge.get(&format!("/accounts/{}/audit_logs?resource.type=user", edge.account())).result();
    let of_bob = |entry: &&Value| entry["action"]["type"] == "add" && entry["metadata"]["name"] == "bob@example.com";
    let made = log.as_array().unwrap().iter().find(of_bob).unwrap()["bartizan"]["revision"].clone();
    let (secret, _) = cookie(&edge, "bob@example.com", PASSWORD);
    let policy = json!({"permission_groups": [{"name": "DNS Read"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"}});
    let token = json!({"name": "his", "policies": [policy]}).to_string();
    in_session(&edge, &secret, "POST", "/user/tokens", &token).result();
    let refused = undo(json!({ "revision": made }));
    assert!(refused.text.contains("has made tokens since"), "{}", refused.text);
    undo(json!({ "revision": made, "force": true })).result();
    assert!(edge.get(&format!("{USERS}/{}", bob["id"].as_str().unwrap())).verdict().starts_with("404"));
}

/// With the password that they had and in the accounts in which they were; what was ended stays so.
#[test]
fn a_deleted_user_comes_back() {
    let edge = Edge::new();
    let made = administrator(&edge, "ann@example.com", Some(PASSWORD));
    let one = format!("{USERS}/{}", made["id"].as_str().unwrap());
    let (secret, _) = cookie(&edge, "ann@example.com", PASSWORD);
    let policy = json!({"permission_groups": [{"name": "DNS Read"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"}});
    let token = json!({"name": "hers", "policies": [policy]}).to_string();
    in_session(&edge, &secret, "POST", "/user/tokens", &token).result();
    edge.call("DELETE", &one, "").result();
    let deleted = edge.revision();
    let undo = |words: Value| edge.post("/bartizan/undo", &words.to_string());

    let asked = undo(json!({"revision": deleted, "dry_run": true}));
    let kinds: Vec<String> = asked.result()["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            format!("{} {}", change["action"]["type"].as_str().unwrap(), change["resource"]["type"].as_str().unwrap())
        })
        .collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(kinds.contains(&"add user".to_owned()) && kinds.contains(&"add membership".to_owned()), "{kinds:?}");
    assert!(!asked.text.contains("argon2id"), "{}", asked.text);
    let done = undo(json!({ "revision": deleted }));
    assert_eq!(
        done.json()["messages"][0]["message"],
        "2 tokens and sessions stay ended; make new ones",
        "{}",
        done.text
    );
    assert_eq!(edge.get(&one).result()["email"], "ann@example.com");
    let (secret_of_now, _) = cookie(&edge, "ann@example.com", PASSWORD);
    assert_eq!(in_session(&edge, &secret_of_now, "GET", "/zones", "").verdict(), "200");
    assert_eq!(in_session(&edge, &secret, "GET", "/user", "").verdict(), "403 9109");
    assert_eq!(in_session(&edge, &secret_of_now, "GET", "/user/tokens", "").result(), json!([]));

    // The address is another one's meanwhile; and whoever only sees people brings back nobody.
    edge.call("DELETE", &one, "").result();
    let deleted = edge.revision();
    let other = user(&edge, "ann@example.com", None);
    assert_eq!(undo(json!({ "revision": deleted })).verdict(), "400 1061");
    edge.call("DELETE", &format!("{USERS}/{}", other["id"].as_str().unwrap()), "").result();
    let account = format!("com.cloudflare.api.account.{}", edge.account());
    for (groups, expect) in
        [(&["Account Settings Read"][..], "404 10404"), (&["Account Settings Read", "Edge Users Read"], "403 9109")]
    {
        let groups: Vec<Value> = groups.iter().map(|group| json!({ "name": group })).collect();
        let policies = json!([{"permission_groups": groups, "resources": {&account: "*"}}]);
        let made =
            edge.post("/user/tokens", &json!({"name": format!("t{}", groups.len()), "policies": policies}).to_string());
        let bearer = format!("Bearer {}", made.result()["value"].as_str().unwrap());
        let body = json!({ "revision": deleted }).to_string();
        let refused = edge.send_as(&[("authorization", &bearer)], "POST", "/client/v4/bartizan/undo", &body);
        assert_eq!(refused.verdict(), expect, "{}", refused.text);
    }
    undo(json!({ "revision": deleted })).result();
    assert_eq!(login(&edge, "ann@example.com", PASSWORD, "127.0.0.1:50000").verdict(), "200");
}
