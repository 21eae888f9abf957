//! Finding things as people find them, by the words on them, and using them.

use fantoccini::Locator;
use fantoccini::elements::Element;
use serde_json::Value;

use super::Browser;

/// A string as an XPath literal; the words on our pages have no double quotes.
fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "no double quotes in {text}");
    format!("\"{text}\"")
}

impl Browser {
    /// Types into the field with this label, in place of what it holds.
    pub fn fill(&self, label: &str, value: &str) {
        self.wait(&format!("the field `{label}`"), || {
            let element = self.field(label)?;
            self.told(async {
                element.clear().await?;
                element.send_keys(value).await
            })
        });
    }

    /// Chooses an option of the list with this label by its words.
    pub fn choose(&self, label: &str, option: &str) {
        self.wait(&format!("the option `{option}` of `{label}`"), || {
            let element = self.field(label)?;
            self.told(element.select_by_label(option))
        });
    }

    /// Clicks the box or the radio button with this label.
    pub fn tick(&self, label: &str) {
        self.wait(&format!("the box `{label}`"), || {
            let element = self.field(label)?;
            self.told(element.click())
        });
    }

    /// What the field with this label holds.
    pub fn value(&self, label: &str) -> String {
        self.wait(&format!("the field `{label}`"), || {
            let element = self.field(label)?;
            self.told(element.prop("value")).map(Option::unwrap_or_default)
        })
    }

    /// Presses the button with these words.
    pub fn press_button(&self, words: &str) {
        let words = quoted(words);
        self.click_at(&format!("//button[normalize-space()={words}]|//summary[normalize-space()={words}]"));
    }

    /// Follows the link with these words.
    pub fn follow(&self, words: &str) {
        self.click_at(&format!("//a[normalize-space()={}]", quoted(words)));
    }

    /// Clicks the first thing at an XPath that can be seen.
    pub fn click_at(&self, xpath: &str) {
        self.wait(&format!("a click on {xpath}"), || {
            let element = self.visible(xpath)?;
            self.told(element.click())
        });
    }

    /// Clicks the first thing that a CSS selector names.
    pub fn click(&self, css: &str) {
        self.wait(&format!("a click on {css}"), || {
            let element = self.told(self.client().find(Locator::Css(css)))?;
            self.told(element.click())
        });
    }

    /// Types into the element that has the focus, as a keyboard does.
    pub fn keys(&self, keys: &str) {
        self.wait("the focus", || {
            let element = self.told(self.client().active_element())?;
            self.told(element.send_keys(keys))
        });
    }

    /// Waits until the page says this, in whatever case.
    pub fn see(&self, words: &str) {
        self.wait(&format!("the words `{words}`"), || {
            if self.says(words)? { Ok(()) } else { Err("they are not there".to_owned()) }
        });
    }

    /// Waits until the page no longer says this.
    pub fn see_no_more(&self, words: &str) {
        self.wait(&format!("the words `{words}` to go"), || {
            if self.says(words)? { Err("they are still there".to_owned()) } else { Ok(()) }
        });
    }

    /// Whether the page says this now, in whatever case.
    ///
    /// # Errors
    ///
    /// When the page cannot be asked, as while it changes.
    pub fn says(&self, words: &str) -> Result<bool, String> {
        let body =
            "return document.body.innerText.toLowerCase().replace(/\\s+/g, ' ').includes(arguments[0])";
        let said = self.try_eval(body, vec![words.to_lowercase().into()])?;
        said.as_bool().ok_or_else(|| "the page has no words".to_owned())
    }

    /// Waits until a CSS selector names something.
    pub fn wait_css(&self, css: &str) {
        self.wait(&format!("something at {css}"), || {
            self.told(self.client().find(Locator::Css(css))).map(drop)
        });
    }

    /// Waits until an XPath names something that can be seen.
    pub fn wait_xpath(&self, xpath: &str) {
        self.wait(&format!("something at {xpath}"), || self.visible(xpath).map(drop));
    }

    /// The page as HTML.
    pub fn source(&self) -> String {
        self.run(self.client().source()).expect("a page has a source")
    }

    /// How many things a CSS selector names.
    pub fn count(&self, css: &str) -> usize {
        self.run(self.client().find_all(Locator::Css(css))).expect("a page can be searched").len()
    }

    /// The words of the first thing that a CSS selector names.
    pub fn text(&self, css: &str) -> String {
        self.wait(&format!("the text of {css}"), || {
            let element = self.told(self.client().find(Locator::Css(css)))?;
            self.told(element.text())
        })
    }

    /// Waits until the browser is at a path, query included.
    pub fn wait_path(&self, path: &str) {
        self.wait(&format!("the page {path}"), || {
            let here = self.path();
            if here == path { Ok(()) } else { Err(format!("it is {here}")) }
        });
    }

    /// Waits until the browser is at a path that begins so; answers the rest of it.
    pub fn wait_below(&self, prefix: &str) -> String {
        self.wait(&format!("a page below {prefix}"), || {
            let here = self.path();
            match here.strip_prefix(prefix) {
                Some(rest) if !rest.is_empty() => Ok(rest.to_owned()),
                Some(_) | None => Err(format!("it is {here}")),
            }
        })
    }

    /// What has the focus: its words or label, whether a ring is drawn around it, and whether it is in view.
    pub fn focused(&self) -> Value {
        self.eval(
            "const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect(); \
             const label = e.labels && e.labels[0] ? e.labels[0].innerText : ''; \
             return { words: (label || e.innerText || e.value || '').trim(), html: e.outerHTML.slice(0, 200), \
                      ring: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0, \
                      seen: r.bottom > 0 && r.right > 0 && r.top < innerHeight && r.left < innerWidth }",
            Vec::new(),
        )
    }

    /// Takes the focus from whatever has it, so that Tab begins at the page's first element.
    pub fn focus_nothing(&self) {
        self.eval("document.activeElement.blur(); window.scrollTo(0, 0)", Vec::new());
    }

    /// How many elements Tab is to reach.
    pub fn usable(&self) -> usize {
        let count = "const at = 'a[href], button, input, select, textarea, summary, [tabindex=\"0\"]'; \
            return [...document.querySelectorAll(at)].filter(e => !e.disabled && e.type !== 'hidden' && e.tabIndex >= 0 && \
                e.checkVisibility({ visibilityProperty: true }) && !(e.closest('details:not([open])') && !e.matches('summary'))).length";
        let count = self.eval(count, Vec::new()).as_u64().expect("a number");
        usize::try_from(count).expect("a page fits")
    }

    /// The field with this label: the label's `for`, or the field inside of it.
    fn field(&self, label: &str) -> Result<Element, String> {
        let words = quoted(label);
        let at = format!(
            "//*[@id=//label[normalize-space()={words}]/@for]|\
             //label[normalize-space()={words}]//*[self::input or self::select or self::textarea]"
        );
        self.visible(&at)
    }

    fn visible(&self, xpath: &str) -> Result<Element, String> {
        let found = self.told(self.client().find_all(Locator::XPath(xpath)))?;
        let count = found.len();
        for element in found {
            if self.told(element.is_displayed())? {
                return Ok(element);
            }
        }
        Err(format!("{count} found, none of them can be seen"))
    }

    fn told<T>(
        &self,
        work: impl Future<Output = Result<T, fantoccini::error::CmdError>>,
    ) -> Result<T, String> {
        self.run(work).map_err(|error| error.to_string())
    }
}
