//! A throw-away server of its own, driven through the functions of `tests/bin/env.sh`.

use super::patience::until;
use postgres::{Client, NoTls};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

// The demo and the tests each use a part of this.
#[allow(dead_code)]
pub struct Cluster {
    name: &'static str,
    dir: PathBuf,
    keep: bool,
}

/// Servers are told apart by their folders, which bear their names.
fn take_name(name: &'static str) {
    static TAKEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let is_new = TAKEN.lock().expect("nobody panics here").insert(name);
    assert!(is_new, "two servers are called {name}");
}

/// Runs shell text with the functions of env.sh at hand; its output.
pub fn shell(text: &str) -> String {
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
    pub fn start(name: &'static str, conf: &str) -> Self {
        Self::start_as(name, conf, "postgres")
    }

    /// With another name for the superuser.
    pub fn start_as(name: &'static str, conf: &str, superuser: &str) -> Self {
        take_name(name);
        let dir = PathBuf::from(shell("printf %s \"$work\"")).join(name);
        let cluster = Self {
            name,
            dir,
            keep: false,
        };
        let settings = cluster.dir.with_extension("conf");
        std::fs::write(&settings, conf).expect("the settings write");
        shell(&format!(
            "cluster_start $work/{name} {superuser} {}",
            settings.display()
        ));
        cluster
    }

    /// PgBouncer in transaction mode before this server; gone with the value.
    pub fn bouncer(&self) -> Bouncer {
        let bouncer = Bouncer {
            dir: self.dir.clone(),
        };
        shell(&format!("bouncer_start {}", self.dir.display()));
        bouncer
    }

    /// Leaves the server running when the value goes.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    pub fn start_again(&self) {
        self.pg_ctl("-w start");
    }

    /// A streaming standby of this server, caught up to now.
    pub fn standby(&self, name: &'static str) -> Self {
        take_name(name);
        let (dir, from) = (self.dir.with_file_name(name), self.dir.display());
        let to = dir.display();
        shell(&format!(
            "cluster_stop {to}; rm -rf {to}; mkdir -p {to}; chmod 755 {to}; [ \"$(id -u)\" != 0 ] || chown postgres {to}; \
             as_postgres $pg_bin/pg_basebackup -h {from} -U postgres -D {to}/data -R -X stream -c fast; \
             printf \"unix_socket_directories = '{to}'\\n\" >>{to}/data/postgresql.conf"
        ));
        let standby = Self {
            name,
            dir,
            keep: false,
        };
        standby.start_again();
        standby
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

    /// kill -9 for one process of the server, which then restarts itself. Back when the postmaster has seen it: whoever
    /// connected before would be thrown out.
    pub fn kill_process(&self, pid: i32) {
        shell(&format!(
            "kill -9 {pid} 2>/dev/null || as_root kill -9 {pid} || true; while kill -0 {pid} 2>/dev/null || as_root kill -0 {pid} 2>/dev/null; do sleep 0.01; done"
        ));
    }

    /// How many processes of this server show `title`: those that are not connected, too.
    pub fn processes(&self, title: &str) -> usize {
        let name = self.name;
        let found = shell(&format!(
            "pgrep -P \"$(head -1 $work/{name}/data/postmaster.pid)\" -f '^postgres: {title}' || true"
        ));
        found.lines().count()
    }

    /// Runs pgbench with prepared statements: `each` transactions in each of four clients. Seconds, without those that it takes to connect.
    pub fn pgbench(&self, database: &str, script: &str, each: usize) -> f64 {
        let name = self.name;
        let file = self.dir.join("pgbench.sql");
        std::fs::write(&file, script).expect("the script writes");
        let told = shell(&format!(
            "$pg_bin/pgbench -h $work/{name} -U postgres -n -M prepared -c 4 -j 2 -t {each} -f {} {database} 2>&1",
            file.display()
        ));
        let tps: Option<f64> = told
            .lines()
            .find_map(|l| l.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        4.0 * each as f64 / tps.unwrap_or_else(|| panic!("pgbench says {told}"))
    }

    /// Puts an install script where the server looks for them. Other tests may do so at this moment: it is renamed into its place.
    pub fn offer(&self, script: &str) {
        let script = format!("{}/{script}", env!("CARGO_MANIFEST_DIR"));
        let mine = self.name;
        shell(&format!(
            "to=$prefix/share/postgresql/$pg_major/extension; as_root install -m 644 {script} $to/.{mine} && as_root mv -f $to/.{mine} $to/$(basename {script})"
        ));
    }

    /// pg_dump of one database and pg_restore into another, which is empty, as `user`; the first error ends it.
    pub fn copy_by_dump(&self, from: &str, to: &str, user: &str) {
        let server = format!("-h {} -U {user}", self.dir.display());
        shell(&format!(
            "$pg_bin/pg_dump {server} -Fc {from} >$work/{to}.dump; $pg_bin/pg_restore {server} --exit-on-error -d {to} $work/{to}.dump; rm $work/{to}.dump"
        ));
    }

    /// The folder of its socket, by which it is reached: all servers have the port that clients take where none is named.
    pub fn host(&self) -> String {
        self.dir.display().to_string()
    }

    pub fn connect(&self, database: &str) -> Client {
        self.try_connect(database, "postgres")
            .expect("the server accepts connections")
    }

    /// A connection to a server that is restarting itself.
    pub fn connect_again(&self, database: &str) -> Client {
        let mut connected = None;
        until("the server comes back", || {
            connected = self.try_connect(database, "postgres").ok();
            let client = connected.as_mut();
            client.is_some_and(|c| c.batch_execute("SELECT 1").is_ok())
        });
        connected.expect("there it is")
    }

    pub fn connect_as(&self, database: &str, user: &str) -> Client {
        self.try_connect(database, user)
            .expect("the server accepts connections")
    }

    pub fn try_connect(&self, database: &str, user: &str) -> Result<Client, postgres::Error> {
        let host = self.dir.display();
        let to = format!("host={host} user={user} dbname={database}");
        Client::connect(&to, NoTls)
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
            // What a failed test leaves is there to be looked at. All others together would fill a disk.
            let keep_files = std::thread::panicking();
            let clean = if keep_files { "" } else { "rm -rf $dir" };
            shell(&format!("dir=$work/{name}; cluster_stop $dir; {clean}"));
        }
    }
}

