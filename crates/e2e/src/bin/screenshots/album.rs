//! Where pictures are kept, and in which looks a page is taken.

use std::path::PathBuf;

use restic_manager_e2e::{Browser, Scheme};

use super::png_file;

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
struct Look {
    name: &'static str,
    width: u32,
    scheme: Scheme,
}

const WIDE: Look = Look { name: "wide", width: 1440, scheme: Scheme::Light };
const DARK: Look = Look { name: "dark", width: 1440, scheme: Scheme::Dark };
const NARROW: Look = Look { name: "narrow", width: 360, scheme: Scheme::Light };
/// What is seen without scrolling; a page is taken whole up to the second number.
const HEIGHT: u32 = 900;
const LONGEST: i64 = 1800;
/// The pages of which the documentation keeps the dark and the narrow picture beside the wide one.
const IN_EVERY_LOOK: [&str; 6] = ["fleet", "job-live", "host", "host-repo", "repo", "many-fleet"];

/// The pictures taken so far.
pub(super) struct Album {
    /// Where all of them go.
    all: PathBuf,
    /// Where those go that the documentation keeps.
    kept: PathBuf,
    taken: usize,
    kept_bytes: usize,
}

impl Album {
    pub(super) fn new(all: PathBuf, kept: PathBuf) -> Self {
        for folder in [&all, &kept] {
            std::fs::create_dir_all(folder).expect("the folder can be made");
        }
        Self { all, kept, taken: 0, kept_bytes: 0 }
    }

    /// Takes a page wide, dark and narrow.
    pub(super) fn page(&mut self, browser: &Browser, name: &str, path: &str) {
        for look in [WIDE, DARK, NARROW] {
            self.take(browser, name, path, look);
        }
        browser.scheme(Scheme::Light);
    }

    /// Takes a page wide only.
    pub(super) fn wide(&mut self, browser: &Browser, name: &str, path: &str) {
        self.take(browser, name, path, WIDE);
    }

    fn take(&mut self, browser: &Browser, name: &str, path: &str, look: Look) {
        browser.scheme(look.scheme);
        browser.resize(look.width, HEIGHT);
        browser.go(path);
        self.keep(browser, name, look);
    }

    /// Keeps what the window shows now, without loading it anew: for what is shown only once.
    pub(super) fn as_it_is(&mut self, browser: &Browser, name: &str) {
        browser.scheme(WIDE.scheme);
        browser.resize(WIDE.width, HEIGHT);
        self.keep(browser, name, WIDE);
    }

    fn keep(&mut self, browser: &Browser, name: &str, look: Look) {
        // As high as the page is, so that nothing sticky floats in the middle of it.
        let height = browser.eval("return document.documentElement.scrollHeight", Vec::new());
        let height = height.as_i64().expect("a height").clamp(320, LONGEST);
        browser.resize(look.width, u32::try_from(height).expect("it is small"));
        let small = png_file::shrunk(&browser.picture(false));
        let file = format!("{name}-{}.png", look.name);
        std::fs::write(self.all.join(&file), &small).expect("the picture can be written");
        if look.name == WIDE.name || IN_EVERY_LOOK.contains(&name) {
            std::fs::write(self.kept.join(&file), &small).expect("the picture can be written");
            self.kept_bytes += small.len();
        }
        println!("{file}: {} KB", small.len() / 1024);
        self.taken += 1;
    }

    pub(super) fn tell(&self) {
        println!("{} pictures in {}", self.taken, self.all.display());
        println!("those kept have {} KB, in {}", self.kept_bytes / 1024, self.kept.display());
    }
}
