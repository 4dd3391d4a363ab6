//! `make bench`, or one by name with `ARGS=check`: figures, never assertions. Each contender does the same work in the same
//! server, all of them in turn, round by round; what is told is medians, and ratios of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backfill;
mod beside;
mod check;
#[path = "../common/cluster.rs"]
mod cluster;
mod column;
mod dual_write;
mod many;
#[path = "../common/patience.rs"]
mod patience;
mod rounds;
mod switched;

use cluster::Cluster;

/// A server as it comes, with memory for the size of the tables and no waiting for the disk.
const CONF: &str = "shared_buffers = 1GB\nwork_mem = 64MB\nmaintenance_work_mem = 256MB\nmax_wal_size = 8GB\n\
     synchronous_commit = off\nautovacuum = off";

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let cluster = Cluster::start("bench", CONF);
    rounds::settings(&mut cluster.connect("postgres"));
    if is_wanted("single_rows") {
        dual_write::single_rows(&cluster);
    }
    if is_wanted("bulk") {
        dual_write::many_rows(&cluster);
    }
    if is_wanted("switched") {
        switched::run(&cluster);
    }
    if is_wanted("backfill") {
        backfill::run(&cluster);
    }
    if is_wanted("beside") {
        beside::run(&cluster);
    }
    if is_wanted("column") {
        column::run(&cluster);
    }
    if is_wanted("many") {
        many::run(&cluster);
    }
    if is_wanted("check") {
        check::run(&cluster);
    }
    rounds::print_figures();
}
