//! What an application may do to its tables, case by case, each at six moments: before anything is copied, while a
//! part is, in a transaction that is open during the whole copy, afterwards, and on either side while both are
//! mirrored. Both sides must be in step.

mod references;
mod types;
mod writes;

use crate::common::cluster::Cluster;
use crate::wait::{is_long, until_sql, yes};
use postgres::Client;

pub struct Case {
    pub name: &'static str,
    /// Makes and fills the tables.
    pub tables: &'static str,
    /// The sources; the target of `x` is `new_x`.
    pub sources: &'static [&'static str],
    /// What the application does, each a statement or a transaction of its own.
    pub writes: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    NothingCopied,
    PartCopied,
    /// In one transaction that is open from before the first batch to after the last but the leftovers.
    OpenDuring,
    AllCopied,
    /// Both mirrors are live, and the application writes the old tables.
    SwitchedOld,
    /// Both mirrors are live, and the application writes the new tables.
    SwitchedNew,
}

const MOMENTS: [Moment; 6] = [
    Moment::NothingCopied,
    Moment::PartCopied,
    Moment::OpenDuring,
    Moment::AllCopied,
    Moment::SwitchedOld,
    Moment::SwitchedNew,
];

/// Where ids matter most: a row that is named has one, or none yet. (What is written by id on the new side would be another row's.)
const MOMENTS_OF_NEW_IDS: [Moment; 3] =
    [Moment::PartCopied, Moment::OpenDuring, Moment::SwitchedOld];

/// Whose ids are drawn anew.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ids {
    Kept,
    /// The first table's; the others keep theirs and name those.
    First,
    All,
}

/// With a scope or without one, and whose ids are new.
type Kind = (bool, Ids);

