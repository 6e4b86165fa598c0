//! A disk in memory for the spool, whose files a fuzz target may change as it likes.
//!
//! It deliberately never fails and forgets nothing: `crash` in the spool's own tests does that.
//! Clones are the same disk.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use runtime::publish::disk::{Dir, Disk, Space};

/// A file by its directory and name.
pub type Place = (Dir, String);
/// What an open file is, with a name or without.
pub type Content = Rc<RefCell<Vec<u8>>>;

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: Rc<RefCell<BTreeMap<Place, Content>>>,
}

impl MemoryDisk {
    /// Every file there is.
    pub fn places(&self) -> Vec<Place> {
        self.files.borrow().keys().cloned().collect()
    }

    /// What a file holds.
    pub fn content(&self, place: &Place) -> Option<Vec<u8>> {
        self.files.borrow().get(place).map(|content| content.borrow().clone())
    }

    /// Replaces what a file holds, also for those who have it open; makes one that is not there.
    pub fn put(&self, place: &Place, bytes: Vec<u8>) {
        *self.files.borrow_mut().entry(place.clone()).or_default().borrow_mut() = bytes;
    }

    /// Takes a file away.
    pub fn remove_now(&self, place: &Place) {
        self.files.borrow_mut().remove(place);
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn size(offset: u64) -> usize {
    usize::try_from(offset).expect("small")
}

impl Disk for MemoryDisk {
    type File = Content;

    fn list(&mut self, dir: Dir) -> io::Result<Vec<String>> {
        Ok(self.places().into_iter().filter(|(of, _)| *of == dir).map(|(_, name)| name).collect())
    }

    fn create(&mut self, dir: Dir, name: &str, allocate: u64) -> io::Result<Content> {
        let place = (dir, name.to_owned());
        if self.files.borrow().contains_key(&place) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(&place, vec![0; size(allocate)]);
        self.open(dir, name)
    }

    fn open(&mut self, dir: Dir, name: &str) -> io::Result<Content> {
        self.files.borrow().get(&(dir, name.to_owned())).cloned().ok_or_else(missing)
    }

    fn len(&mut self, file: &Content) -> io::Result<u64> {
        Ok(file.borrow().len() as u64)
    }

    fn read_at(&mut self, file: &Content, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = file.borrow();
        let left = content.get(size(offset)..).unwrap_or_default();
        let count = buffer.len().min(left.len());
        buffer[..count].copy_from_slice(&left[..count]);
        Ok(count)
    }

    fn write_at(&mut self, file: &Content, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = file.borrow_mut();
        let end = size(offset) + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[size(offset)..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, _: &Content) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, file: &Content, length: u64) -> io::Result<()> {
        file.borrow_mut().resize(size(length), 0);
        Ok(())
    }

    fn rename(&mut self, from: (Dir, &str), to: (Dir, &str)) -> io::Result<()> {
        let mut files = self.files.borrow_mut();
        let content = files.remove(&(from.0, from.1.to_owned())).ok_or_else(missing)?;
        files.insert((to.0, to.1.to_owned()), content);
        Ok(())
    }

    fn remove(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        let place = (dir, name.to_owned());
        self.files.borrow_mut().remove(&place).map(drop).ok_or_else(missing)
    }

    fn sync_dir(&mut self, _: Dir) -> io::Result<()> {
        Ok(())
    }

    fn space(&mut self) -> io::Result<Space> {
        Ok(Space { total: 1 << 40, free: 1 << 40 })
    }
}