#[allow(dead_code)]
pub struct Bouncer {
    dir: PathBuf,
}

#[allow(dead_code)]
impl Bouncer {
    /// As the role that Supabase's API logs in as. Only simple queries: the server behind changes from one transaction to the
    /// next.
    pub fn connect(&self, database: &str) -> Client {
        let host = self.dir.join("bouncer");
        let to = format!(
            "host={} user=authenticator dbname={database}",
            host.display()
        );
        Client::connect(&to, NoTls).expect("PgBouncer accepts connections")
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        shell(&format!("bouncer_stop {}", self.dir.display()));
    }
}

/// A file system of a few megabytes in memory, for tablespaces that run full. Gone with the value; the server that
/// uses it has to be stopped before.
#[allow(dead_code)]
pub struct SmallDisk {
    path: PathBuf,
}

#[allow(dead_code)]
impl SmallDisk {
    pub fn mount(cluster: &Cluster, name: &str, megabytes: u32) -> Self {
        let disk = Self {
            path: cluster.dir.with_file_name(name),
        };
        let path = disk.path();
        shell(&format!(
            "as_root umount {path} 2>/dev/null || true; mkdir -p {path}; as_root mount -t tmpfs -o size={megabytes}m tmpfs {path}; \
             as_root chown \"$(as_postgres id -un)\" {path}"
        ));
        disk
    }

    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    pub fn grow(&mut self, megabytes: u32) {
        let path = self.path();
        shell(&format!(
            "as_root mount -o remount,size={megabytes}m {path}"
        ));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.path();
        shell(&format!("as_root umount -l {path}"));
    }
}
