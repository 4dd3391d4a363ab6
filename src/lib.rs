//! pg_mig: zero-downtime migrations of tables, inside PostgreSQL. See README.md.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(not(panic = "unwind"))]
compile_error!(
    "pg_mig needs panic = \"unwind\": an ERROR of PostgreSQL passes Rust frames as a panic"
);

use pgrx::prelude::*;

// In alphabetical order.
mod api;
mod dual_write;
mod engine;
mod error;
mod ident;
mod model;
mod pg;
mod preflight;
mod relation;
mod row_writer;
mod settings;
mod sqlgen;
mod steps;
mod store;
mod worker;

::pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/install/10_tables.sql", name = "tables", bootstrap);
extension_sql_file!(
    "../sql/install/20_views.sql",
    name = "views",
    requires = ["tables"]
);
extension_sql_file!(
    "../sql/install/30_functions.sql",
    name = "functions",
    requires = ["views"]
);
extension_sql_file!(
    "../sql/install/40_comments.sql",
    name = "comments",
    requires = ["functions"]
);
extension_sql_file!(
    "../sql/install/90_grants.sql",
    name = "grants",
    requires = ["comments"],
    finalize
);

/// Called once in each process that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // An ERROR of PostgreSQL that passes Rust frames is a message for the user, not a bug in pg_mig. Without this setting, a server started
    // with RUST_BACKTRACE=1 would put the Rust stack into its DETAIL.
    // SAFETY: a PostgreSQL process has one thread.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    settings::register();
    pg::hooks::register();
    pg::event_trigger_names::register();
    pg::silent_triggers::register();
    // SAFETY: reads a flag of the server.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        worker::resume::register();
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used)]
#[path = "../pgrx-tests/mod.rs"]
mod in_backend;

/// What `cargo pgrx test` requires before it starts its server.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
