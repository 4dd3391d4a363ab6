//! Our own tables ↔ typed rows. The only room that names `mig.migration` and its sisters.

pub mod block_range;
pub mod check;
pub mod ddl_job;
pub mod drift;
pub mod job;
pub mod log;
pub mod mapping;
pub mod migration;
pub mod new_column;
pub mod pending_rows;
pub mod sessions;
