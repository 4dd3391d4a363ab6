//! Our own tables ↔ typed rows. The only room that names `mig.migration` and its sisters.

pub mod anchor;
pub mod change;
pub mod check;
pub mod compare;
pub mod drift;
pub mod failing;
pub mod ids;
pub mod job;
pub mod late;
pub mod log;
pub mod mapping;
pub mod migration;
pub mod mirrors;
pub mod new_column;
pub mod rows;
pub mod sequence;
pub mod sessions;
pub mod share;
