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
const LONGEST: i64 = 2400;

/// A folder of pictures.
pub(super) struct Album {
    folder: PathBuf,
    taken: Vec<(String, usize)>,
}

impl Album {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder, taken: Vec::new() }
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
        std::fs::write(self.folder.join(&file), &small).expect("the picture can be written");
        println!("{file}: {} KB", small.len() / 1024);
        self.taken.push((file, small.len()));
    }

    pub(super) fn tell(&self) {
        let bytes: usize = self.taken.iter().map(|(_, size)| size).sum();
        println!("{} pictures, {} KB, in {}", self.taken.len(), bytes / 1024, self.folder.display());
    }
}
