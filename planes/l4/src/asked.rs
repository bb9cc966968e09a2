//! What the firewall in force makes of a source: for whoever asks, beside the connections that it decides on.

use bartizan_firewall::Source;
use bartizan_live::Live;
use bartizan_names::{RuleId, ZoneId};
use bartizan_observed::{FirewallAnswer, FirewallQuery, FirewallQuestion, Verdict};

use crate::Config;

/// The configuration in force.
#[derive(Clone)]
pub struct InForce(pub Live<Config>);

impl FirewallQuery for InForce {
    fn ask(&self, question: FirewallQuestion) -> FirewallAnswer {
        let config = self.0.snapshot();
        let Config { firewall, geo, .. } = &config.value;
        let (country, asn) = geo.lookup(question.address);
        let source = Source { address: question.address, country, asn };
        let verdict = match question.zone {
            Some(zone) => firewall.decide(zone, &source),
            None => firewall.decide_everywhere(&source),
        };
        // Rules of no zone match in a zone that nobody has.
        let zone = question.zone.unwrap_or(ZoneId::from_bytes([0; 16]));
        let mut rules: Vec<RuleId> = firewall.explain(zone, &source).into_iter().map(|rule| rule.id).collect();
        if let bartizan_firewall::Verdict::Unknown(rule) = verdict {
            rules.push(rule);
        }
        FirewallAnswer {
            verdict: match verdict {
                bartizan_firewall::Verdict::Allow(_) => Verdict::Allow,
                bartizan_firewall::Verdict::Challenge(_) => Verdict::Challenge,
                bartizan_firewall::Verdict::Block(_) => Verdict::Block,
                bartizan_firewall::Verdict::Unknown(_) => Verdict::Unknown,
            },
            rules,
            country,
            asn,
        }
    }
}
