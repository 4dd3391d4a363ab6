//! What a run prints at its end.

use super::life::Life;
use super::noted;
use std::collections::BTreeMap;

impl Life<'_> {
    /// Prints the summary; returns what is wrong.
    pub fn report(&mut self) -> Vec<String> {
        let (noted, unmoved) = noted::counted(&mut self.client);
        let t = &self.tally;
        let ours = t.errors.ours.len();
        println!(
            "  {} tables moved, refused: {:?}\n  {} transactions, {} statements, {} rows changed; own errors {:?}; of both sides {:?}; \
             of functions that mig_preflight names {}; ours {ours}\n  {} rows compared, 0 differences; {noted} changes noted on {} tables, of which {unmoved} \
             changed nothing; {} statements counted, {} miscounted\n  preflight: {:?}",
            self.stage.tables.len(),
            self.refused,
            t.transactions,
            t.statements,
            t.changes,
            t.errors.own,
            t.errors.of_both_sides,
            t.errors.foretold,
            self.compared.rows,
            self.stage.noted.len(),
            t.counted,
            t.miscounted.len(),
            by_kind(&self.told),
        );
        let mut wrong = t.errors.ours.clone();
        wrong.extend(t.miscounted.iter().cloned());
        wrong
    }
}

/// How many findings of each severity and name there are.
fn by_kind(findings: &[String]) -> BTreeMap<String, u32> {
    let mut kinds = BTreeMap::new();
    for f in findings {
        let kind: Vec<&str> = f.split(": ").next().unwrap_or(f).split(' ').collect();
        let without_table = &kind[..kind.len().saturating_sub(1).max(1)];
        *kinds.entry(without_table.join(" ")).or_default() += 1;
    }
    kinds
}
