//! Faults that share a status and a code: by these alone a test cannot tell which of them it met, so each is met here by its
//! text.

use std::collections::BTreeMap;

use bartizan_api::Fault;
use serde_json::json;

use crate::edge::{Answer, EMAIL, Edge, KEY, TOKEN};
use crate::imports::{on_their_way, one_too_many};
use crate::tunnels::connect;

fn of_pair(fault: Fault) -> (u16, u32) {
    (fault.status().as_u16(), fault.code())
}

#[test]
fn those_that_share_a_code_are_each_met() {
    let edge = Edge::new();
    let account = format!("/accounts/{}", edge.account());
    let (none, uuid) = ("0".repeat(32), "00000000-0000-4000-8000-000000000000");
    let member = edge.get(&format!("{account}/members")).result()[0]["id"].as_str().unwrap().to_owned();
    let policy = json!({"permission_groups": [{"name": "Account Settings Read"}], "resources": {"com.cloudflare.api.account.*": "*"}});
    let narrow = edge.post("/user/tokens", &json!({"name": "narrow", "policies": [policy]}).to_string()).result();
    let narrow = format!("Bearer {}", narrow["value"].as_str().unwrap());
    let (own, unknown, cookie) =
        (format!("Bearer {TOKEN}"), format!("Bearer {}", "x".repeat(40)), format!("bartizan={:064}", 0));
    let call = |headers: &[(&str, &str)], method: &str, path: &str, body: &str| {
        edge.send_as(headers, method, &format!("/client/v4{path}"), body)
    };
    let by = |header: &str| call(&[("authorization", header)], "GET", "/user", "");
    let key = |email: &str, key: &str| call(&[("x-auth-email", email), ("x-auth-key", key)], "GET", "/user", "");
    let asked = |method: &str, path: &str, body: &str| call(&[("authorization", own.as_str())], method, path, body);
    let me = edge.get("/user").result()["id"].as_str().unwrap().to_owned();
    let members = format!("{account}/members");
    let rows: Vec<(Fault, Option<u32>, Answer)> = vec![
        (Fault::BadAuthorization, Some(6111), by("Basic x")),
        (Fault::BadEmail, Some(6102), key("nobody", KEY)),
        (Fault::BadKey, Some(6103), key(EMAIL, "")),
        (Fault::UnknownToken, None, by(&unknown)),
        (Fault::SessionEnded, None, call(&[("cookie", cookie.as_str())], "GET", "/user", "")),
        (Fault::NotAllowed, None, by(&narrow)),
        (Fault::BadBody, None, asked("POST", "/zones", "{")),
        (Fault::BodyField, None, asked("POST", "/zones", r#"{"name":7}"#)),
        (Fault::UserUnknown, None, asked("GET", &format!("/bartizan/users/{none}"), "")),
        (
            Fault::WrongPassword,
            None,
            call(&[], "POST", "/bartizan/sessions", r#"{"email":"a@example.com","password":"not this one"}"#),
        ),
        (
            Fault::LoginCodeUnknown,
            None,
            call(&[], "POST", "/bartizan/sessions", r#"{"code":"0123456789012345678901234567890123456789"}"#),
        ),
        (Fault::SessionUnknown, None, asked("DELETE", &format!("/bartizan/sessions/{none}"), "")),
        (Fault::MemberUnknown, None, asked("GET", &format!("{members}/{none}"), "")),
        (Fault::RoleUnknown, None, asked("GET", &format!("{account}/roles/{none}"), "")),
        (
            Fault::CertificateUnknown,
            None,
            asked("GET", &format!("/zones/{}/custom_certificates/{none}", edge.zone()), ""),
        ),
        (
            Fault::ClientRootUnknown,
            None,
            asked("GET", &format!("/zones/{}/access/certificates/{uuid}", edge.zone()), ""),
        ),
        (
            Fault::ClientCertificateUnknown,
            None,
            asked("GET", &format!("/zones/{}/client_certificates/{none}", edge.zone()), ""),
        ),
        (Fault::TokenUnknown, None, asked("GET", &format!("/user/tokens/{none}"), "")),
        (Fault::UserExists, None, asked("POST", "/bartizan/users", &json!({"email": EMAIL}).to_string())),
        (Fault::MemberExists, None, asked("POST", &members, &json!({"email": EMAIL, "roles": ["DNS"]}).to_string())),
        (Fault::ZoneName, None, asked("POST", "/zones", r#"{"name":"a b"}"#)),
        (
            Fault::BalancingInvalid,
            None,
            asked("POST", &format!("{account}/load_balancers/monitors"), r#"{"type":"x"}"#),
        ),
        (Fault::ZoneExists, None, asked("POST", "/zones", r#"{"name":"bartizan.localhost"}"#)),
        (Fault::UserBody, None, asked("POST", "/bartizan/users", "{}")),
        (
            Fault::PasswordBody,
            None,
            asked("POST", "/bartizan/users", r#"{"email":"ann@example.com","password":"short"}"#),
        ),
        (Fault::AccountBody, None, asked("POST", "/accounts", r#"{"name":""}"#)),
        (Fault::MemberBody, None, asked("POST", &members, r#"{"email":"nobody@example.com","roles":["DNS"]}"#)),
        (Fault::TokenBody, None, asked("POST", "/user/tokens", "{}")),
        (Fault::UserInUse, None, asked("DELETE", &format!("/bartizan/users/{me}"), "")),
        (Fault::AccountInUse, None, asked("DELETE", &account, "")),
        (Fault::LastAdministrator, None, asked("DELETE", &format!("{members}/{member}"), "")),
        (Fault::UndoUnknown, None, asked("POST", "/bartizan/undo", r#"{"revision":999999}"#)),
        (Fault::PopUnknown, None, asked("GET", &format!("/bartizan/pops/{none}"), "")),
        (Fault::ReadsBusy, None, while_many_read(&edge)),
        (Fault::TracesBusy, None, while_many_trace(&edge)),
        (Fault::ImportBusy, None, while_many_import(&edge)),
        (Fault::TunnelInUse, None, deletion_of_a_tunnel_in_use(&edge)),
    ];
    for (fault, reason, answer) in &rows {
        let json = answer.json();
        let error = &json["errors"][0];
        assert_eq!(
            (answer.status.as_u16(), &error["code"]),
            (fault.status().as_u16(), &json!(fault.code())),
            "{fault:?}: {json}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(fault.text().trim_end_matches('.')), "{fault:?}: {message}");
        assert_eq!(error["error_chain"][0]["code"].as_u64(), reason.map(u64::from), "{fault:?}: {json}");
    }
    let mut pairs: BTreeMap<(u16, u32), Vec<Fault>> = BTreeMap::new();
    Fault::ALL.iter().for_each(|fault| pairs.entry(of_pair(*fault)).or_default().push(*fault));
    let met: Vec<Fault> = rows.iter().map(|(fault, ..)| *fault).collect();
    for fault in pairs.into_values().filter(|faults| faults.len() > 1).flatten() {
        assert!(met.contains(&fault), "{fault:?}");
    }
}

fn while_many_read(edge: &Edge) -> Answer {
    let _held: Vec<_> = (0..100).map_while(|_| edge.store.read().ok()).collect();
    edge.get("/zones")
}

fn while_many_trace(edge: &Edge) -> Answer {
    let path = crate::http_trace::slow(&edge.zone(), "bartizan.localhost");
    let all = (0..5).map(|_| edge.answer_of("GET", &path));
    let all = edge.runtime.block_on(futures_util::future::join_all(all));
    all.into_iter().find(|answer| !answer.status.is_success()).expect("one too many")
}

fn while_many_import(edge: &Edge) -> Answer {
    let _others = on_their_way(edge);
    one_too_many(edge)
}

fn deletion_of_a_tunnel_in_use(edge: &Edge) -> Answer {
    let path = format!("/accounts/{}/cfd_tunnel", edge.account());
    let tunnel = edge.post(&path, r#"{"name":"office"}"#).result();
    let id = tunnel["id"].as_str().unwrap();
    connect(edge, id, 1);
    edge.call("DELETE", &format!("{path}/{id}"), "")
}
