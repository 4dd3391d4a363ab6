//! The only room that speaks to PostgreSQL's own functions (beside the entry points in `mirror`, `worker`
//! and `api`).

pub mod activity;
pub mod advisory;
pub mod catalog;
pub mod cron;
pub mod databases;
pub mod deparse;
pub mod direct;
pub mod echo;
pub mod expression;
pub mod image;
pub mod launch;
pub mod lock;
pub mod moment;
pub mod notice;
pub mod parse;
pub mod places;
pub mod plan;
pub mod role;
pub mod session;
pub mod snapshot;
pub mod spi;
pub mod stamp;
pub mod tx;
pub mod utility;
pub mod wait;
