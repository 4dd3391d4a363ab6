//! Sessions at work beside a test: whatever they do, they go on until they are stopped, and a test waits for how much they
//! have done, never for how long they took.

use super::patience::until;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Whether it is over, and what each session has done.
pub struct Shift {
    over: AtomicBool,
    done: Vec<AtomicU64>,
}

impl Shift {
    pub fn of(sessions: usize) -> Self {
        Self {
            over: AtomicBool::new(false),
            done: (0..sessions).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Session `me` has done a transaction.
    pub fn count(&self, me: usize) {
        self.done[me].fetch_add(1, Ordering::SeqCst);
    }

    /// What each has done.
    fn each(&self) -> Vec<u64> {
        let done = self.done.iter();
        done.map(|d| d.load(Ordering::SeqCst)).collect()
    }

    pub fn done(&self) -> u64 {
        self.each().iter().sum()
    }

    /// Until `more` transactions are done than now.
    pub fn wait_for(&self, more: u64) {
        let now = self.done();
        until("sessions at work", || self.done() >= now + more);
    }
}

/// A session's own view of the shift.
pub struct Place {
    shift: Arc<Shift>,
    me: usize,
}

impl Place {
    pub fn is_over(&self) -> bool {
        self.shift.is_over()
    }

    pub fn count(&self) {
        self.shift.count(self.me);
    }
}

pub struct Load<T> {
    shift: Arc<Shift>,
    threads: Vec<JoinHandle<T>>,
}

#[allow(dead_code)]
impl<T: Send + 'static> Load<T> {
    /// A thread for each session.
    pub fn start<S>(sessions: impl IntoIterator<Item = S>) -> Self
    where
        S: FnOnce(&Place) -> T + Send + 'static,
    {
        let sessions: Vec<S> = sessions.into_iter().collect();
        let shift = Arc::new(Shift::of(sessions.len()));
        let one = |(me, session): (usize, S)| {
            let shift = Arc::clone(&shift);
            std::thread::spawn(move || session(&Place { shift, me }))
        };
        Self {
            threads: sessions.into_iter().enumerate().map(one).collect(),
            shift,
        }
    }

    /// Until `more` transactions are done than now, by all of them together.
    pub fn wait_for(&self, more: u64) {
        self.shift.wait_for(more);
    }

    /// Until each has ended what it was at.
    pub fn wait_for_each(&self) {
        let now = self.shift.each();
        until("each session", || {
            self.shift.each().iter().zip(&now).all(|(n, old)| n > old)
        });
    }

    pub fn done(&self) -> u64 {
        self.shift.done()
    }

    /// Each ends after its current transaction; what they say.
    pub fn stop(mut self) -> Vec<T> {
        self.shift.end();
        let threads = std::mem::take(&mut self.threads);
        let ends = threads
            .into_iter()
            .map(|t| t.join().expect("a session ends"));
        ends.collect()
    }
}

/// A test that fails ends its sessions, too.
impl<T> Drop for Load<T> {
    fn drop(&mut self) {
        self.shift.end();
    }
}
