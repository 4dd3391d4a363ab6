//! Users' tables, read and written as their owners: comparison of both sides, pg_mig's triggers, ids, keys and sequences.

pub mod compare;
pub mod deferred_constraints;
pub mod failing_rows;
pub mod id_pairs;
pub mod scope_pin;
pub mod sequence;
pub mod triggers;
