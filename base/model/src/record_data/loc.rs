//! LOC: where something is (RFC 1876).

use bartizan_v4::dns_record::Data;
use serde_json::{Number, Value as Json};

use super::error::DataError;
use super::text::Words;

/// Octets on the wire (RFC 1876 §2).
const OCTETS: usize = 16;

/// The equator and the prime meridian on the wire; a unit is a thousandth of a second of arc.
const MIDDLE: i64 = 1 << 31;

/// What altitudes count from, in centimetres below the surface of the reference.
const BELOW: i64 = 10_000_000;

const PER_SECOND: f64 = 1_000.0;
const PER_MINUTE: i64 = 60_000;
const PER_DEGREE: i64 = 60 * PER_MINUTE;
const PER_METRE: f64 = 100.0;

/// The largest size and precision, in centimetres: nine and nine zeros.
const SIZE_MAX: i64 = 9_000_000_000;

/// Where text says nothing (RFC 1876 §3): a metre, ten kilometres, ten metres, in centimetres.
const DEFAULTS: [i64; 3] = [100, 1_000_000, 1_000];

const FORM: &str = "\"degrees minutes seconds N|S degrees minutes seconds E|W altitude size horizontal vertical\"";

/// A place, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loc {
    /// Size, horizontal and vertical precision: a digit and a number of zeros, of centimetres.
    sizes: [u8; 3],
    latitude: u32,
    longitude: u32,
    altitude: u32,
}

/// One of the two angles.
struct Axis {
    degrees: &'static str,
    minutes: &'static str,
    seconds: &'static str,
    direction: &'static str,
    directions: [&'static str; 2],
    direction_form: &'static str,
    degrees_max: i64,
    degrees_form: &'static str,
}

const LATITUDE: Axis = Axis {
    degrees: "lat_degrees",
    minutes: "lat_minutes",
    seconds: "lat_seconds",
    direction: "lat_direction",
    directions: ["N", "S"],
    direction_form: "N or S",
    degrees_max: 90,
    degrees_form: "a whole number between 0 and 90",
};

const LONGITUDE: Axis = Axis {
    degrees: "long_degrees",
    minutes: "long_minutes",
    seconds: "long_seconds",
    direction: "long_direction",
    directions: ["E", "W"],
    direction_form: "E or W",
    degrees_max: 180,
    degrees_form: "a whole number between 0 and 180",
};

const MINUTES_FORM: &str = "a whole number between 0 and 59";
const SECONDS_FORM: &str = "a number between 0 and 59.999";
const SIZES: [&str; 3] = ["size", "precision_horz", "precision_vert"];
const SIZE_FORM: &str = "metres between 0 and 90000000";

impl Loc {
    /// Without what may be left out, or with it. Sizes are rounded down to what the wire can say, one digit and zeros.
    pub(super) fn read_text(text: &str) -> Result<Loc, DataError> {
        Loc::words(Words::of(text)).ok_or_else(|| DataError::Content { kind: "LOC", form: FORM.to_owned() })
    }

    fn words(mut words: Words<'_>) -> Option<Loc> {
        let latitude = LATITUDE.read_words(&mut words)?;
        let longitude = LONGITUDE.read_words(&mut words)?;
        let mut metres = || words.next().map(|word| scaled(word.strip_suffix(['m', 'M']).unwrap_or(word), PER_METRE));
        let altitude = metres()??;
        let mut sizes = [0; 3];
        for (size, default) in sizes.iter_mut().zip(DEFAULTS) {
            *size = shortened(metres().unwrap_or(Some(default))?)?;
        }
        let altitude = u32::try_from(altitude + BELOW).ok()?;
        words.rest().is_empty().then_some(Loc { sizes, latitude, longitude, altitude })
    }

    /// Where `data` says nothing of minutes, seconds and sizes, they are zero.
    pub(super) fn read_data(data: &Data) -> Result<Loc, DataError> {
        let latitude = LATITUDE.read_data(data)?;
        let longitude = LONGITUDE.read_data(data)?;
        let altitude = number(data, "altitude", PER_METRE)
            .and_then(|altitude| u32::try_from(altitude + BELOW).ok())
            .ok_or(DataError::Field { field: "altitude", form: "metres between -100000 and 42849672.95" })?;
        let mut sizes = [0; 3];
        for (size, field) in sizes.iter_mut().zip(SIZES) {
            let centimetres = number(data, field, PER_METRE).and_then(shortened);
            *size = centimetres.ok_or(DataError::Field { field, form: SIZE_FORM })?;
        }
        Ok(Loc { sizes, latitude, longitude, altitude })
    }

