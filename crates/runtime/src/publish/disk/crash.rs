//! A disk in memory that forgets at a crash whatever a real one may forget.
//!
//! Written bytes are a list of changes until the file is synced, names until the directory is. A
//! crash keeps any part of them, in any order, and of each write any prefix. A sync that fails
//! leaves its changes uncertain for ever, as Linux does. It deliberately has no real clock and no
//! randomness but its seed.
//!
//! Invariant: what was synced is never lost, and no byte appears that nobody wrote.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use super::{Dir, Disk, Space};

type Name = (Dir, String);

/// One file: what is certain, what is seen, and the writes between the two.
#[derive(Clone, Debug, Default)]
struct Inode {
    /// As the disk has it.
    certain: Vec<u8>,
    /// As the kernel shows it.
    seen: Vec<u8>,
    /// Writes since the last sync: offset and bytes; a cut has no bytes.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, part: usize) {
        match self {
            Change::Write(at, data) => {
                let data = &data[..part.min(data.len())];
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Change::Cut(length) => bytes.resize(*length, 0),
        }
    }
}

/// What the next calls do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Of a thousand writes so many fail, half written.
    pub(crate) write: u16,
    /// Of a thousand syncs so many fail.
    pub(crate) sync: u16,
    /// Nothing more fits.
    pub(crate) is_full: bool,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    /// As the kernel shows them.
    names: BTreeMap<Name, usize>,
    /// As the disk has them.
    certain_names: BTreeMap<Name, usize>,
    faults: Faults,
    n_syncs: u64,
    n_failed_syncs: u64,
    random: fastrand::Rng,
}

/// The disk. Clones are the same disk, so that a test can crash what a spool uses.
#[derive(Clone, Debug)]
pub(crate) struct CrashDisk {
    state: Rc<RefCell<State>>,
}

impl CrashDisk {
    /// An empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            certain_names: BTreeMap::new(),
            faults: Faults::default(),
            n_syncs: 0,
            n_failed_syncs: 0,
            random: fastrand::Rng::with_seed(seed),
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// What the next calls do.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// Syncs of files.
    pub(crate) fn n_syncs(&self) -> u64 {
        self.state.borrow().n_syncs
    }

    /// Syncs of files that failed; each may have cost what was not certain.
    pub(crate) fn n_failed_syncs(&self) -> u64 {
        self.state.borrow().n_failed_syncs
    }

    /// The machine loses its power: of what was not certain any part stays.
    pub(crate) fn lose_power(&self) {
        let state = &mut *self.state.borrow_mut();
        let random = &mut state.random;
        for inode in &mut state.inodes {
            let mut bytes = std::mem::take(&mut inode.certain);
            let mut changes = std::mem::take(&mut inode.changes);
            if random.bool() {
                random.shuffle(&mut changes);
            }
            for change in changes {
                match (random.u8(..3), &change) {
                    (0, _) => {}
                    (1, Change::Write(_, data)) => {
                        let part = random.usize(..=data.len());
                        change.apply(&mut bytes, part);
                        // What was under way may leave anything behind.
                        flip(random, &change, part, &mut bytes);
                    }
                    _ => change.apply(&mut bytes, usize::MAX),
                }
            }
            inode.certain.clone_from(&bytes);
            inode.seen = bytes;
        }
        // Each change of a name was done or not.
        let all = state.names.keys().chain(state.certain_names.keys());
        let changed: Vec<Name> = all
            .filter(|name| state.names.get(*name) != state.certain_names.get(*name))
            .cloned()
            .collect();
        for name in changed {
            if random.bool() {
                match state.names.get(&name).copied() {
                    Some(inode) => drop(state.certain_names.insert(name, inode)),
                    None => drop(state.certain_names.remove(&name)),
                }
            }
        }
        state.names.clone_from(&state.certain_names);
    }
}

