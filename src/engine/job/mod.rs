//! Jobs: backfill, repair, check and rollback. `control` begins and ends them, a `driver` runs their `slice`s, a `helper`
//! shares the work, and the `throttle` holds them back.

pub mod control;
pub mod driver;
pub mod helper;
pub mod open;
pub mod slice;
pub mod throttle;
