//! The order of the steps. Phases change only here, each in the transaction of its effect.

pub mod columns;
pub mod gate;
pub mod job;
pub mod kind;
pub mod lifecycle;
pub mod lint;
pub mod online_ddl;
pub mod plan;
pub mod proof;
pub mod tables;
pub mod types;
pub mod work;
mod work_path;
