//! What needs real sessions, real workers, and a server that may be killed. One binary: each would start
//! servers of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod app_instances;
mod application_path;
mod application_triggers;
mod attack;
mod both_sides_live;
mod cases;
mod columns;
mod combined;
mod copied_properties;
mod crash;
mod dependents;
mod drivers;
mod dump;
mod errors_pass;
mod event_triggers;
mod exclusions;
mod faults;
mod filters;
mod floors;
mod hosted;
mod ids;
mod kinds;
mod large_rows;
mod leaks;
mod limits;
mod locks;
mod main_job;
mod many_tables;
mod mid_run;
mod names_of_ours;
mod not_carried;
mod notices_nothing;
mod odd_triggers;
mod online_ddl;
mod owner_change;
mod proof;
mod race;
mod redirect;
mod replaced;
mod rollback_is_complete;
mod round_trip;
mod row_writer;
mod schemas;
mod security;
mod signals;
mod soak;
mod squatting;
mod standing_keys;
mod stored_attacks;
mod throttle;
mod truthful;
mod unfit_rows;
mod upgrade;
mod wait;
mod worker;
mod workers;
