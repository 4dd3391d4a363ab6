//! The canary: before a mirror goes live, one row of each source is written as each role that may write it, with and
//! without the mirror, and rolled back. A write that fails only with the mirror would start to fail for the application; and what the
//! mirror has written, SQL must see.

mod sample;

use crate::error::{Error, Result};
use crate::model::records::Mapping;
use crate::model::shape::Shape;
use crate::pg::notice::notice;
use crate::pg::{catalog, guc, prepared, role, spi, tx};
use crate::sqlgen::canary;
use crate::store::sides;
use pgrx::pg_sys::Oid;
use sample::SampleRow;
use std::time::{Duration, Instant};

/// How long a trial waits for a locked row, in milliseconds. After that the row is not tried.
const PATIENCE_MS: i32 = 50;

/// How long all trials without the mirror may take, because the tables are locked meanwhile. Those with it take as long
/// again.
const TIME: Duration = Duration::from_millis(250);

/// What was tried: the rows, one for each mapping, and the writes.
pub struct Trials {
    rows: Vec<Option<SampleRow>>,
    all: Vec<WriteTrial>,
}

/// One trial write as one role.
struct WriteTrial {
    relation: String,
    role: String,
    what: &'static str,
    made_up: bool,
    outcome: Result<ReadBack>,
}

/// Whether SQL sees in the target what should be there after a write.
#[derive(Clone, Copy, PartialEq)]
enum ReadBack {
    Seen,
    Unseen,
    /// There was no mirror, or its row may come later.
    Unread,
}

#[derive(serde::Deserialize)]
struct WritingUser {
    role: u32,
    name: String,
    may_insert: bool,
    may_update: bool,
    may_delete: bool,
}

/// Runs the possible trial writes, without the mirrors as many as the time allows, or those of `before` with the mirrors. All of them are
/// rolled back.
pub fn run(mappings: &[Mapping], before: Option<&Trials>) -> Result<Trials> {
    let began = Instant::now();
    // A mirror that writes below SQL now may need its SQL statements later.
    let _all = prepared::at_once();
    let enough = |n: usize| match before {
        Some(before) => n >= before.all.len(),
        None => began.elapsed() > TIME,
    };
    // The tables' own triggers may depend on it. pg_mig's statements qualify every name.
    let path = guc::search_path_at_start();
    let mut trials = Trials {
        rows: Vec::new(),
        all: Vec::new(),
    };
    let mut untried = Vec::new();
    for (n, p) in mappings.iter().enumerate() {
        if enough(trials.all.len()) {
            untried.push(p.source_text());
            trials.rows.push(None);
            continue;
        }
        let source = catalog::shape_of(p.source, &p.source_text())?;
        let fresh = match before {
            // The tables are locked: the row is still the same.
            Some(_) => None,
            None => sample::find(p, &source)?,
        };
        let known = before.and_then(|b| b.rows.get(n)).and_then(Option::as_ref);
        if let Some(row) = known.or(fresh.as_ref()) {
            let table = TableTrial {
                p,
                source: &source,
                row,
                alone: is_alone(p)?,
                path: &path,
                mirrored: before.is_some(),
            };
            if !table.run_as_each(&mut trials.all, &enough)? {
                untried.push(source.name.plain());
            }
        }
        trials.rows.push(fresh);
    }
    if before.is_none() {
        tell_untried(&untried);
    }
    Ok(trials)
}

fn tell_untried(tables: &[String]) {
    if tables.is_empty() {
        return;
    }
    notice(&format!(
        "not all writes to {} were tried: trials take about {} ms, because the tables are locked meanwhile",
        tables.join(", "),
        TIME.as_millis()
    ));
}

/// Whether no foreign key refers to the table. Deleting a row that others may refer to would run the actions of their keys, however expensive.
fn is_alone(p: &Mapping) -> Result<bool> {
    let keys = include_str!("../../../sql/query/inbound_keys.sql");
    Ok(spi::run(keys, &[Oid::from(p.source).into()])? == 0)
}

/// Trial writes of one table.
struct TableTrial<'a> {
    p: &'a Mapping,
    source: &'a Shape,
    row: &'a SampleRow,
    /// No foreign key refers to the table.
    alone: bool,
    path: &'a str,
    mirrored: bool,
}

