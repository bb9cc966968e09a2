//! The zone that every benchmark uses: many names with one address each.

use std::error::Error;
use std::sync::Arc;

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_names::{Name, NameError, RecordType, ZoneName};
use bartizan_signer::{
    Algorithm, Announcement, Denial, Duties, PrivateKey, Role, Validity, ZoneKey, ZoneKeys, generate,
};

/// More names have no address of their own in 10.0.0.0/8.
pub const NAMES_MAX: u32 = 1 << 24;

/// The name with a number.
pub fn owner(number: u32, zone: &Name) -> Result<Name, NameError> {
    zone.child(format!("n{number}").as_bytes())
}

/// A zone of names with one address each.
pub fn zone_of_names(zone: &ZoneName, names: u32) -> Result<Zones, NameError> {
    let mut edit = Zones::empty().edit();
    edit.put_zone(facts(zone)?);
    for number in 0..names.min(NAMES_MAX) {
        let [_, a, b, c] = number.to_be_bytes();
        edit.put_name(zone, &owner(number, zone.as_name())?, address([10, a, b, c]));
    }
    Ok(edit.finish())
}

fn facts(zone: &ZoneName) -> Result<ZoneFacts, NameError> {
    Ok(ZoneFacts {
        serial: 1,
        nameservers: vec![zone.as_name().child(b"ns1")?],
        soa_rname: zone.as_name().child(b"dns")?,
        ..ZoneFacts::new(zone.clone())
    })
}

/// The same zone with a new key.
pub fn sign_zone(zones: &Zones, zone: &ZoneName, algorithm: Algorithm) -> Result<Zones, Box<dyn Error>> {
    let made = generate(Role::Csk, algorithm)?;
    let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(|_, bytes| Some(bytes.to_vec())));
    let duties = Duties { published: true, signs: true, announced: false };
    let key = ZoneKey { public: made.public, duties, private: Some(private) };
    let keys = ZoneKeys::new(vec![key], Denial::Compact, Announcement::None, Validity::default())?;
    let mut edit = zones.edit();
    edit.put_zone(ZoneFacts { dnssec: Some(Arc::new(keys)), ..facts(zone)? });
    Ok(edit.finish())
}

fn address(octets: [u8; 4]) -> NameContent {
    NameContent {
        sets: vec![RecordSet { rtype: RecordType::A, ttl: 300, rdata: vec![octets.to_vec()] }],
        proxied: Proxied::Never,
    }
}
