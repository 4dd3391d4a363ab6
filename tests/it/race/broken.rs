//! Designs that others ship, put in place of ours: each must turn the matrix red, or the matrix proves nothing.

use super::arena::Arena;
use super::ids::{BELOW, BY_SQL, Ids};
use super::matrix::{self, Operation};
use crate::common::cluster::Cluster;
use crate::wait::is_long;

/// Where designs differ.
const OPERATIONS: [Operation; 4] = [
    ("update", "UPDATE src SET v = 'updated' WHERE id = 30"),
    ("delete", "DELETE FROM src WHERE id = 30"),
    ("key change", "UPDATE src SET id = 35 WHERE id = 30"),
    ("truncate", "TRUNCATE src"),
];

const READS_AGAIN: &str = "CREATE OR REPLACE FUNCTION mig.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
           k int;
         BEGIN
           IF TG_OP = 'TRUNCATE' THEN
             DELETE FROM public.dst;
             RETURN NULL;
           END IF;
           FOREACH k IN ARRAY CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.id] WHEN 'DELETE' THEN ARRAY[OLD.id] ELSE ARRAY[OLD.id, NEW.id] END
           LOOP
             INSERT INTO public.dst SELECT id, v, filler FROM public.src WHERE id = k
             ON CONFLICT (id) DO UPDATE SET v = excluded.v, filler = excluded.filler;
             IF NOT FOUND THEN
               DELETE FROM public.dst WHERE id = k;
             END IF;
           END LOOP;
           RETURN NULL;
         END $$";

/// What is broken, where, how, and the levels at which it must be seen.
const BROKEN: [(&str, &Ids, &str, &[&str]); 5] = [
    (
        "a mirror that does not wait for a batch that locks no row",
        &BELOW,
        READS_AGAIN,
        &["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"],
    ),
    (
        "a mirror that trusts the row it is given and its transaction's snapshot",
        &BY_SQL,
        "CREATE OR REPLACE FUNCTION mig.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF TG_OP = 'TRUNCATE' THEN
             DELETE FROM public.dst;
             RETURN NULL;
           END IF;
           IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND OLD.id <> NEW.id THEN
             DELETE FROM public.dst WHERE id = OLD.id;
           END IF;
           IF TG_OP <> 'DELETE' THEN
             INSERT INTO public.dst VALUES (NEW.id, NEW.v, NEW.filler)
             ON CONFLICT (id) DO UPDATE SET v = excluded.v, filler = excluded.filler;
           END IF;
           RETURN NULL;
         END $$",
        &["REPEATABLE READ", "SERIALIZABLE"],
    ),
    (
        "a mirror that reads the row again, in its transaction's snapshot",
        &BY_SQL,
        READS_AGAIN,
        &["REPEATABLE READ", "SERIALIZABLE"],
    ),
    (
        "a batch that locks no row",
        &BY_SQL,
        // Row locks do not reach through WITH (the manual's page on SELECT, 'The Locking Clause').
        "CREATE OR REPLACE VIEW mig.m1_forward AS
         WITH s AS MATERIALIZED (SELECT *, ctid AS place, xmin AS x, cmin AS c FROM public.src)
         SELECT id, v, filler, id AS \"mig:k1\", place AS \"mig:ctid\", x AS \"mig:xmin\", c AS \"mig:cmin\" FROM s WHERE public.gate(id)",
        &["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"],
    ),
    (
        "a batch that forgets the rows it skipped",
        &BY_SQL,
        "CREATE FUNCTION mig.forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER forget BEFORE INSERT ON mig.leftover FOR EACH ROW EXECUTE FUNCTION mig.forget()",
        &["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"],
    ),
];

#[test]
fn broken_designs_turn_the_matrix_red() {
    let cluster = Cluster::start("it_broken", "");
    std::thread::scope(|scope| {
        for half in 0..2 {
            let cluster = &cluster;
            scope.spawn(move || {
                for (n, broken) in BROKEN.iter().enumerate().filter(|(n, _)| n % 2 == half) {
                    must_fail(cluster, n, broken);
                }
            });
        }
    });
}

fn must_fail(cluster: &Cluster, n: usize, (what, ids, how, levels): &(&str, &Ids, &str, &[&str])) {
    let mut arena = Arena::new(cluster, &format!("broken_{n}"), super::KEY, ids);
    arena.control.batch_execute(how).expect("breaks");
    for level in matrix::LEVELS {
        let red = red_at(&mut arena, level, levels.contains(&level));
        assert_eq!(red > 0, levels.contains(&level), "{what}: {level}");
        println!("{what}: {red} cases diverge at {level}");
    }
}

/// How many cases of a level diverge: all that do, or, where time is short, the first that does, and of a level where none should some.
fn red_at(arena: &mut Arena, level: &str, expected: bool) -> usize {
    let cases = matrix::all(&OPERATIONS);
    let cases = cases.iter().filter(|c| c.level == level);
    let mut is_red = |case: &matrix::Case| arena.race(case).is_err_and(|f| f.differences > 0);
    match (is_long(), expected) {
        (true, _) => cases.filter(|c| is_red(c)).count(),
        (false, true) => usize::from(cases.into_iter().any(&mut is_red)),
        (false, false) => cases.step_by(5).filter(|c| is_red(c)).count(),
    }
}
