//! What follows for a certificate from what came of it. Has no clock and no chance: both are handed in.

use std::time::Duration;

use bartizan_names::Timestamp;
use bartizan_store::renew_at;

use super::authority::Window;
use super::document::{AcmeCertificate, AcmeState, Held, Method};
use super::failure::{Failure, Kind, Whose};
use crate::ca::{earlier, later};

/// How long a try may take until somebody else, or the next start, takes it up again.
const CLAIM: Duration = Duration::from_secs(15 * 60);

/// How often it is asked when a certificate shall be renewed, whatever the authority says: it may want to take certificates
/// back within a day (RFC 9773 §4.3.2).
const ASK_MIN: Duration = Duration::from_secs(6 * 3_600);
const ASK_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How soon a certificate is renewed after it came, at least: an authority may issue what has almost run out.
const RENEW_MIN: Duration = Duration::from_secs(3_600);

/// In which time all that was issued by one authority is asked of another.
const MOVE: Duration = Duration::from_secs(24 * 3_600);

/// The part of its life by which a certificate is renewed sooner than another one of the same age, so that what came at
/// once is not renewed at once.
const SPREAD: u64 = 30;

/// What is to be done with a certificate that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Order,
    /// Ask when it is to be renewed.
    Ask,
}

pub(crate) fn step(certificate: &AcmeCertificate, now: Timestamp) -> Step {
    match (&certificate.held, certificate.renew_on) {
        (Some(_), Some(renew_on)) if renew_on > now => Step::Ask,
        _ => Step::Order,
    }
}

/// Names that are asked for in one certificate: public authorities take a hundred.
pub(crate) const TOGETHER_MAX: usize = 100;

/// How many wishes may be fulfilled by one certificate, of those that have failed so often: where one name of many is at
/// fault, the others do not go on failing with it. A second time it may have been the authority.
pub(crate) fn together_max(failures: u32) -> usize {
    match failures {
        0 | 1 => TOGETHER_MAX,
        2 => TOGETHER_MAX / 10,
        _ => 1,
    }
}

/// Whether both may be fulfilled by one certificate: single names below one zone that nobody asked for as they are, as far
/// as each other. Authorities count certificates, and what is asked of them.
pub(crate) fn go_together(one: &AcmeCertificate, other: &AcmeCertificate) -> bool {
    let is_single = |certificate: &AcmeCertificate| {
        let is_asked_for = certificate.is_ordered || certificate.is_of_zone();
        !is_asked_for && certificate.names.len() == 1 && certificate.method == Method::Txt
    };
    is_single(one)
        && is_single(other)
        && one.zone_id == other.zone_id
        && one.failures == other.failures
        && one.held.is_some() == other.held.is_some()
}

/// Whether it is a renewal whose time has come, and nobody's doing.
pub(crate) fn is_renewal(certificate: &AcmeCertificate, now: Timestamp) -> bool {
    certificate.held.is_some() && certificate.renew_on.is_some_and(|renew_on| renew_on <= now)
}

/// A try begins: nobody else begins one meanwhile.
pub(crate) fn claimed(certificate: AcmeCertificate, directory: &str, now: Timestamp) -> AcmeCertificate {
    AcmeCertificate {
        next_on: Some(later(now, CLAIM)),
        last_try_on: Some(now),
        directory: directory.to_owned(),
        ..certificate
    }
}

/// It is to wait, for that reason.
pub(crate) fn put_off(certificate: AcmeCertificate, until: Timestamp, reason: &str, now: Timestamp) -> AcmeCertificate {
    AcmeCertificate {
        state: AcmeState::Failing,
        next_on: Some(until),
        rests_until: Some(until),
        last_error: Some(reason.to_owned()),
        modified_on: now,
        ..certificate
    }
}

/// Nothing came of a try, and that says nothing.
pub(crate) fn again(certificate: AcmeCertificate, now: Timestamp) -> AcmeCertificate {
    AcmeCertificate { next_on: Some(now), ..certificate }
}

/// Its end has come.
pub(crate) fn ended(certificate: AcmeCertificate, now: Timestamp) -> AcmeCertificate {
    let has_ended = certificate.held.as_ref().is_some_and(|held| held.not_after <= now);
    AcmeCertificate { has_ended: has_ended || certificate.has_ended, ..certificate }
}

