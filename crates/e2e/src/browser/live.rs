//! Whether an open page is told what happens, without being loaded again.

use serde_json::Value;

use super::Browser;

impl Browser {
    /// Leaves a mark on the open page: it is gone as soon as the page is left or loaded again.
    pub fn leave_mark(&self) {
        self.eval("window.rmMark = true", Vec::new());
    }

    /// Panics when the page that was marked was left or loaded again.
    pub fn check_mark(&self) {
        let marked = self.eval("return window.rmMark === true", Vec::new());
        assert_eq!(marked, Value::Bool(true), "the page at {} was loaded again", self.path());
    }

    /// Remembers the things that CSS selectors name, to be asked for by [`Browser::replaced`].
    pub fn remember(&self, selectors: &[&str]) {
        let body =
            "window.rmKept = Object.fromEntries(arguments[0].map(css => [css, document.querySelector(css)]))";
        self.eval(body, vec![selectors.into()]);
    }

    /// Of what was remembered, what is another thing since, or gone.
    pub fn replaced(&self) -> Vec<String> {
        let body = "return Object.entries(window.rmKept).filter(([css, e]) => !e || document.querySelector(css) !== e).map(([css]) => css)";
        serde_json::from_value(self.eval(body, Vec::new())).expect("a list of texts")
    }

    /// Counts how often the eye is drawn away: the shifts of the layout that nobody asked for, as the browser itself measures them.
    pub fn watch_shifts(&self) {
        let body = "window.rmShift = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) \
                    if (!e.hadRecentInput) window.rmShift += e.value }).observe({ type: 'layout-shift' })";
        self.eval(body, Vec::new());
    }

    /// The sum of the shifts since [`Browser::watch_shifts`].
    pub fn shifts(&self) -> f64 {
        self.eval("return window.rmShift", Vec::new()).as_f64().expect("a number")
    }

    /// How many animations run on the page, those of pseudo-elements included.
    pub fn animations(&self) -> u64 {
        let body =
            "return document.getAnimations({ subtree: true }).filter(a => a.playState === 'running').length";
        self.eval(body, Vec::new()).as_u64().expect("a number")
    }
}