impl TableTrial<'_> {
    /// Returns false if there was no time for each role.
    fn run_as_each(
        &self,
        all: &mut Vec<WriteTrial>,
        enough: &impl Fn(usize) -> bool,
    ) -> Result<bool> {
        let writers: Vec<WritingUser> = spi::rows(
            include_str!("../../../sql/query/writers.sql"),
            &[Oid::from(self.p.source).into()],
        )?;
        for w in &writers {
            if enough(all.len()) {
                return Ok(false);
            }
            all.extend(self.list_writes(w)?);
        }
        Ok(true)
    }

    fn list_writes(&self, w: &WritingUser) -> Result<Vec<WriteTrial>> {
        let (source, made_up) = (self.source, self.row.made_up);
        let key = &sides::layout(self.p)?.key;
        let owner = sides::owner(self.p)?;
        let by_key = |sql: &str, as_role: Oid| {
            let _role = role::confine(as_role)?;
            spi::run_for_application(sql, &[self.row.row.key.clone().into()])
        };
        let insert = |as_role: Oid| {
            let _role = role::confine(as_role)?;
            spi::run_for_application(&canary::insert(source), &[self.row.row.argument()])
        };
        // A row that was made up comes first, or goes by itself at the end.
        let begin = || if made_up { insert(owner) } else { Ok(0) };
        let as_role = Oid::from(w.role);
        let mut made = Vec::new();
        if let Some(sql) = canary::update(source, key).filter(|_| w.may_update) {
            made.push(self.attempt(w, "UPDATE", || {
                begin()?;
                by_key(&sql, as_role)
            }));
        }
        let delete = canary::delete(source, key);
        if (self.alone || made_up) && w.may_delete {
            made.push(self.attempt(w, "DELETE", || {
                begin()?;
                by_key(&delete, as_role)
            }));
        }
        if (self.alone || made_up) && w.may_insert {
            made.push(self.attempt(w, "INSERT", || {
                if !made_up {
                    by_key(&delete, owner)?;
                }
                insert(as_role)
            }));
        }
        Ok(made)
    }

    /// Runs `f` as an application would, and rolls it back: policies hide rows instead of raising errors. Deferred constraints
    /// are checked immediately, as that role.
    fn attempt(
        &self,
        w: &WritingUser,
        what: &'static str,
        f: impl FnOnce() -> Result<i64>,
    ) -> WriteTrial {
        let outcome = tx::probe(|| {
            let rows = {
                let _path = guc::search_path(self.path);
                let _policies = guc::pin(&[(c"row_security", c"on")]);
                let _exact = guc::pin(&guc::EXACT);
                let _timeout = guc::lock_timeout(PATIENCE_MS);
                spi::run("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
                f()?
            };
            if rows == 1 && self.mirrored {
                self.read_back(what == "DELETE")
            } else {
                Ok(ReadBack::Unread)
            }
        });
        WriteTrial {
            relation: self.source.name.plain(),
            role: w.name.clone(),
            what,
            made_up: self.row.made_up,
            outcome,
        }
    }

    /// Looks by SQL at what the mirror has written.
    fn read_back(&self, is_gone: bool) -> Result<ReadBack> {
        let p = self.p;
        // Rows whose ids change may wait for others, and merged rows have other parts.
        if p.remaps() || p.names_remapped() || p.is_merged() {
            return Ok(ReadBack::Unread);
        }
        let flow = sides::forward(p)?;
        let _owner = role::confine_reading(sides::owner(p)?)?;
        let _exact = guc::pin(&guc::EXACT);
        // Queries of their own: a library that sends statements on the target elsewhere sends these there, too.
        let any = |sql: &str| Ok(spi::run(sql, &[self.row.row.key.clone().into()])? > 0);
        let expected = !is_gone && any(&canary::find_expected(&flow))?;
        Ok(if any(&canary::find_written(&flow))? == expected {
            ReadBack::Seen
        } else {
            ReadBack::Unseen
        })
    }
}

/// Errors: 55000 if a write succeeded before and fails now, or if SQL does not see what the mirror has written.
pub fn compare(before: &Trials, after: &Trials) -> Result<()> {
    for (was, is) in before.all.iter().zip(&after.all) {
        let e = match (&was.outcome, &is.outcome) {
            (_, Ok(ReadBack::Unseen)) => {
                return Err(Error::not_read_back(
                    is.relation.clone(),
                    is.role.clone(),
                    is.what,
                ));
            }
            (Ok(_), Err(e)) if !e.is_retryable() => e,
            _ => continue,
        };
        // The values are ours: rows of the application may fit where these do not.
        if is.made_up && e.is_about_data() {
            continue;
        }
        return Err(Error::would_fail(
            is.relation.clone(),
            is.role.clone(),
            is.what,
            format!("{} {e}", e.sqlstate()),
        ));
    }
    Ok(())
}
