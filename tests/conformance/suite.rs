//! Runs a spec or a script of the suite in a database of its own.

use crate::cluster::{Cluster, shell};
use crate::phase::Phase;
use crate::{script, spec};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(Clone, PartialEq, Eq)]
pub enum Test {
    /// Of the isolation tests: several sessions.
    Spec(String),
    /// Of the regression tests.
    Script(String),
    /// The same, and each table that it makes gets a primary key.
    KeyedScript(String),
}

impl Test {
    /// By what it is called here.
    pub fn name(&self) -> String {
        match self {
            Test::Spec(name) | Test::Script(name) => name.clone(),
            Test::KeyedScript(name) => format!("{name}-keys"),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Test::Spec(_) => "spec",
            Test::Script(_) | Test::KeyedScript(_) => "script",
        }
    }
}

pub struct Suite {
    pub cluster: Cluster,
    tester: PathBuf,
    psql: PathBuf,
    folder: PathBuf,
    /// What was printed, as files, for reading.
    out: PathBuf,
}

/// What a test printed, by permutation or statement, and what was seen of its tables.
pub struct Outcome {
    pub printed: BTreeMap<String, String>,
    pub notes: Vec<Note>,
}

/// Of one table when a migration of it ended: how many rows differed, or why it had no mirrors.
pub struct Note {
    pub relation: String,
    pub differences: Option<i64>,
    pub why: Option<String>,
}

impl Suite {
    pub fn new(cluster: Cluster, folder: PathBuf) -> Self {
        let path = |text: &str| PathBuf::from(shell(text));
        let suite = Self {
            cluster,
            tester: path("printf %s \"$pgxs_test/isolation/isolationtester\""),
            psql: path("printf %s \"$pg_bin/psql\""),
            folder,
            out: path("mkdir -p $work/out/conformance; printf %s \"$work/out/conformance\""),
        };
        suite.make_templates();
        suite
    }

    /// Databases that are copied for each test: for specs an empty one, for scripts one with the tables that they all expect.
    fn make_templates(&self) {
        let mut admin = self.cluster.connect("postgres");
        for (name, from) in [
            ("plain_spec", "template1"),
            ("plain_script", "template1"),
            ("mirrored_spec", "plain_spec"),
            ("mirrored_script", "plain_script"),
        ] {
            let create = format!("CREATE DATABASE {name} TEMPLATE {from}");
            admin.batch_execute(&create).expect("creates");
            if name == "plain_script" {
                let setup = self.read("regress/sql/test_setup.sql");
                self.run_psql(name, &setup);
                let mut client = self.cluster.connect(name);
                let keys = include_str!("keys.sql");
                client.batch_execute(keys).expect("makes keys");
            } else if name.starts_with("mirrored") {
                let mut client = self.cluster.connect(name);
                let attach = include_str!("attach.sql");
                client.batch_execute(attach).expect("attaches");
            }
        }
    }

    fn read(&self, file: &str) -> String {
        let bytes = std::fs::read(self.folder.join(file)).expect("a file of the suite");
        String::from_utf8(bytes).expect("UTF-8")
    }

    pub fn run(&self, test: &Test, phase: Phase) -> Outcome {
        let database = self.create_database(test, phase);
        let output = match test {
            Test::Spec(name) => self.run_spec(name, phase, &database),
            Test::Script(name) | Test::KeyedScript(name) => {
                let text = self.read(&format!("regress/sql/{name}.sql"));
                let is_keyed = matches!(test, Test::KeyedScript(_));
                let script = script::in_phase(&test.name(), &text, phase, is_keyed);
                self.keep(test, phase, "sql", &script);
                self.run_psql(&database, &script)
            }
        };
        self.keep(test, phase, "out", &output);
        let printed = match test {
            Test::Spec(_) => spec::permutations(&output),
            _ => script::parts(&output),
        };
        let notes = self.notes(&database, phase);
        let drop = format!("DROP DATABASE {database} WITH (FORCE)");
        let mut admin = self.cluster.connect("postgres");
        admin.batch_execute(&drop).expect("drops");
        Outcome { printed, notes }
    }