/// Another authority is asked from now on. What is there lasts, so that not all are asked for at once.
pub(crate) fn moved(certificate: AcmeCertificate, now: Timestamp) -> AcmeCertificate {
    let is_served = certificate.held.is_some() && !certificate.has_ended;
    let wait = if is_served { share(MOVE.as_micros() as u64, &certificate) } else { 0 };
    AcmeCertificate {
        state: if certificate.held.is_some() { AcmeState::Active } else { AcmeState::Pending },
        renew_on: None,
        next_on: Some(later(now, Duration::from_micros(wait))),
        rests_until: None,
        directory: String::new(),
        failures: 0,
        last_error: None,
        ..certificate
    }
}

/// Somebody has said anew, `since` then, who we are to the authority: what failed before that may go well now. What the
/// authority said of its names holds.
pub(crate) fn tried_anew(certificate: AcmeCertificate, since: Timestamp, now: Timestamp) -> AcmeCertificate {
    let is_before = |at: Option<Timestamp>| at.is_none_or(|at| at < since);
    let has_failed = certificate.state == AcmeState::Failing
        && is_before(Some(certificate.modified_on))
        && is_before(certificate.last_try_on);
    if !has_failed || certificate.rests_until.is_some_and(|until| until > now) {
        return certificate;
    }
    AcmeCertificate { next_on: certificate.next_on.map(|next| next.min(now)), ..certificate }
}

/// It was issued, when it was shown so that its names are ours. If it is wanted otherwise by now it stays due.
pub(crate) fn issued(
    certificate: AcmeCertificate,
    held: Held,
    method: Method,
    asks: bool,
    now: Timestamp,
) -> AcmeCertificate {
    if (&certificate.names, certificate.method) != (&held.names, method) {
        let held = Some(held);
        return AcmeCertificate { held, renew_on: None, next_on: Some(now), has_ended: false, ..certificate };
    }
    let renew_on = renew_on(&certificate, &held).max(later(now, RENEW_MIN));
    let next_on = if asks { renew_on.min(later(now, ASK_MIN)) } else { renew_on };
    AcmeCertificate {
        state: AcmeState::Active,
        held: Some(held),
        renew_on: Some(renew_on),
        next_on: Some(next_on),
        rests_until: None,
        has_ended: false,
        failures: 0,
        last_error: None,
        modified_on: now,
        ..certificate
    }
}

/// At two thirds of its life, and some a little sooner.
fn renew_on(certificate: &AcmeCertificate, held: &Held) -> Timestamp {
    let life = held.not_after.unix_micros().saturating_sub(held.not_before.unix_micros());
    let sooner = share(life / SPREAD, certificate);
    Timestamp::from_unix_micros(renew_at(held.not_before, held.not_after).unix_micros().saturating_sub(sooner))
}

/// A part of `span` that is always the same for the certificates of a zone: what came together is renewed together.
fn share(span: u64, certificate: &AcmeCertificate) -> u64 {
    let [a, b, ..] = bartizan_seal::sha256(certificate.zone_id.as_bytes());
    let part = u64::from(u16::from_be_bytes([a, b]));
    u64::try_from(u128::from(span) * u128::from(part) / (1 << 16)).unwrap_or(0)
}

/// The authority said when it is to be renewed; none: it never does.
pub(crate) fn asked(certificate: AcmeCertificate, window: Option<Window>, now: Timestamp) -> AcmeCertificate {
    let Some(held) = &certificate.held else { return certificate };
    let Some(Window { from, until, ask_again }) = window else {
        return AcmeCertificate { next_on: certificate.renew_on, ..certificate };
    };
    if until <= held.issued_on {
        // It speaks of one that was there before: else each new one would be renewed at once.
        return not_asked(certificate, now);
    }
    let span = until.unix_micros().saturating_sub(from.unix_micros());
    let at = Timestamp::from_unix_micros(from.unix_micros().saturating_add(share(span, &certificate)));
    // Later than we would is as good, but not so late that a failure or two cannot be mended.
    let late = earlier(held.not_after, half(renew_at(held.not_before, held.not_after), held.not_after));
    let renew_on = at.min(late);
    let again = ask_again.unwrap_or(ASK_MAX).clamp(ASK_MIN, ASK_MAX);
    AcmeCertificate { renew_on: Some(renew_on), next_on: Some(renew_on.min(later(now, again)).max(now)), ..certificate }
}

/// It could not be asked: what it said last holds.
pub(crate) fn not_asked(certificate: AcmeCertificate, now: Timestamp) -> AcmeCertificate {
    let again = later(now, ASK_MAX);
    let next_on = certificate.renew_on.map_or(again, |renew_on| renew_on.min(again));
    AcmeCertificate { next_on: Some(next_on), ..certificate }
}

