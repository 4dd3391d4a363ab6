//! pg_mig's own tables as typed rows. The only module that names `mig.migration` and the tables beside it.

pub mod author;
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
pub mod reference_names;
pub mod sessions;
pub mod sides;
pub mod unmirrored;
