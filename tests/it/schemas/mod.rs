//! Other people's databases: a schema that nobody made for us, rows for its tables, and one migration of all of them, there and back,
//! beside an application. `PG_MIG_SCHEMA` names a file with a schema's SQL (`tests/bin/schema` makes it from a database); without it,
//! a schema of our own. `PG_MIG_SCHEMA_SEED` repeats a run, `PG_MIG_SCHEMA_ROWS` and `PG_MIG_SCHEMA_TRANSACTIONS` say how much.

mod catalog;
mod compare;
mod facts;
mod fill;
mod judge;
mod kinds;
mod life;
mod noted;
mod report;
mod rows;
mod sql;
mod stage;
mod writers;

use crate::common::cluster::{Cluster, shell};
use fill::Filler;
use life::Life;
use stage::Shape;
use std::time::Instant;

/// The database with the rows, of which each run gets a copy.
const MODEL: &str = "model";

fn setting(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok().and_then(|v| v.parse().ok());
    given.unwrap_or(otherwise)
}

fn load(cluster: &Cluster, file: &str) {
    shell(&format!(
        "$pg_bin/psql -h {} -U postgres -X -q -v ON_ERROR_STOP=1 -d {MODEL} -f '{file}' >/dev/null",
        cluster.host()
    ));
}

#[test]
fn a_whole_schema_moves_and_comes_back() {
    let given = std::env::var("PG_MIG_SCHEMA").ok();
    let is_ours = given.is_none();
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/schemas/sample.sql");
    let file = given.unwrap_or_else(|| own.to_owned());
    let seed = setting(
        "PG_MIG_SCHEMA_SEED",
        if is_ours {
            1
        } else {
            std::process::id().into()
        },
    );
    println!("schema: PG_MIG_SCHEMA_SEED={seed} of {file}");
    let cluster = Cluster::start("it_schema", "");
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(&format!("CREATE DATABASE {MODEL}"))
        .expect("a database");
    load(&cluster, &file);
    let mut model = cluster.connect(MODEL);
    let tables = {
        model
            .batch_execute("SET search_path = pg_catalog")
            .expect("a setting");
        catalog::read(&mut model)
    };
    drop(model);
    let began = Instant::now();
    let filled = Filler::new(&mut cluster.connect(MODEL), &tables, seed)
        .fill(setting("PG_MIG_SCHEMA_ROWS", 12));
    println!(
        "{} tables, {} rows in {:.1} s; without a row: {:#?}",
        tables.len(),
        filled.rows,
        began.elapsed().as_secs_f64(),
        filled.empty
    );
    let transactions = setting(
        "PG_MIG_SCHEMA_TRANSACTIONS",
        if is_ours { 80 } else { 1000 },
    );
    let mut wrong = Vec::new();
    for (database, shape) in [("beside", Shape::Beside), ("scoped", Shape::Scoped)] {
        client
            .batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {MODEL}"))
            .expect("a copy");
        println!("{shape:?}");
        let mut life = Life::new(&cluster, database, &tables, shape, seed, transactions);
        life.live();
        wrong.extend(life.report());
    }
    wrong.truncate(5);
    assert!(wrong.is_empty(), "PG_MIG_SCHEMA_SEED={seed}: {wrong:#?}");
    if is_ours {
        assert_eq!(filled.empty, EMPTY);
    }
}

/// What no row can be made for is named.
const EMPTY: [&str; 2] = [
    "public.after_never: it refers to \"public\".\"never\", which has no row",
    "public.never: 23514 new row for relation \"never\" violates check constraint \"never_id_check\"",
];