fn half(from: Timestamp, until: Timestamp) -> Duration {
    Duration::from_micros(until.unix_micros().saturating_sub(from.unix_micros()) / 2)
}

/// It was not issued. `chance` is one of 256 ways in which those that failed at once are tried again apart.
pub(crate) fn failed(certificate: AcmeCertificate, failure: &Failure, chance: u8, now: Timestamp) -> AcmeCertificate {
    let failures = match failure.whose {
        Whose::Names => certificate.failures.saturating_add(1),
        // It says nothing of these names.
        Whose::All => certificate.failures.max(1),
    };
    let wait = wait(failure.kind, failures);
    // Up to an eighth longer.
    let wait = wait + wait * u32::from(chance) / (8 * 256);
    let told = failure.retry_after.map(|after| after.min(WAIT_MAX));
    let wait = told.map_or(wait, |told| wait.max(told));
    let end = certificate.held.as_ref().map(|held| held.not_after);
    // At its end somebody looks once more, and sees that it is the end.
    let next_on = end.filter(|end| *end > now).map_or(later(now, wait), |end| later(now, wait).min(end));
    AcmeCertificate {
        state: AcmeState::Failing,
        next_on: Some(next_on),
        rests_until: told.map(|told| later(now, told)),
        has_ended: end.is_some_and(|end| end <= now),
        failures,
        last_error: Some(failure.reason.clone()),
        modified_on: now,
        ..certificate
    }
}

/// What was noted at a time that is still to come was noted by a clock that was ahead. What follows from the certificate that
/// is there holds, whose times are the authority's.
pub(crate) fn seen_again(certificate: AcmeCertificate, now: Timestamp) -> AcmeCertificate {
    let Some(next_on) = certificate.next_on.filter(|next_on| *next_on > now) else { return certificate };
    let has_ended = certificate.has_ended && certificate.held.as_ref().is_none_or(|held| held.not_after <= now);
    let renew_on = certificate.renew_on.filter(|renew_on| *renew_on > now);
    match (certificate.state, renew_on) {
        (AcmeState::Active, Some(renew_on)) => {
            AcmeCertificate { next_on: Some(next_on.min(renew_on)), has_ended, ..certificate }
        }
        _ if certificate.modified_on <= now => certificate,
        // It was not to be renewed yet.
        (AcmeState::Failing, Some(renew_on)) => AcmeCertificate {
            state: AcmeState::Active,
            next_on: Some(renew_on),
            has_ended,
            failures: 0,
            last_error: None,
            modified_on: now,
            ..certificate
        },
        _ => AcmeCertificate { next_on: Some(now), has_ended, ..certificate },
    }
}

/// The longest that nothing is tried.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How long after so many failures it is tried again. Let's Encrypt counts five failed validations of a name an hour.
pub(crate) fn wait(kind: Kind, failures: u32) -> Duration {
    let (first, most) = match kind {
        Kind::Away | Kind::Stale | Kind::Ours => (60, 3_600),
        Kind::NotShown => (300, 12 * 3_600),
        Kind::Refused | Kind::NoAccount => (3_600, 24 * 3_600),
        Kind::TooOften => (3_600, 24 * 3_600),
    };
    let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).map_or(most, |times| first * times.min(most));
    Duration::from_secs(doubled.min(most))
}

#[cfg(test)]
mod tests {
    use bartizan_names::{ZoneId, ZoneName};

    use super::*;
    use crate::sealed::SealedKey;

    const DAY: u64 = 86_400;

    fn day(number: u64) -> Timestamp {
        Timestamp::from_unix_micros(number * DAY * 1_000_000)
    }

    fn held(from: u64, until: u64) -> Held {
        let sealed_key: SealedKey = serde_json::from_str("\"\"").unwrap();
        Held {
            names: wanted(0).names,
            directory: String::new(),
            chain_pem: String::new(),
            sealed_key,
            not_before: day(from),
            not_after: day(until),
            issuer: String::new(),
            signature: String::new(),
            issued_on: day(from),
        }
    }

    fn wanted(number: u8) -> AcmeCertificate {
        let name = ZoneName::new(bartizan_names::Name::parse("example.test").unwrap()).unwrap();
        AcmeCertificate::for_zone(ZoneId::from_bytes([number; 16]), &name, day(0))
    }

