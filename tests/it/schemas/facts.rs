//! What the catalogs say of old and new tables: the same, or mig_preflight has told.

use super::catalog::Table;
use super::sql::literal;
use super::stage::Stage;
use postgres::Client;
use std::collections::BTreeSet;

/// Kinds of facts that differ by design (README, "Limits"): an identity column's twin draws by a default, and keys are deferrable.
const BY_DESIGN: [&str; 3] = ["identity of ", "sequence of ", "table of a type"];

fn facts(client: &mut Client, table: &str) -> BTreeSet<String> {
    let query = format!("SELECT pg_temp.facts({}::regclass)", literal(table));
    let rows = client.query(&query, &[]);
    let rows = rows.unwrap_or_else(|e| panic!("{table}: {e:?}"));
    rows.iter().map(|r| normal(r.get(0))).collect()
}

/// Without the schema of the targets, and a foreign key without what happens when.
fn normal(fact: String) -> String {
    let fact = fact.replace("fresh_", "");
    match fact.strip_prefix("foreign key: ") {
        Some(key) => {
            let actions = [" ON ", " DEFERRABLE", " NOT VALID", " MATCH "];
            let end = actions.iter().filter_map(|a| key.find(a)).min();
            format!("foreign key: {}", &key[..end.unwrap_or(key.len())])
        }
        None => fact,
    }
}

fn is_told(told: &[String], table: &Table, fact: &str) -> bool {
    let kind = fact.split([' ', ':']).next().unwrap_or(fact);
    let about = |f: &&String| {
        let relation = f.split(": ").next().unwrap_or(f);
        relation.contains(&table.name) && (relation.contains(kind) || f.contains(fact))
    };
    told.iter().any(|f| about(&f))
}

/// The facts of each pair that nobody has told of. For targets without a scope, under the old names.
pub fn untold(client: &mut Client, stage: &Stage, told: &[String]) -> Vec<String> {
    client
        .batch_execute(concat!(
            "SET search_path = pg_catalog; ",
            include_str!("../copied_properties_facts.sql")
        ))
        .expect("the function is made");
    let mut found = Vec::new();
    for (table, target) in stage.tables.iter().zip(&stage.targets) {
        let (old, new) = (facts(client, &table.sql()), facts(client, target));
        let identities: Vec<&str> = old
            .iter()
            .filter_map(|f| f.strip_prefix("identity of ")?.split(':').next())
            .collect();
        let by_design = |f: &&&String| {
            let of_identity = |c: &&str| f.starts_with(&format!("default of {c}:"));
            BY_DESIGN.iter().any(|k| f.starts_with(k)) || identities.iter().any(of_identity)
        };
        let gone = old
            .difference(&new)
            .filter(|f| !by_design(&f) && !is_told(told, table, f));
        found.extend(gone.map(|f| format!("{}: only old {f}", table.plain())));
        // A key of the new table has an index that begins with it, whether the old one's had or not.
        let come = new
            .difference(&old)
            .filter(|f| !by_design(&f) && !f.starts_with("index: CREATE INDEX"));
        found.extend(come.map(|f| format!("{}: only new {f}", table.plain())));
    }
    client
        .batch_execute("RESET search_path")
        .expect("a setting");
    found
}
