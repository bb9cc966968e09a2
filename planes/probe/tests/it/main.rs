//! Servers are looked at, through the front door: what they answer, and what is said of them then.

mod looks;
