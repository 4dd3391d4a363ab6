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
mod faults;
mod filters;
mod floors;
mod hosted;
mod ids;
mod leaks;
mod limits;
mod locks;
mod main_job;
mod many_tables;
mod mid_run;
mod names_of_ours;
mod not_carried;
mod odd_triggers;
mod online_ddl;
mod proof;
mod race;
mod redirect;
mod rollback_is_complete;
mod row_writer;
mod schemas;
mod security;
mod signals;
mod soak;
mod squatting;
mod stored_attacks;
mod throttle;
mod unfit_rows;
mod upgrade;
mod wait;
mod worker;
mod workers;
