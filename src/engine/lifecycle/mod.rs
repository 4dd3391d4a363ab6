//! The phases of a migration, forward and back.

pub mod archive;
pub mod cutover;
pub mod define;
pub mod descend;
pub mod detach;
pub mod rollback;
