//! How a page looks: its size, its colours, and what axe-core finds.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::json;

use super::Browser;

/// axe-core, from its registry by the lock file beside this crate.
static AXE: LazyLock<String> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}: run scripts/install-test-tools, or `npm ci` in crates/e2e", path.display())
    })
});

/// Light or dark, as the system asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// Whether things may move, as the system asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// As they like.
    Any,
    /// As little as possible.
    Reduced,
}

/// Something that axe-core found.
#[derive(Debug, Clone, Deserialize)]
pub struct Finding {
    /// The rule.
    pub id: String,
    /// How bad: `minor`, `moderate`, `serious`, `critical`.
    pub impact: Option<String>,
    /// What the rule asks for.
    pub help: String,
    /// The places, as CSS selectors and what is said of them.
    pub places: Vec<String>,
}

impl Finding {
    /// Whether it keeps somebody out.
    pub fn is_serious(&self) -> bool {
        matches!(self.impact.as_deref(), Some("serious" | "critical"))
    }
}

impl Browser {
    /// Makes the page this wide and high, whatever the least width of a window is.
    pub fn resize(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Asks for light or dark, and for nothing that moves.
    pub fn scheme(&self, scheme: Scheme) {
        self.media(scheme, Motion::Reduced);
    }

    /// Asks for light or dark, and says whether things may move.
    pub fn media(&self, scheme: Scheme, motion: Motion) {
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let motion = match motion {
            Motion::Any => "no-preference",
            Motion::Reduced => "reduce",
        };
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [
                { "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": motion },
            ] }),
        );
    }

    /// What makes the page wider than its window; nothing when nobody has to scroll sideways.
    pub fn too_wide(&self) -> Vec<String> {
        let wide = "const d = document.documentElement; if (d.scrollWidth <= d.clientWidth) return []; \
            const over = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > d.clientWidth + 0.5); \
            return over.map(e => e.outerHTML.slice(0, 160)).concat(`${d.scrollWidth - d.clientWidth} pixels too wide`)";
        serde_json::from_value(self.eval(wide, Vec::new())).expect("a list of texts")
    }

    /// The colour that the page stands on.
    pub fn ground(&self) -> String {
        let ground = "return getComputedStyle(document.documentElement).backgroundColor";
        self.eval(ground, Vec::new()).as_str().expect("a colour").to_owned()
    }

    /// A picture of the page as a PNG: of the window, or of all of the page.
    pub fn picture(&self, whole: bool) -> Vec<u8> {
        use base64::Engine as _;
        let said = self.devtools(
            "Page.captureScreenshot",
            &json!({ "format": "png", "captureBeyondViewport": whole, "optimizeForSpeed": false }),
        );
        let data = said["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
    }

    /// What axe-core finds on the page.
    pub fn axe(&self) -> Vec<Finding> {
        self.eval(&format!("{}; return true", *AXE), Vec::new());
        let body = "const done = arguments[arguments.length - 1]; \
            axe.run(document, { resultTypes: ['violations'] }).then(found => done(found.violations.map(v => ({ \
                id: v.id, impact: v.impact, help: v.help, \
                places: v.nodes.map(n => n.target.join(' ') + ': ' + n.failureSummary) \
            }))), problem => done(String(problem)))";
        let said = self.run(self.client().execute_async(body, Vec::new())).expect("axe-core runs");
        serde_json::from_value(said.clone()).unwrap_or_else(|_| panic!("axe-core: {said}"))
    }

    /// What axe-core finds serious on the page.
    pub fn serious(&self) -> Vec<Finding> {
        self.axe().into_iter().filter(Finding::is_serious).collect()
    }

    /// Panics when axe-core finds something serious on the page.
    pub fn check_access(&self) {
        let serious = self.serious();
        assert!(serious.is_empty(), "axe-core at {}: {serious:#?}", self.path());
    }
}
