//! Settings of the dialect that cannot be changed here: what each of them is at this edge, and why it is so.
//!
//! A setting that took a value and did nothing would be a lie, above all one that promises safety. So the value is the one
//! that is true, `editable` says that it stays, and who asks for another one is told the reason. A setting that comes to be
//! enforced moves to the rows of `base/names`.

use bartizan_v4::Setting;
use serde_json::{Value, json};

/// A setting with one value.
#[derive(Debug)]
pub struct FixedSetting {
    pub id: &'static str,
    value: fn() -> Value,
    /// Why it is so; a sentence without its end.
    pub reason: &'static str,
}

const AS_SENT: &str = "answers are passed on as the origin sent them";
const NO_CACHE: &str = "nothing is cached";
const NO_CHALLENGE: &str = "nobody is challenged";
const NOT_HERE: &str = "this edge has nothing of the kind";

macro_rules! fixed {
    ($($id:literal: $value:tt, $reason:expr;)+) => {
        /// In the order of their ids.
        const FIXED: &[FixedSetting] =
            &[$(FixedSetting { id: $id, value: || json!($value), reason: $reason }),+];
    };
}

fixed! {
    "advanced_ddos": "off", NOT_HERE;
    "always_online": "off", NO_CACHE;
    "automatic_https_rewrites": "off", AS_SENT;
    "automatic_platform_optimization":
        {"enabled": false, "cf": false, "wordpress": false, "wp_plugin": false, "hostnames": [], "cache_by_device_type": false},
        NO_CACHE;
    "brotli": "off", AS_SENT;
    "browser_cache_ttl": 0, "how long a browser may keep an answer is for the origin to say";
    "browser_check": "off", NO_CHALLENGE;
    "cache_level": "basic", NO_CACHE;
    "challenge_ttl": 300, NO_CHALLENGE;
    "cname_flattening": "flatten_at_root",
        "a proxied CNAME is answered with addresses, at the apex as well, and every other one as it is";
    "development_mode": "off", NO_CACHE;
    "early_hints": "off", "hints of the origin are passed on, and none are made here";
    "edge_cache_ttl": 7200, NO_CACHE;
    "email_obfuscation": "off", AS_SENT;
    "h2_prioritization": "off", "frames leave in the order in which answers are ready";
    "hotlink_protection": "off", NOT_HERE;
    "image_resizing": "off", AS_SENT;
    "ip_geolocation": "on", "origins are told the country of a visitor where it is known";
    "minify": {"css": "off", "html": "off", "js": "off"}, AS_SENT;
    "mirage": "off", AS_SENT;
    "mobile_redirect": {"mobile_subdomain": null, "status": "off", "strip_uri": false}, NOT_HERE;
    "nel": {"enabled": false}, "browsers are not asked to report";
    "opportunistic_encryption": "off",
        "what is asked for over plain HTTP is not offered over TLS (RFC 8164 is experimental, and no browser does it any more); \
         always_use_https sends visitors there";
    "opportunistic_onion": "off", "this edge has no service in the Tor network";
    "orange_to_orange": "off", NOT_HERE;
    "origin_error_page_pass_thru": "on", AS_SENT;
    "polish": "off", AS_SENT;
    "prefetch_preload": "off", NO_CACHE;
    "pseudo_ipv4": "off", "origins are told the address that a visitor has";
    "replace_insecure_js": "off", AS_SENT;
    "response_buffering": "off", "an answer is passed on while it arrives";
    "rocket_loader": "off", AS_SENT;
    "security_level": "essentially_off", NO_CHALLENGE;
    "server_side_exclude": "off", AS_SENT;
    "sha1_support": "off", "certificates are signed with SHA-256";
    "sort_query_string_for_cache": "off", NO_CACHE;
    "ssl_recommender": "off", "nobody is sent recommendations";
    "tls_1_2_only": "off", "tls_1_3 and min_tls_version say which versions are spoken";
    "true_client_ip_header": "off", "a visitor's address is told in CF-Connecting-IP";
    "waf": "off", NOT_HERE;
    "webp": "off", AS_SENT;
}

impl FixedSetting {
    pub fn all() -> impl Iterator<Item = &'static FixedSetting> {
        FIXED.iter()
    }

    pub fn of(id: &str) -> Option<&'static FixedSetting> {
        FIXED.iter().find(|setting| setting.id == id)
    }

    pub fn show(&self) -> Setting {
        // The one setting that the dialect tells so.
        let enabled = (self.id == "ssl_recommender").then_some(false);
        Setting { id: self.id.to_owned(), value: (self.value)(), enabled, editable: false, modified_on: None }
    }

    /// Whether `value` is what the setting is anyway: numbers may be text, and switches what they mean.
    pub fn is(&self, value: &Value) -> bool {
        match (value, (self.value)()) {
            (Value::Bool(on), Value::String(word)) => word == if *on { "on" } else { "off" },
            (Value::Number(number), own) if own.is_number() => number.as_f64() == own.as_f64(),
            (Value::String(text), own) if own.is_number() => text.trim().parse::<f64>().ok() == own.as_f64(),
            (value, own) => *value == own,
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::SettingId;

    use super::*;

    #[test]
    fn each_setting_is_said_once() {
        assert!(FixedSetting::all().is_sorted_by_key(|setting| setting.id));
        for setting in FixedSetting::all() {
            assert!(setting.id.parse::<SettingId>().is_err(), "{} is enforced", setting.id);
            assert!(setting.is(&setting.show().value), "{}", setting.id);
        }
    }

    #[test]
    fn values_that_change_nothing() {
        for (id, value, expect) in [
            ("brotli", json!("off"), true),
            ("brotli", json!(false), true),
            ("brotli", json!("on"), false),
            ("origin_error_page_pass_thru", json!(true), true),
            ("browser_cache_ttl", json!("0"), true),
            ("browser_cache_ttl", json!(0.0), true),
            ("browser_cache_ttl", json!(14_400), false),
            ("minify", json!({"js": "off", "html": "off", "css": "off"}), true),
            ("minify", json!({"js": "on"}), false),
            ("nel", Value::Null, false),
        ] {
            assert_eq!(FixedSetting::of(id).map(|setting| setting.is(&value)), Some(expect), "{id} {value}");
        }
    }
}
