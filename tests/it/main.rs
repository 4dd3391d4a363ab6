//! What needs real sessions, real workers, and a server that may be killed. One binary: each would start
//! servers of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod attack;
mod carried;
mod cases;
mod changes;
mod columns;
mod combined;
mod crash;
mod crew;
mod direct;
mod drivers;
mod dump;
mod endings;
mod faults;
mod floors;
mod hosted;
mod ids;
mod leaks;
mod limits;
mod live;
mod locks;
mod odd_triggers;
mod proof;
mod race;
mod security;
mod signals;
mod soak;
mod squatting;
mod stored_attacks;
mod switched;
mod throttle;
mod upgrade;
mod wait;
mod worker;
mod workers;