/// Runs all cases at all moments, of each kind where there is time and else of the kinds by turns; names those that failed.
fn all_in_step(cluster: &Cluster, database: &str, cases: &[Case], kinds: &[Kind]) {
    let mut mover = cluster.database(database);
    mover
        .batch_execute(include_str!("oracle.sql"))
        .expect("the oracle stands");
    let mut failed = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        for (m, moment) in MOMENTS.into_iter().enumerate() {
            for (k, &(scoped, ids)) in kinds.iter().enumerate() {
                let elsewhere = ids != Ids::Kept && !MOMENTS_OF_NEW_IDS.contains(&moment);
                // Where ids change every second will do: all are played where they do not.
                let turns = kinds.len().max(1 + usize::from(ids != Ids::Kept));
                let anothers_turn = (n + m) % turns != k && !is_long();
                if elsewhere || anothers_turn {
                    continue;
                }
                let mut app = cluster.connect(database);
                if let Err(what) = run(&mut mover, &mut app, case, moment, scoped, ids) {
                    failed.push(format!(
                        "{} ({moment:?}, scoped: {scoped}, ids: {ids:?}): {what}",
                        case.name
                    ));
                }
                drop(app);
                mover
                    .batch_execute("CALL public.clean_up()")
                    .expect("cleans up");
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

fn run(
    mover: &mut Client,
    app: &mut Client,
    case: &Case,
    moment: Moment,
    scoped: bool,
    ids: Ids,
) -> Result<(), String> {
    set_up(mover, case, scoped, ids)?;
    execute(app, "SET search_path = app, public")?;
    match moment {
        Moment::NothingCopied => write(app, case)?,
        Moment::PartCopied => {
            execute(mover, "SELECT mig_step(max_ms => 1)")?;
            write(app, case)?;
        }
        Moment::OpenDuring => {
            let own_transactions = |w: &&str| {
                ["BEGIN", "COMMIT", "ROLLBACK", "VACUUM"]
                    .iter()
                    .any(|word| w.starts_with(word))
            };
            if case.writes.iter().any(own_transactions) {
                return Ok(());
            }
            execute(app, "BEGIN")?;
            write(app, case)?;
            execute(mover, "SELECT mig_step() FROM generate_series(1, 2)")?;
            execute(app, "COMMIT")?;
        }
        Moment::AllCopied => {
            copy_all(mover);
            write(app, case)?;
        }
        Moment::SwitchedOld | Moment::SwitchedNew => {
            copy_all(mover);
            match mover.batch_execute("SELECT mig_switch()") {
                Err(e) if one_way(&e) => return Ok(()),
                other => other.map_err(|e| e.to_string())?,
            }
            if moment == Moment::SwitchedOld {
                write(app, case)?;
            } else if !scoped {
                // With a scope the new table has one column more than these statements know.
                write_the_new_side(app, case)?;
            }
            return judge(mover, case);
        }
    }
    copy_all(mover);
    judge(mover, case)
}

/// What the old table cannot follow is refused, with this SQLSTATE.
const REFUSED: [(&str, &str); 1] = [("identity and serial keys, drawn and given", "428C9")];

fn write_the_new_side(app: &mut Client, case: &Case) -> Result<(), String> {
    let refusal = REFUSED.iter().find(|r| r.0 == case.name).map(|r| r.1);
    let mut refused = 0;
    for sql in case.writes {
        match execute(app, &on_the_new_side(sql, case.sources)) {
            Err(what)
                if refusal.is_some_and(|state| what.contains(&format!("failed: {state}"))) =>
            {
                refused += 1
            }
            other => other?,
        }
    }
    if refusal.is_some() && refused == 0 {
        return Err("nothing was refused".into());
    }
    Ok(())
}

/// A deferrable key has no way back, and says so.
fn one_way(e: &postgres::Error) -> bool {
    e.as_db_error()
        .and_then(|d| d.detail())
        .is_some_and(|d| d.contains("could not go back") && d.contains("deferrable"))
}

/// The statement with the names of the new tables.
fn on_the_new_side(sql: &str, sources: &[&str]) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in sql.chars().chain([' ']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if sources.contains(&word.as_str()) {
            out.push_str("new_");
        }
        out.push_str(&word);
        word.clear();
        out.push(c);
    }
    out
}

fn set_up(mover: &mut Client, case: &Case, scoped: bool, ids: Ids) -> Result<(), String> {
    let define = if scoped {
        "SELECT mig_define('case', 'public.projects', '7', options => '{\"lock_timeout_ms\": 50}')"
    } else {
        "SELECT mig_define('case', options => '{\"lock_timeout_ms\": 50}')"
    };
    execute(mover, "CREATE SCHEMA app; SET search_path = app, public")?;
    execute(mover, case.tables)?;
    execute(mover, define)?;
    for (n, source) in case.sources.iter().enumerate() {
        let wanted = ids == Ids::All || ids == Ids::First && n == 0;
        let more = match wanted && yes(mover, &format!("SELECT public.can_remap('app.{source}')")) {
            true => new_ids(mover, source)?,
            false => String::new(),
        };
        let add = format!("SELECT mig_add_table('case', 'app.{source}', 'new_{source}'{more})");
        execute(mover, &add)?;
    }
    execute(mover, "SELECT mig_create()")?;
    execute(mover, "SELECT mig_dual_write()")
}

/// The arguments that ask for new ids, after the old table was given what draws its own.
fn new_ids(mover: &mut Client, source: &str) -> Result<String, String> {
    let key = format!(
        "SELECT a.attname::text, format_type(a.atttypid, NULL), a.atthasdef OR a.attidentity <> '' FROM pg_constraint c \
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) WHERE c.conrelid = 'app.{source}'::regclass AND c.contype = 'p'"
    );
    let row = mover.query_one(&key, &[]).map_err(|e| e.to_string())?;
    let (name, kind, drawn): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
    if !drawn {
        let draws = match kind.as_str() {
            "uuid" => "gen_random_uuid()".to_owned(),
            _ => {
                execute(
                    mover,
                    &format!("CREATE SEQUENCE app.{source}_draws START 5000"),
                )?;
                format!("nextval('app.{source}_draws')")
            }
        };
        execute(
            mover,
            &format!("ALTER TABLE app.{source} ALTER \"{name}\" SET DEFAULT {draws}"),
        )?;
    }
    Ok(", id_mode => 'remap'".to_owned())
}

fn write(app: &mut Client, case: &Case) -> Result<(), String> {
    case.writes.iter().try_for_each(|sql| execute(app, sql))
}

fn execute(client: &mut Client, sql: &str) -> Result<(), String> {
    client.batch_execute(sql).map_err(|e| {
        let text = e.as_db_error().map_or_else(
            || e.to_string(),
            |d| {
                format!(
                    "{} {} {}",
                    d.code().code(),
                    d.message(),
                    d.detail().unwrap_or_default()
                )
            },
        );
        format!("`{sql}` failed: {text}")
    })
}

fn copy_all(mover: &mut Client) {
    until_sql(
        mover,
        "SELECT phase = 'backfilled' FROM mig_step(), mig_status() WHERE mig_step IS NOT NULL",
    );
}

/// The oracle by hand, and our own check beside it.
fn judge(mover: &mut Client, case: &Case) -> Result<(), String> {
    for source in case.sources {
        let query = "SELECT public.differences($1)";
        let found: i64 = mover
            .query_one(query, &[source])
            .map_err(|e| e.to_string())?
            .get(0);
        if found > 0 {
            return Err(format!("{source}: {found} rows differ"));
        }
    }
    if yes(mover, "SELECT bool_and(ok) FROM mig_check()") {
        Ok(())
    } else {
        Err("mig_check disagrees with the oracle".into())
    }
}

const WITHOUT_AND_WITH_SCOPE: [Kind; 2] = [(false, Ids::Kept), (true, Ids::Kept)];

#[test]
fn every_way_of_writing_stays_in_step() {
    let cluster = Cluster::start("it_writes", "");
    all_in_step(&cluster, "writes", &writes::CASES, &WITHOUT_AND_WITH_SCOPE);
}

#[test]
fn every_reference_stays_in_step() {
    let cluster = Cluster::start("it_references", "");
    all_in_step(
        &cluster,
        "refs",
        &references::CASES,
        &WITHOUT_AND_WITH_SCOPE,
    );
}

#[test]
fn every_reference_stays_in_step_where_ids_change() {
    let cluster = Cluster::start("it_references_ids", "");
    let kinds = [(true, Ids::First), (true, Ids::All)];
    all_in_step(&cluster, "ids", &references::CASES, &kinds);
}

#[test]
fn every_way_of_writing_stays_in_step_where_ids_change() {
    let cluster = Cluster::start("it_writes_ids", "");
    all_in_step(&cluster, "ids", &writes::CASES, &[(false, Ids::All)]);
}

#[test]
fn every_type_stays_in_step() {
    let cluster = Cluster::start("it_types", "");
    all_in_step(&cluster, "types", &types::CASES, &[(false, Ids::Kept)]);
}