    pub(super) fn data(&self) -> Data {
        let mut fields = Vec::new();
        for (axis, angle) in [(LATITUDE, self.latitude), (LONGITUDE, self.longitude)] {
            let Angle { degrees, minutes, milliseconds, direction } = axis.angle(angle);
            fields.push((axis.degrees, degrees.into()));
            fields.push((axis.minutes, minutes.into()));
            fields.push((axis.seconds, json(milliseconds, PER_SECOND)));
            fields.push((axis.direction, direction.into()));
        }
        fields.push(("altitude", json(self.altitude(), PER_METRE)));
        fields.extend(SIZES.into_iter().zip(self.sizes).map(|(name, size)| (name, json(lengthened(size), PER_METRE))));
        Data::new(fields.into_iter().map(|(name, value): (_, Json)| (name.to_owned(), value)))
    }

    pub(super) fn text(&self) -> String {
        let angle = |axis: Axis, angle| {
            let Angle { degrees, minutes, milliseconds, direction } = axis.angle(angle);
            format!("{degrees} {minutes} {}.{:03} {direction}", milliseconds / 1_000, milliseconds % 1_000)
        };
        let metres = |centimetres: i64| {
            let sign = if centimetres < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}m", centimetres.abs() / 100, centimetres.abs() % 100)
        };
        let mut words = vec![angle(LATITUDE, self.latitude), angle(LONGITUDE, self.longitude), metres(self.altitude())];
        words.extend(self.sizes.map(|size| metres(lengthened(size))));
        words.join(" ")
    }

    pub(super) fn wire(&self) -> [u8; OCTETS] {
        let mut wire = [0; OCTETS];
        wire[1..4].copy_from_slice(&self.sizes);
        wire[4..8].copy_from_slice(&self.latitude.to_be_bytes());
        wire[8..12].copy_from_slice(&self.longitude.to_be_bytes());
        wire[12..].copy_from_slice(&self.altitude.to_be_bytes());
        wire
    }

    /// Version 0 alone is known (RFC 1876 §2). Of several ways to say a size there is one of ours.
    pub(super) fn read_wire(wire: &[u8]) -> Option<Loc> {
        let wire: &[u8; OCTETS] = wire.try_into().ok()?;
        let word = |at: usize| u32::from_be_bytes([wire[at], wire[at + 1], wire[at + 2], wire[at + 3]]);
        let mut sizes = [0; 3];
        for (size, octet) in sizes.iter_mut().zip(&wire[1..4]) {
            let valid = octet >> 4 <= 9 && octet & 0xf <= 9;
            *size = shortened(valid.then(|| lengthened(*octet))?)?;
        }
        let loc = Loc { sizes, latitude: word(4), longitude: word(8), altitude: word(12) };
        let within = |axis: &Axis, angle: u32| (i64::from(angle) - MIDDLE).abs() <= axis.degrees_max * PER_DEGREE;
        (wire[0] == 0 && within(&LATITUDE, loc.latitude) && within(&LONGITUDE, loc.longitude)).then_some(loc)
    }

    /// In centimetres.
    fn altitude(&self) -> i64 {
        i64::from(self.altitude) - BELOW
    }
}

struct Angle {
    degrees: i64,
    minutes: i64,
    milliseconds: i64,
    direction: &'static str,
}

impl Axis {
    /// Degrees, and minutes and seconds if they are said, then the direction.
    fn read_words(&self, words: &mut Words<'_>) -> Option<u32> {
        let mut parts = [0; 3];
        for (index, word) in std::iter::from_fn(|| words.next()).take(parts.len() + 1).enumerate() {
            if let Some(negative) = self.directions.iter().position(|it| it.eq_ignore_ascii_case(word)) {
                return (index > 0).then(|| self.angle_of(parts, negative == 1))?;
            }
            *parts.get_mut(index)? = if index == 2 { scaled(word, PER_SECOND)? } else { whole(word)? };
        }
        None
    }

    fn read_data(&self, data: &Data) -> Result<u32, DataError> {
        let error = |field, form| DataError::Field { field, form };
        let direction = data.text(self.direction).map(str::trim).unwrap_or_default();
        let negative = self.directions.iter().position(|it| it.eq_ignore_ascii_case(direction));
        let negative = negative.ok_or(error(self.direction, self.direction_form))? == 1;
        let degrees = data.get(self.degrees).and_then(|_| number(data, self.degrees, 1.0));
        let degrees = degrees.ok_or(error(self.degrees, self.degrees_form))?;
        let minutes = number(data, self.minutes, 1.0).ok_or(error(self.minutes, MINUTES_FORM))?;
        let milliseconds = number(data, self.seconds, PER_SECOND).ok_or(error(self.seconds, SECONDS_FORM))?;
        if !(0..60).contains(&minutes) {
            return Err(error(self.minutes, MINUTES_FORM));
        }
        if !(0..PER_MINUTE).contains(&milliseconds) {
            return Err(error(self.seconds, SECONDS_FORM));
        }
        self.angle_of([degrees, minutes, milliseconds], negative).ok_or(error(self.degrees, self.degrees_form))
    }

