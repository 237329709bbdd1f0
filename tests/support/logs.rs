//! Everything that any gateway of this process logged, at the most talkative level.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts to collect, once for all tests.
pub fn collect() {
    LINES.get_or_init(|| {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("tracegate=trace,info")
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        let _ = tracing::subscriber::set_global_default(subscriber);
        lines
    });
}

pub fn collected() -> String {
    let lines = LINES.get().expect("a collector");
    String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned()
}