/// Turns a bit of what was not certain.
fn flip(random: &mut fastrand::Rng, change: &Change, part: usize, bytes: &mut [u8]) {
    let Change::Write(at, _) = change else { return };
    if part > 0 && random.u8(..4) == 0 {
        let place = at + random.usize(..part);
        bytes[place] ^= 1 << random.u8(..8);
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn failed() -> io::Error {
    io::Error::other("input/output error")
}

impl State {
    fn inode(&self, dir: Dir, name: &str) -> io::Result<usize> {
        self.names.get(&(dir, name.to_owned())).copied().ok_or_else(missing)
    }
}

impl Disk for CrashDisk {
    type File = usize;

    fn list(&mut self, dir: Dir) -> io::Result<Vec<String>> {
        let state = self.state.borrow();
        let names = state.names.keys().filter(|(of, _)| *of == dir);
        Ok(names.map(|(_, name)| name.clone()).collect())
    }

    fn create(&mut self, dir: Dir, name: &str, allocate: u64) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        if state.faults.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.names.contains_key(&(dir, name.to_owned())) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let length = usize::try_from(allocate).expect("small");
        let mut inode = Inode { seen: vec![0; length], ..Inode::default() };
        inode.changes.push(Change::Cut(length));
        state.inodes.push(inode);
        let index = state.inodes.len() - 1;
        state.names.insert((dir, name.to_owned()), index);
        Ok(index)
    }

    fn open(&mut self, dir: Dir, name: &str) -> io::Result<usize> {
        self.state.borrow().inode(dir, name)
    }

    fn len(&mut self, file: &usize) -> io::Result<u64> {
        Ok(self.state.borrow().inodes[*file].seen.len() as u64)
    }

    fn read_at(&mut self, file: &usize, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state.borrow();
        let seen = &state.inodes[*file].seen;
        let start = usize::try_from(offset).expect("small").min(seen.len());
        let count = buffer.len().min(seen.len() - start);
        buffer[..count].copy_from_slice(&seen[start..start + count]);
        Ok(count)
    }

    fn write_at(&mut self, file: &usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let at = usize::try_from(offset).expect("small");
        let inode = &mut state.inodes[*file];
        let needs_room = at + bytes.len() > inode.seen.len();
        let is_refused = state.faults.is_full && needs_room;
        let is_broken = state.random.u16(..1000) < state.faults.write;
        let part =
            if is_refused || is_broken { state.random.usize(..=bytes.len()) } else { bytes.len() };
        let change = Change::Write(at, bytes[..part].to_vec());
        change.apply(&mut inode.seen, part);
        inode.changes.push(change);
        match (is_refused, is_broken) {
            (true, _) => Err(io::ErrorKind::StorageFull.into()),
            (false, true) => Err(failed()),
            (false, false) => Ok(()),
        }
    }

    fn sync(&mut self, file: &usize) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let is_broken = state.random.u16(..1000) < state.faults.sync;
        state.n_syncs += 1;
        let inode = &mut state.inodes[*file];
        if !is_broken {
            inode.certain.clone_from(&inode.seen);
            inode.changes.clear();
            return Ok(());
        }
        state.n_failed_syncs += 1;
        // The kernel gives the pages up: some are on disk, the others never will be, and the next
        // sync is happy. What it shows may be the old content or the new.
        let mut bytes = std::mem::take(&mut inode.certain);
        for change in std::mem::take(&mut inode.changes) {
            if state.random.bool() {
                change.apply(&mut bytes, usize::MAX);
            }
        }
        if state.random.bool() {
            inode.seen.clone_from(&bytes);
        }
        inode.certain = bytes;
        Err(failed())
    }

    fn truncate(&mut self, file: &usize, length: u64) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let length = usize::try_from(length).expect("small");
        let inode = &mut state.inodes[*file];
        inode.seen.resize(length, 0);
        inode.changes.push(Change::Cut(length));
        Ok(())
    }

    fn rename(&mut self, from: (Dir, &str), to: (Dir, &str)) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let inode = state.inode(from.0, from.1)?;
        state.names.remove(&(from.0, from.1.to_owned()));
        state.names.insert((to.0, to.1.to_owned()), inode);
        Ok(())
    }

    fn remove(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        state.inode(dir, name)?;
        state.names.remove(&(dir, name.to_owned()));
        Ok(())
    }

    fn sync_dir(&mut self, dir: Dir) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        if state.random.u16(..1000) < state.faults.sync {
            return Err(failed());
        }
        state.certain_names.retain(|(of, _), _| *of != dir);
        let names = state.names.iter().filter(|((of, _), _)| *of == dir);
        let names: Vec<_> = names.map(|(name, inode)| (name.clone(), *inode)).collect();
        state.certain_names.extend(names);
        Ok(())
    }

    fn space(&mut self) -> io::Result<Space> {
        let free = if self.state.borrow().faults.is_full { 0 } else { 1 << 40 };
        Ok(Space { total: 1 << 40, free })
    }
}
