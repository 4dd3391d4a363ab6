//! Both sides by hand, written from the catalog: nothing of ours helps.

use super::noted::{self, SCOPE};
use super::sql::quoted;
use super::stage::Stage;
use postgres::Client;

/// Differing rows that a failure shows.
const SHOWN: usize = 5;

/// Rows of `a` and of `b` that the other side lacks, as texts; the first column tells which.
fn differing(columns: &[String], a: &str, b: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|c| format!("{c}::text")).collect();
    let rows = |from: &str| format!("SELECT ROW({})::text AS r FROM {from}", columns.join(", "));
    let (a, b) = (rows(a), rows(b));
    format!(
        "SELECT 'only old ' || d.r FROM ({a} EXCEPT ALL {b}) d UNION ALL SELECT 'only new ' || d.r FROM ({b} EXCEPT ALL {a}) d"
    )
}

#[derive(Default)]
pub struct Compared {
    pub rows: i64,
    pub problems: Vec<String>,
}

impl Compared {
    pub fn add(&mut self, other: Compared) {
        self.rows += other.rows;
        self.problems.extend(other.problems);
    }
}

/// Each table with its target, beside whoever writes: one statement is one snapshot.
pub fn rows(client: &mut Client, stage: &Stage) -> Compared {
    let mut all = Compared::default();
    for (table, target) in stage.tables.iter().zip(&stage.targets) {
        let columns: Vec<String> = (0..table.columns.len())
            .map(|c| table.column_sql(c))
            .collect();
        let new = if stage.is_scoped {
            format!("{target} WHERE {} = 7", quoted(SCOPE))
        } else {
            target.clone()
        };
        let old = table.sql();
        let query = differing(&columns, &old, &new);
        let found = client
            .query(&query, &[])
            .unwrap_or_else(|e| panic!("{query}: {e:?}"));
        let shown = found.iter().take(SHOWN).map(|r| r.get::<_, String>(0));
        all.problems
            .extend(shown.map(|r| format!("{}: {r}", table.plain())));
        let count = client.query_one(&format!("SELECT count(*) FROM {new}"), &[]);
        all.rows += count.expect("it counts").get::<_, i64>(0);
    }
    all
}

/// The notes against the rows, while nobody writes. `old` and `new` say which sides are to agree.
pub fn notes(client: &mut Client, stage: &Stage, old: bool, new: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for (table, target) in stage.tables.iter().zip(&stage.targets) {
        if !stage.noted.contains(&table.oid) {
            continue;
        }
        let sides = [(old, table.sql()), (new, target.clone())];
        for (_, name) in sides.iter().filter(|(wanted, _)| *wanted) {
            let wrong = noted::wrong(client, table, name);
            if wrong > 0 {
                problems.push(format!(
                    "{name}: {wrong} images of rows do not agree with the notes"
                ));
            }
        }
    }
    problems
}
