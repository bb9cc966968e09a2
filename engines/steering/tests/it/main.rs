//! Who is sent where, through the front door.

mod choices;
