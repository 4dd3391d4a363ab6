//! The phases of a migration, forward and back.

pub mod archive;
pub mod create;
pub mod cutover;
pub mod define;
pub mod detach;
pub mod rollback;
