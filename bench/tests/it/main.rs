//! What can be counted and does not depend on the machine.

mod allocations;