    fn keep(&self, test: &Test, phase: Phase, what: &str, text: &str) {
        let file = format!("{}.{}.{what}", test.name(), phase.as_str());
        std::fs::write(self.out.join(file), text).expect("writes");
    }

    fn create_database(&self, test: &Test, phase: Phase) -> String {
        let mut admin = self.cluster.connect("postgres");
        let kind = test.kind();
        let database = format!(
            "{}_{kind}_{}",
            phase.as_str(),
            test.name().replace('-', "_")
        );
        let template = match phase {
            Phase::Plain => "plain",
            _ => "mirrored",
        };
        let create = format!("CREATE DATABASE {database} TEMPLATE {template}_{kind}");
        admin.batch_execute(&create).expect("creates");
        if phase == Phase::SwitchedNew {
            let names = format!("ALTER DATABASE {database} SET search_path = new, public");
            admin.batch_execute(&names).expect("sets");
        }
        database
    }

    fn run_spec(&self, name: &str, phase: Phase, database: &str) -> String {
        let text = self.read(&format!("isolation/specs/{name}.spec"));
        let Some(text) = spec::in_phase(name, &text, phase) else {
            return String::new();
        };
        let host = self.cluster.host();
        let mut tester = Command::new(&self.tester);
        tester.arg(format!("host={host} user=postgres dbname={database}"));
        feed(&mut tester, &text)
    }

    /// As pg_regress runs it: what goes wrong stands between the results.
    fn run_psql(&self, database: &str, script: &str) -> String {
        let (host, psql) = (self.cluster.host(), self.psql.display());
        let mut shell = Command::new("bash");
        shell
            .args([
                "-c",
                &format!("{psql} -X -a -q -h {host} -U postgres -d {database} 2>&1"),
            ])
            .env("PGTZ", "PST8PDT")
            .env("PGDATESTYLE", "Postgres, MDY")
            .env("PGOPTIONS", "-c intervalstyle=postgres_verbose")
            .env("PG_ABS_SRCDIR", self.folder.join("regress"))
            .env("PG_LIBDIR", self.folder.join("regress"))
            .env("PG_DLSUFFIX", ".so");
        feed(&mut shell, script)
    }

    fn notes(&self, database: &str, phase: Phase) -> Vec<Note> {
        if phase == Phase::Plain {
            return Vec::new();
        }
        let mut client = self.cluster.connect(database);
        let sql =
            "SELECT coalesce(relation, '(all)'), differences, why FROM conformance.note ORDER BY 1";
        let rows = client.query(sql, &[]).expect("reads");
        let note = |row: &postgres::Row| Note {
            relation: row.get(0),
            differences: row.get(1),
            why: row.get(2),
        };
        rows.iter().map(note).collect()
    }

    /// Outputs that PostgreSQL itself expects for a permutation: some specs have several.
    pub fn expected(&self, test: &Test, key: &str) -> Vec<String> {
        let Test::Spec(name) = test else {
            return Vec::new();
        };
        let file = |suffix: &str| {
            self.folder
                .join(format!("isolation/expected/{name}{suffix}.out"))
        };
        let files = ["", "_1", "_2", "_3"].map(file);
        let texts = files.iter().filter_map(|f| std::fs::read_to_string(f).ok());
        texts
            .filter_map(|t| spec::permutations(&t).remove(key))
            .collect()
    }
}

/// Runs the program with the text as its input; what it prints. Complaints of the program itself come last.
fn feed(program: &mut Command, text: &str) -> String {
    let program = program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = program.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("it has an input");
    std::thread::scope(|scope| {
        // A script may end early; what it printed shows where.
        scope.spawn(move || drop(input.write_all(text.as_bytes())));
        let output = child.wait_with_output().expect("ends");
        [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat()
    })
}
