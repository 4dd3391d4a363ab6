//! A throw-away server of its own, driven through the functions of `tests/bin/env.sh`.

use postgres::{Client, NoTls};
use std::path::PathBuf;
use std::process::Command;

// The demo and the tests each use a part of this.
#[allow(dead_code)]
pub struct Cluster {
    name: &'static str,
    port: u16,
    dir: PathBuf,
    keep: bool,
}

/// Runs shell text with the functions of env.sh at hand; its output.
fn shell(text: &str) -> String {
    let env = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bin/env.sh");
    let output = Command::new("bash")
        .args(["-c", &format!(". {env}; {text}")])
        .output()
        .expect("bash runs");
    let text_out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "`{text}` failed: {text_out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text_out
}

#[allow(dead_code)]
impl Cluster {
    /// A new, empty server; `conf` goes to postgresql.conf.
    pub fn start(name: &'static str, port: u16, conf: &str) -> Self {
        let dir = PathBuf::from(shell("printf %s \"$work\"")).join(name);
        let cluster = Self {
            name,
            port,
            dir,
            keep: false,
        };
        shell(&format!("cluster_start $work/{name} {port}"));
        if !conf.is_empty() {
            let file = cluster.dir.join("data/postgresql.conf");
            let old = std::fs::read_to_string(&file).expect("the configuration reads");
            std::fs::write(&file, format!("{old}\n{conf}\n")).expect("the configuration writes");
            cluster.stop("fast");
            cluster.start_again();
        }
        cluster
    }

    /// Leaves the server running when the value goes.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    pub fn start_again(&self) {
        self.pg_ctl("-w start");
    }

    /// `fast` or `immediate`.
    pub fn stop(&self, mode: &str) {
        self.pg_ctl(&format!("-m {mode} -w stop"));
    }

    fn pg_ctl(&self, what: &str) {
        let name = self.name;
        shell(&format!(
            "as_postgres $pg_bin/pg_ctl -D $work/{name}/data -l $work/{name}/server.log {what} >/dev/null"
        ));
    }

    /// kill -9 for the whole server: the postmaster first, then all its children.
    pub fn kill(&self) {
        let name = self.name;
        shell(&format!(
            "p=$(head -1 $work/{name}/data/postmaster.pid); c=$(pgrep -P $p || true); kill -9 $p $c 2>/dev/null || true; \
             while kill -0 $p 2>/dev/null; do sleep 0.05; done"
        ));
    }

    pub fn host(&self) -> String {
        self.dir.display().to_string()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connect(&self, database: &str) -> Client {
        self.try_connect(database, "postgres")
            .expect("the server accepts connections")
    }

    pub fn connect_as(&self, database: &str, user: &str) -> Client {
        self.try_connect(database, user)
            .expect("the server accepts connections")
    }

    pub fn try_connect(&self, database: &str, user: &str) -> Result<Client, postgres::Error> {
        let host = self.dir.display();
        Client::connect(
            &format!(
                "host={host} port={} user={user} dbname={database}",
                self.port
            ),
            NoTls,
        )
    }

    /// A database of its own for one test.
    pub fn database(&self, name: &str) -> Client {
        let mut admin = self.connect("postgres");
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .expect("drops");
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("creates");
        let mut client = self.connect(name);
        client
            .batch_execute("CREATE EXTENSION pg_mig")
            .expect("installs");
        client
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.keep {
            let name = self.name;
            shell(&format!("cluster_stop $work/{name}"));
        }
    }
}
