//! Load balancing: pools, monitors and load balancers as they can be served, and the documents that are kept of them.
//!
//! `document` makes what is kept of what was sent, with the defaults of the dialect in it; `parse` reads what is kept. Whether
//! what one refers to is there is for the caller to know.

mod error;
mod load_balancer;
mod monitor;
mod pool;

use bartizan_v4::{Integer, Patch};

pub use error::BalancingError;
pub use load_balancer::{Affinity, Cookie, LoadBalancer, SameSite, Steering};
pub use monitor::{Codes, Monitor, MonitorKind};
pub use pool::{NODES_MAX, NodeChoice, NodeTarget, Pool, PoolNode};

/// Octets of a name, and of a description.
const NAME_MAX: usize = 255;
const DESCRIPTION_MAX: usize = 1_000;

type Refused = BalancingError;

/// What a field is after a request: what it says, else what it was, else the default. `null` is the default.
fn told<T: Clone>(field: &Patch<T>, before: Option<T>, default: T) -> T {
    match field {
        Patch::Value(value) => value.clone(),
        Patch::Null => default,
        Patch::Absent => before.unwrap_or(default),
    }
}

/// The same for an object: what is given replaces all of it, and what it leaves out is as if nothing had been there.
fn object<B, T: Clone>(
    field: &Patch<B>,
    before: Option<&T>,
    default: T,
    read: impl FnOnce(&B) -> Result<T, Refused>,
) -> Result<T, Refused> {
    match (field, before) {
        (Patch::Value(body), _) => read(body),
        (Patch::Absent, Some(before)) => Ok(before.clone()),
        (Patch::Null | Patch::Absent, _) => Ok(default),
    }
}

/// A word, where the empty text is as good as none.
fn word(field: &Patch<String>, default: &str) -> String {
    field.value().filter(|text| !text.is_empty()).map_or(default, String::as_str).to_owned()
}

/// The same for a whole number of this range.
fn number<N: Copy + TryFrom<i64> + TryInto<i64>>(
    (field, pointer): (&Patch<Integer>, &'static str),
    before: Option<N>,
    default: N,
    (least, most): (N, N),
) -> Result<N, Refused> {
    let wide = |number: N| number.try_into().unwrap_or(i64::MAX);
    let (least, most) = (wide(least), wide(most));
    match field {
        Patch::Absent => Ok(before.unwrap_or(default)),
        Patch::Null => Ok(default),
        Patch::Value(Integer(given)) if (least..=most).contains(given) => {
            N::try_from(*given).map_err(|_| Refused::Range { pointer, least, most })
        }
        Patch::Value(_) => Err(Refused::Range { pointer, least, most }),
    }
}

fn check_description(text: &str) -> Result<(), Refused> {
    if text.len() > DESCRIPTION_MAX || text.chars().any(|one| one.is_control() && one != '\n' && one != '\t') {
        return Err(Refused::Text { pointer: "/description", max: DESCRIPTION_MAX });
    }
    Ok(())
}