    fn angle_of(&self, [degrees, minutes, milliseconds]: [i64; 3], negative: bool) -> Option<u32> {
        let valid = (0..=self.degrees_max).contains(&degrees)
            && (0..60).contains(&minutes)
            && (0..PER_MINUTE).contains(&milliseconds);
        let arc = valid.then(|| degrees * PER_DEGREE + minutes * PER_MINUTE + milliseconds)?;
        let within = arc <= self.degrees_max * PER_DEGREE;
        u32::try_from(if negative { MIDDLE - arc } else { MIDDLE + arc }).ok().filter(|_| within)
    }

    fn angle(&self, wire: u32) -> Angle {
        let arc = i64::from(wire) - MIDDLE;
        let direction = self.directions[usize::from(arc < 0)];
        let arc = arc.abs();
        Angle {
            degrees: arc / PER_DEGREE,
            minutes: arc % PER_DEGREE / PER_MINUTE,
            milliseconds: arc % PER_MINUTE,
            direction,
        }
    }
}

fn whole(word: &str) -> Option<i64> {
    word.parse::<u8>().ok().map(i64::from)
}

/// A number in units of which `scale` make one, rounded to whole ones.
fn scaled(text: &str, scale: f64) -> Option<i64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    units(text.parse().ok().filter(|_| plain)?, scale)
}

/// What no field can be is none: twice the largest altitude is beyond them all.
fn units(number: f64, scale: f64) -> Option<i64> {
    let units = (number * scale).round();
    (units.abs() <= 2.0 * SIZE_MAX as f64).then_some(units as i64)
}

/// A field of `data`, zero where it is not said. A whole number where `scale` is one.
fn number(data: &Data, field: &str, scale: f64) -> Option<i64> {
    let number = match data.get(field) {
        None => return Some(0),
        Some(Json::String(text)) => text.trim().parse().ok()?,
        Some(value) => value.as_f64()?,
    };
    let whole = scale == 1.0 && number.fract() != 0.0;
    units(number, scale).filter(|_| !whole)
}

/// Whole where it is, so that readers that want whole numbers find one.
fn json(units: i64, scale: f64) -> Json {
    let whole = scale as i64;
    if units % whole == 0 {
        return (units / whole).into();
    }
    Number::from_f64(units as f64 / scale).map_or(Json::Null, Json::Number)
}

/// One digit and zeros, as an octet (RFC 1876 §2).
fn shortened(centimetres: i64) -> Option<u8> {
    if !(0..=SIZE_MAX).contains(&centimetres) {
        return None;
    }
    let (mut digit, mut zeros) = (centimetres, 0);
    while digit > 9 {
        digit /= 10;
        zeros += 1;
    }
    Some((digit as u8) << 4 | zeros) // both are at most 9
}

fn lengthened(octet: u8) -> i64 {
    i64::from(octet >> 4) * 10_i64.pow((octet & 0xf).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_one_form() {
        for (text, expect) in [
            ("42 21 54 N 71 06 18 W -24m 30m", Some("42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m")),
            (
                "31 58 52.100 S 115 49 11.700 E 20.00m 10.00m 10.00m 2.00m",
                Some("31 58 52.100 S 115 49 11.700 E 20.00m 10.00m 10.00m 2.00m"),
            ),
            ("52 n 4 e 0", Some("52 0 0.000 N 4 0 0.000 E 0.00m 1.00m 10000.00m 10.00m")),
            ("0 S 0 W -100000m 123m 0m 0.05m", Some("0 0 0.000 N 0 0 0.000 E -100000.00m 100.00m 0.00m 0.05m")),
            ("90 0 0 N 180 0 0 E 42849672.95m", Some("90 0 0.000 N 180 0 0.000 E 42849672.95m 1.00m 10000.00m 10.00m")),
            ("90 0 1 N 4 E 0m", None),
            ("91 N 4 E 0m", None),
            ("52 60 N 4 E 0m", None),
            ("52 0 60 N 4 E 0m", None),
            ("N 4 E 0m", None),
            ("52 N 181 E 0m", None),
            ("52 N 4 E", None),
            ("52 N 4 E 42849672.96m", None),
            ("52 N 4 E 0m 90000001m", None),
            ("52 N 4 E 0m 1m 1m 1m 1m", None),
            ("52 N 4 E infm", None),
        ] {
            let loc = Loc::read_text(text).ok();
            assert_eq!(loc.map(|loc| loc.text()).as_deref(), expect, "{text}");
            if let Some(loc) = loc {
                assert_eq!(Loc::read_text(&loc.text()), Ok(loc));
                assert_eq!(Loc::read_data(&loc.data()), Ok(loc));
                assert_eq!(Loc::read_wire(&loc.wire()), Some(loc));
            }
        }
    }

    #[test]
    fn octets_that_are_no_place() {
        let good = Loc::read_text("52 N 4 E 0m").unwrap().wire();
        for (at, octet) in [(0, 1), (1, 0xa0), (2, 0x0a), (4, 0xff), (8, 0)] {
            let mut wire = good;
            wire[at] = octet;
            assert_eq!(Loc::read_wire(&wire), None, "{at}");
        }
        assert_eq!(Loc::read_wire(&good[1..]), None);
    }
}