    #[test]
    fn renewal_is_at_two_thirds_of_the_life_and_spread() {
        let days: Vec<u64> = (0..=255)
            .map(|number| {
                let done = issued(wanted(number), held(0, 90), Method::Txt, false, day(0));
                assert_eq!((done.state, done.renew_on), (AcmeState::Active, done.next_on));
                assert_eq!(step(&done, day(56)), Step::Ask);
                assert_eq!(step(&done, day(60)), Step::Order);
                done.renew_on.unwrap().unix_seconds() / DAY
            })
            .collect();
        for expect in 57..60 {
            let there = days.iter().filter(|day| **day == expect).count();
            assert!((60..=110).contains(&there), "{there} on day {expect}");
        }
        // One that lives for days alone is renewed in time as well.
        let short = issued(wanted(1), held(0, 6), Method::Txt, false, day(0));
        assert_eq!(step(&short, day(4)), Step::Order);
    }

    #[test]
    fn what_is_old_when_it_comes_is_not_renewed_at_once() {
        let hour = later(day(100), RENEW_MIN);
        for (from, until) in [(0, 102), (0, 101), (99, 100), (0, 50)] {
            for asks in [false, true] {
                let done = issued(wanted(1), held(from, until), Method::Txt, asks, day(100));
                assert_eq!((done.renew_on, done.next_on), (Some(hour), Some(hour)), "{from} {until}");
            }
        }
    }

    #[test]
    fn the_authority_may_want_it_sooner_and_not_much_later() {
        let done = issued(wanted(200), held(0, 90), Method::Txt, true, day(0));
        assert_eq!(done.next_on, Some(later(day(0), ASK_MIN)));
        let window = |from, until| Window { from: day(from), until: day(until), ask_again: None };
        let at = |from, until| asked(done.clone(), Some(window(from, until)), day(1));
        let sooner = at(2, 4);
        assert!(sooner.renew_on > Some(day(2)) && sooner.renew_on < Some(day(4)));
        let at_once = at(0, 1);
        assert_eq!(step(&at_once, day(1)), Step::Order);
        assert_eq!(at_once.next_on, Some(day(1)));
        assert_eq!(at(80, 89).renew_on, Some(day(75)), "with time for some failures");
        let old = AcmeCertificate { held: Some(held(2, 92)), ..done.clone() };
        let stale = asked(old.clone(), Some(window(1, 2)), day(2));
        assert_eq!((stale.renew_on, stale.next_on), (old.renew_on, Some(day(3))), "of the one before");
        let silent = asked(done.clone(), None, day(1));
        assert_eq!((silent.renew_on, silent.next_on), (done.renew_on, done.renew_on));
        let away = not_asked(done.clone(), day(1));
        assert_eq!((away.renew_on, away.next_on), (done.renew_on, Some(day(2))));
    }

    #[test]
    fn what_fails_is_tried_again_less_and_less_and_what_is_there_stays() {
        let there = issued(wanted(1), held(0, 90), Method::Txt, false, day(0));
        let failure = Failure::new(Kind::NotShown, "no TXT record");
        let (mut now, mut certificate, mut waits) = (day(60), there, Vec::new());
        for _ in 0..12 {
            certificate = failed(claimed(certificate, "", now), &failure, 0, now);
            let next = certificate.next_on.unwrap();
            waits.push((next.unix_micros() - now.unix_micros()) / 60_000_000);
            now = next;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 720, 720, 720, 720]);
        assert_eq!((certificate.state, certificate.failures), (AcmeState::Failing, 12));
        assert!(certificate.held.is_some() && certificate.last_error.as_deref() == Some("no TXT record"));
        assert!(!certificate.has_ended && failed(certificate.clone(), &failure, 0, day(90)).has_ended);
        // Apart, and never sooner than the authority says.
        let apart = failed(certificate.clone(), &failure, 255, now).next_on.unwrap();
        assert!(apart > failed(certificate.clone(), &failure, 0, now).next_on.unwrap());
        let told = failure.after(Some(Duration::from_secs(2 * DAY)));
        assert_eq!(failed(certificate.clone(), &told, 0, now).next_on, Some(later(now, Duration::from_secs(2 * DAY))));
        let done = issued(certificate, held(65, 155), Method::Txt, false, now);
        assert_eq!((done.failures, done.last_error), (0, None));
    }

    #[test]
    fn no_wait_is_longer_than_its_most() {
        for kind in [Kind::Away, Kind::Stale, Kind::NotShown, Kind::Refused, Kind::TooOften, Kind::Ours] {
            let mut last = Duration::ZERO;
            for failures in (1..100).chain([u32::MAX]) {
                let wait = wait(kind, failures);
                assert!(wait >= last && wait <= Duration::from_secs(DAY), "{kind:?} {failures}");
                last = wait;
            }
        }
    }
}
